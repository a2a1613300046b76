// Owns how the text of a value is read and how a value is printed, for each kind of the settings table.
// It must not know any particular setting, nor where the text came from.

import { largest, smallest } from './bounds.ts';
import { oddGlobal, oddInEntry } from './odd-numbers.ts';
import type { SettingRow, SettingValue } from './setting-row.ts';

/** A value that was read (in an entry it may be as good as not given), or what was expected in its stead ("a whole number from ..."). */
export type Parsed =
  | { readonly ok: true; readonly value: SettingValue; readonly isUnset?: true; readonly note?: string }
  | { readonly ok: false; readonly expected: string };

/**
 * How whole numbers are read. PgBouncer reads those of [pgbouncer] as C does (0x1F, and octal after a 0), those of
 * connection strings in decimal.
 */
export type NumberSyntax = 'c' | 'decimal';

/**
 * Reads the text of a value. Of PgBouncer's own settings a number outside the row's bounds is what PgBouncer makes of it, with a note, as
 * long as it could serve anybody with that; what else does not fit is refused.
 */
export function parseValue(row: SettingRow, text: string, syntax: NumberSyntax): Parsed {
  const finer = row.check?.(text) ?? null;
  if (finer !== null) return { ok: false, expected: finer };
  switch (row.kind) {
    case 'mode':
      return parseMode(row, text, syntax);
    case 'int':
    case 'port':
    case 'bytes':
    case 'percent':
    case 'millis':
      return numberInBounds(row, parseWhole(text, syntax), text, syntax);
    case 'seconds':
      return numberInBounds(row, parseWhole(text, syntax), text, syntax, 1000);
    case 'time':
      return numberInBounds(row, parseSeconds(text, syntax), text, syntax, 1000);
    case 'bool':
      return parseBool(text, syntax);
    case 'enum':
      return parseEnum(row, text);
    case 'list':
      return { ok: true, value: splitList(text, /,/) };
    case 'words':
      return { ok: true, value: splitList(text, /[\s,]/) };
    case 'string':
    case 'path':
    case 'sql':
      return { ok: true, value: text };
  }
}

function splitList(text: string, separator: RegExp): readonly string[] {
  return text
    .split(separator)
    .map((word) => word.trim())
    .filter((word) => word !== '');
}

/** Words that are refused later, with the reason, are not offered. */
function parseEnum({ values = [], refused = {}, otherwise }: SettingRow, text: string): Parsed {
  const lower = text.toLowerCase();
  const value = values.find((one) => one === lower);
  if (value !== undefined) return { ok: true, value };
  if (otherwise !== undefined)
    return { ok: true, value: otherwise, note: `it is unknown, and ${otherwise} counts, as in PgBouncer` };
  return { ok: false, expected: `one of ${values.filter((one) => !Object.hasOwn(refused, one)).join(', ')}` };
}

/** PgBouncer takes any whole number and counts all but 0 as on; older releases had seconds in tcp_defer_accept. */
function parseBool(text: string, syntax: NumberSyntax): Parsed {
  const number = parseWhole(text, syntax);
  if (number === null) return { ok: false, expected: '0 (off) or 1 (on)' };
  if (number === 0 || number === 1) return { ok: true, value: number === 1 };
  return { ok: true, value: true, note: 'it is read as 1 (on); write 0 or 1' };
}

/** Without a 0 before it the number is decimal, which hardly anybody means. */
function parseMode(row: SettingRow, text: string, syntax: NumberSyntax): Parsed {
  const parsed = numberInBounds(row, parseWhole(text, syntax), text, syntax);
  if (!parsed.ok || parsed.note !== undefined || /^[+-]?0/.test(text)) return parsed;
  const octal = `0${Number(parsed.value).toString(8)}`;
  return {
    ...parsed,
    note: `it is read as a decimal number, which is ${octal} in octal; write a 0 before an octal one`,
  };
}

function parseWhole(text: string, syntax: NumberSyntax): number | null {
  if (syntax === 'decimal') return /^[+-]?[0-9]{1,20}$/.test(text) ? Number(text) : null;
  const match = /^([+-]?)(?:0[xX]([0-9a-fA-F]{1,20})|(0[0-7]{0,20})|([1-9][0-9]{0,20}))$/.exec(text);
  if (match === null) return null;
  const [, sign, hex, octal, decimal] = match;
  const size = hex !== undefined ? Number.parseInt(hex, 16) : Number.parseInt(octal ?? decimal ?? '', octal ? 8 : 10);
  return sign === '-' ? -size : size;
}

/** In connection strings PgBouncer reads numbers by atoi(3), which stops at what is no digit: `20s` is 20 there, and here. */
function numberInBounds(row: SettingRow, number: number | null, text: string, syntax: NumberSyntax, scale = 1): Parsed {
  const digits =
    number === null && syntax === 'decimal' ? /^(?![+-]?0[xX])[+-]?[0-9]{1,20}/.exec(text)?.[0] : undefined;
  const parsed = inBounds(row, digits === undefined ? number : Number(digits), scale);
  if (!parsed.ok) return odd(row, text, syntax, scale) ?? parsed;
  if (digits === undefined) return parsed;
  const read = scale === 1 ? digits : `${digits} seconds`;
  return { ...parsed, note: `it is read as ${read}, as PgBouncer reads it; write ${digits}` };
}

function odd(row: SettingRow, text: string, syntax: NumberSyntax, scale: number): Parsed | null {
  const found = row.own ? null : syntax === 'c' ? oddGlobal(row, text) : oddInEntry(row, text);
  if (found === null) return null;
  const { number, note } = found;
  return number === null ? { ok: true, value: 0, isUnset: true, note } : { ok: true, value: number * scale, note };
}

/** As strtod reads it: `0x10` is 16 seconds, `1e3` is 1000. Those of connection strings have fractions at most. */
function parseSeconds(text: string, syntax: NumberSyntax): number | null {
  if (/^[+-]?(?:[0-9]{1,20}(?:\.[0-9]{0,20})?|\.[0-9]{1,20})$/.test(text)) return Number(text);
  if (syntax === 'decimal') return null;
  if (/^[+-]?0[xX][0-9a-fA-F]{1,20}$/.test(text)) return parseWhole(text, 'c');
  return /^[+-]?(?:[0-9]{1,20}(?:\.[0-9]{0,20})?|\.[0-9]{1,20})[eE][+-]?[0-9]{1,2}$/.test(text) ? Number(text) : null;
}

/** The least time that can be given, a microsecond, as in PgBouncer: less would become 0, which means "off". */
const MICROSECONDS = 1e6;

function inBounds(row: SettingRow, number: number | null, scale: number): Parsed {
  const fits = number !== null && number >= smallest(row) && number <= largest(row);
  if (!fits || (number > 0 && number < 1 / MICROSECONDS)) return { ok: false, expected: expectedNumber(row) };
  const exact = Math.round(number * MICROSECONDS) / MICROSECONDS;
  // Adding 0 makes 0 of -0.
  return { ok: true, value: Math.round(exact * scale * 1000) / 1000 + 0 };
}

function expectedNumber(row: SettingRow): string {
  const from = smallest(row);
  const to = largest(row);
  switch (row.kind) {
    case 'time':
      return `a number of seconds from ${from} to ${to}, such as 30 or 0.5`;
    case 'seconds':
      return `a whole number of seconds from ${from} to ${to}`;
    case 'millis':
      return `a whole number of milliseconds from ${from} to ${to}`;
    case 'bytes':
      return `a whole number of bytes from ${from} to ${to}`;
    case 'percent':
      return `a whole number from ${from} to ${to}, without a % sign`;
    case 'mode':
      return `an octal number from 0 to 0${to.toString(8)}, with a 0 before it, such as 0770`;
    default:
      return `a whole number from ${from} to ${to}`;
  }
}

/** Prints a value as PgBouncer's SHOW CONFIG does: seconds as `%g`, switches as 0 and 1, file modes in decimal. */
export function formatValue(row: SettingRow, value: SettingValue): string {
  switch (row.kind) {
    case 'time':
      return formatG(Number(value) / 1000);
    case 'seconds':
      return String(Number(value) / 1000);
    case 'bool':
      return value === true ? '1' : '0';
    default:
      return Array.isArray(value) ? value.join(',') : String(value);
  }
}

/** C's `%g`: six significant digits, no trailing zeros, an exponent of two digits outside 0.0001 to 999999. */
export function formatG(number: number): string {
  if (!Number.isFinite(number) || number === 0) return String(number);
  const [mantissa = '', power = '0'] = number.toExponential(5).split('e');
  const exponent = Number(power);
  if (exponent >= -4 && exponent < 6) return trimZeros(number.toFixed(5 - exponent));
  return `${trimZeros(mantissa)}e${exponent < 0 ? '-' : '+'}${String(Math.abs(exponent)).padStart(2, '0')}`;
}

function trimZeros(digits: string): string {
  return digits.includes('.') ? digits.replace(/\.?0+$/, '') : digits;
}
