// Owns what PgBouncer makes of numbers that make no sense (src/main.c and src/loader.c of 1.25: strtol, atoi and strtod into C's types,
// without a look at bounds), as far as it can serve anybody with them. It must not know any particular setting.

import { LARGEST, largest, smallest } from './bounds.ts';
import type { SettingRow } from './setting-row.ts';

/** Seconds from which C's 64 bits of microseconds overflow, to 0. */
const OVERFLOW_S = 2 ** 64 / 1e6;

const INT64_MAX = 2n ** 63n - 1n;

/** What it counts as, in the row's own unit; null: it is as good as not given. `note` says so, to follow the text as it was given. */
export interface OddNumber {
  readonly number: number | null;
  readonly note: string;
}

const AS_THERE = 'as in PgBouncer';

/**
 * Of [pgbouncer]. Whole numbers are cut to 32 bits; what is below 0 then is as good as 0, or as good as no bound (`negative` of the row).
 *
 * @returns null where PgBouncer refuses the value too, or would start and serve nobody.
 */
export function oddGlobal(row: SettingRow, text: string): OddNumber | null {
  if (row.kind === 'time') return oddTime(text);
  const whole = strtol(text);
  if (whole === null) return null;
  const number = Number(row.kind === 'bytes' ? BigInt.asUintN(32, whole) : BigInt.asIntN(32, whole));
  const [min, max] = [smallest(row), largest(row)];
  if (row.kind === 'mode') return read(number & max, `0${(number & max).toString(8)}`);
  if (number >= min && number <= max) return read(number);
  if (number < 0 && row.negative === 'most') return { number: max, note: `it counts as no limit, ${AS_THERE}` };
  if (number < 0 && min === 0 && row.negative !== 'refused') return read(0);
  return number > max && row.kind === 'bytes' ? read(max) : null;
}

/** Of an entry of [databases], [users] or [peers]: as far as it is a number, 0 if it is none. Below 0 sizes are not set, and times never end. */
export function oddInEntry(row: SettingRow, text: string): OddNumber | null {
  const digits = /^\s*([+-]?[0-9]+)/.exec(text)?.[1];
  const number = Number(BigInt.asIntN(32, digits === undefined ? 0n : saturated(BigInt(digits.replace('+', '')))));
  if (row.kind === 'port') return null;
  if (digits === undefined) return { number: 0, note: `it is no number and counts as 0, ${AS_THERE}; write one` };
  if (number >= 0) return read(number);
  if (row.kind === 'time') return never();
  return { number: null, note: `it counts as not set, ${AS_THERE}; leave it out` };
}

function oddTime(text: string): OddNumber | null {
  const isWord = /^[+-]?(?:inf(?:inity)?|nan)$/i.test(text);
  const seconds = isWord ? (/nan/i.test(text) ? LARGEST : Number.POSITIVE_INFINITY) : Number(text);
  if (text === '' || text.startsWith('-') || Number.isNaN(seconds)) return null;
  // Beyond what a double can be: C says so (ERANGE), and it is refused.
  if (!isWord && (seconds === Number.POSITIVE_INFINITY || (seconds === 0 && /[1-9]/.test(text.split(/e/i)[0]!))))
    return null;
  if (seconds >= OVERFLOW_S || seconds < 1e-6) return read(0);
  return seconds >= LARGEST ? never() : null;
}

function read(number: number, written = String(number)): OddNumber {
  return { number, note: `it is read as ${written}, ${AS_THERE}; write ${written}` };
}

function never(): OddNumber {
  return { number: LARGEST, note: `it is as good as for ever, ${AS_THERE}; write ${LARGEST}` };
}

/** As C reads the whole text, with a base by its beginning; null when something else stands in it. */
function strtol(text: string): bigint | null {
  const match = /^([+-]?)(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)$/.exec(text);
  if (match === null) return null;
  const [, sign, digits = ''] = match;
  const size = BigInt(/^0[0-7]/.test(digits) ? `0o${digits.slice(1)}` : digits);
  return saturated(sign === '-' ? -size : size);
}

function saturated(number: bigint): bigint {
  if (number > INT64_MAX) return INT64_MAX;
  return number < -INT64_MAX ? -INT64_MAX - 1n : number;
}
