// Owns how an entry of [databases], [users] or [peers] becomes a typed object.
// It must not know about files, nor about entries other than the one it is given.

import { type Pair, parseConnstr, shownKey } from './connstr.ts';
import { closest, type Problems, quote } from './problem.ts';
import { CONSOLE_DATABASE } from './setting-checks.ts';
import { fieldName, type Scope, type SettingValue, settingName } from './setting-row.ts';
import {
  ALIASES,
  type DatabaseConfig,
  findRow,
  type PeerConfig,
  type Place,
  rowsIn,
  sectionOf,
  sectionsWith,
  type UserConfig,
} from './settings.ts';
import { utf8Bytes } from './text.ts';
import { parseValue } from './values.ts';

/** The longest names PgBouncer keeps, in bytes (MAX_DBNAME and MAX_USERNAME of bouncer.h, less the closing zero). */
export const MAX_DATABASE_NAME = 63;
export const MAX_USER_NAME = 127;
/** The largest peer_id: two bytes of a cancel key, less two bits. */
export const MAX_PEER_ID = 16_383;

/** An entry as it stands in the file. */
export interface Entry {
  readonly name: string;
  readonly text: string;
  readonly place: Place;
}

/** A 0 that means "not set" in this section; a warning is due when the global value is not 0. */
export interface Inherited {
  readonly entry: Entry;
  readonly scope: Scope;
  readonly setting: string;
  readonly field: string;
}

interface Reading {
  readonly scope: Scope;
  readonly entry: Entry;
  readonly problems: Problems;
  readonly inherited: Inherited[];
}

type Fields = Record<string, SettingValue | undefined>;

/**
 * Reads an entry of [databases]; the name '*' makes the fallback.
 *
 * @returns null when the entry can't be used; the problems say why.
 */
export function parseDatabase(entry: Entry, problems: Problems, inherited: Inherited[]): DatabaseConfig | null {
  const reading: Reading = { scope: 'database', entry, problems, inherited };
  if (entry.name === CONSOLE_DATABASE) {
    fail(reading, `database name "${CONSOLE_DATABASE}" is reserved for the admin console: choose another name`);
    return null;
  }
  if (!fitsName(reading, MAX_DATABASE_NAME)) return null;
  const fields = readFields(reading);
  if (fields === null) return null;
  fields.hosts ??= [];
  // Built from the table's rows, whose fields are exactly those of the type.
  return { ...fields, name: entry.name, place: entry.place } as unknown as DatabaseConfig;
}

/** Reads an entry of [users]. @returns null when it can't be used; the problems say why. */
export function parseUser(entry: Entry, problems: Problems, inherited: Inherited[]): UserConfig | null {
  const reading: Reading = { scope: 'user', entry, problems, inherited };
  if (!fitsName(reading, MAX_USER_NAME)) return null;
  const fields = readFields(reading);
  return fields === null ? null : ({ ...fields, name: entry.name, place: entry.place } as unknown as UserConfig);
}

/** Reads an entry of [peers]. @returns null when it can't be used; the problems say why. */
export function parsePeer(entry: Entry, problems: Problems): PeerConfig | null {
  const reading: Reading = { scope: 'peer', entry, problems, inherited: [] };
  const id = /^[0-9]{1,5}$/.test(entry.name) ? Number(entry.name) : 0;
  if (id < 1 || id > MAX_PEER_ID) {
    fail(
      reading,
      `ids of peers must be a number larger than 0 and at most ${MAX_PEER_ID}: ${quote(entry.name)} is not`,
    );
    return null;
  }
  const fields = readFields(reading);
  if (fields === null) return null;
  if (fields.host === undefined) {
    fail(reading, `host was not provided for peer ${id}: add host=`);
    return null;
  }
  return { ...fields, id, place: entry.place } as unknown as PeerConfig;
}

function fitsName(reading: Reading, limit: number): boolean {
  const { name } = reading.entry;
  const bytes = utf8Bytes(name);
  if (bytes <= limit) return true;
  fail(reading, `the name ${quote(name)} is too long: ${bytes} bytes, at most ${limit} are kept`);
  return false;
}

/** All fields of the scope, in the table's order: those that are not given have the row's own default or undefined. */
function readFields(reading: Reading): Fields | null {
  const { entry, scope } = reading;
  const parsed = parseConnstr(entry.text);
  if (!parsed.ok) {
    const what = scope === 'user' ? 'syntax error in user settings' : 'syntax error in connection string';
    fail(reading, `${what}: ${parsed.reason}`);
    return null;
  }
  const given = new Map<string, SettingValue | undefined>();
  let good = true;
  for (const [index, { key, value }] of parsed.pairs.entries()) {
    const known = isKnown(reading, parsed.pairs, index);
    good = known && readPair(reading, key, value, given) && good;
  }
  return good ? complete(scope, given) : null;
}

function complete(scope: Scope, given: ReadonlyMap<string, SettingValue | undefined>): Fields {
  const fields: Fields = {};
  for (const { key, row } of rowsIn(scope)) {
    const field = fieldName(key, row);
    // A default that other sections share is the global one, which an unset field leaves in force.
    const own = row.scopes.length === 1 && row.default !== null ? parseValue(row, row.default, 'decimal') : null;
    fields[field] = given.get(field) ?? (own?.ok ? own.value : undefined);
  }
  return fields;
}

function readPair(reading: Reading, name: string, text: string, given: Map<string, SettingValue | undefined>): boolean {
  const { scope, entry, problems } = reading;
  const found = findRow(scope, name);
  if (found === undefined) return false;
  const { key, row } = found;
  const field = fieldName(key, row);
  if (given.has(field)) warn(reading, `"${name}" is given more than once: the last value counts`);
  const parsed = parseValue(row, text, 'decimal');
  if (!parsed.ok) {
    fail(reading, `invalid ${label(name)} ${quote(text)}; it must be ${parsed.expected}`);
    return false;
  }
  // PgBouncer's own mark for "not set" in these sections is no mistake.
  const isMark = parsed.isUnset === true && text === '-1';
  if (parsed.note !== undefined && !isMark)
    problems.warning(entry.place, entryName(reading), `${name}=${text}: ${parsed.note}`);
  const isUnset = parsed.isUnset === true;
  const zero = !isUnset && parsed.value === 0 && row.zeroInherits === true;
  if (zero) reading.inherited.push({ entry, scope, setting: settingName(key), field });
  given.set(field, zero || isUnset ? undefined : parsed.value);
  return true;
}

/** PgBouncer's words for the settings it checks. */
function label(name: string): string {
  return name === 'pool_mode' ? 'pool mode:' : `${name}:`;
}

/** Says what is wrong with a key that this section does not have. */
function isKnown(reading: Reading, pairs: readonly Pair[], index: number): boolean {
  const { scope } = reading;
  const { key } = pairs[index]!;
  if (findRow(scope, key) !== undefined) return true;
  const before = pairs.slice(0, index);
  const afterPassword = before.at(-1)?.key === 'password';
  const what = scope === 'user' ? 'unrecognized user parameter' : 'unrecognized connection parameter';
  fail(reading, `${what}: ${shownKey(key, before)}${afterPassword ? '' : unknown(scope, key)}`);
  return false;
}

function unknown(scope: Scope, name: string): string {
  const elsewhere = sectionsWith(name);
  if (elsewhere.length > 0) return `; it stands in ${elsewhere.join(', ')}`;
  const names = [...rowsIn(scope).map(({ key }) => settingName(key)), ...Object.keys(ALIASES[scope] ?? {})];
  const near = closest(name, names);
  return near === undefined ? `; known are ${names.join(', ')}` : `; did you mean ${near}?`;
}

function entryName({ scope, entry }: Reading): string {
  return `${sectionOf(scope)}/${entry.name}`;
}

function fail(reading: Reading, message: string): void {
  reading.problems.error(reading.entry.place, entryName(reading), inEntry(reading, message));
}

function warn(reading: Reading, message: string): void {
  reading.problems.warning(reading.entry.place, entryName(reading), inEntry(reading, message));
}

function inEntry({ scope, entry }: Reading, message: string): string {
  return `${message}, in [${sectionOf(scope)}] ${quote(entry.name)}`;
}
