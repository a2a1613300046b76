// Owns the difference between two configurations, which RELOAD applies.
// It must not know how a change is applied: it is pure data.

import { fieldName, type SettingValue } from './setting-row.ts';
import {
  type Config,
  type DatabaseConfig,
  type GlobalSettings,
  type PeerConfig,
  rowsIn,
  type UserConfig,
} from './settings.ts';
import { configValueText } from './show.ts';

/** A setting of [pgbouncer] with another value. */
export interface SettingChange {
  readonly name: string;
  /** Values as SHOW CONFIG prints them. */
  readonly before: string | null;
  readonly after: string | null;
  /** False: RELOAD can't apply it, the old value stays until a restart. */
  readonly reloadable: boolean;
}

/** An entry that is in both configurations, with other values. */
export interface EntryChange<T> {
  readonly before: T;
  readonly after: T;
  /** Names of the fields that differ. */
  readonly fields: readonly string[];
  /** True when servers that are already connected do not fit the new values: retire them (PgBouncer: "dirty"). */
  readonly reconnect: boolean;
}

export interface EntriesDiff<T> {
  readonly added: readonly T[];
  readonly removed: readonly T[];
  readonly changed: readonly EntryChange<T>[];
}

export interface ConfigDiff {
  /** Changed settings of [pgbouncer], sorted by name. */
  readonly global: readonly SettingChange[];
  readonly databases: EntriesDiff<DatabaseConfig>;
  /** The `*` entry: at most one element in one of the three. Databases made from it follow it. */
  readonly fallback: EntriesDiff<DatabaseConfig>;
  readonly users: EntriesDiff<UserConfig>;
  readonly peers: EntriesDiff<PeerConfig>;
  /** A server_tls_ setting changed: all servers are to be retired, so that none keeps weaker settings. */
  readonly serverTls: boolean;
  /** A client_tls_ setting changed: new clients need a new TLS context. */
  readonly clientTls: boolean;
  /** True when nothing differs. */
  readonly empty: boolean;
}

/**
 * The fields of a database that a server connection was made with. PgBouncer retires for the first eight; the others
 * are sent at login, so that servers from before the change would differ from those after it.
 */
const CONNECTION_FIELDS: ReadonlySet<string> = new Set([
  'dbname',
  'hosts',
  'port',
  'user',
  'connectQuery',
  'authDbname',
  'authQuery',
  'loadBalanceHosts',
  'password',
  'clientEncoding',
  'datestyle',
  'timezone',
  'applicationName',
]);
const PEER_FIELDS: ReadonlySet<string> = new Set(['host', 'port']);
const NO_FIELDS: ReadonlySet<string> = new Set();

/** What RELOAD has to do to come from one configuration to another. */
export function diffConfig(before: Config, after: Config): ConfigDiff {
  const global = diffGlobals(before, after);
  const databases = diffEntries(before.databases, after.databases, CONNECTION_FIELDS);
  const fallback = diffEntries(asMap(before.fallback), asMap(after.fallback), CONNECTION_FIELDS);
  const users = diffEntries(before.users, after.users, NO_FIELDS);
  const peers = diffEntries(before.peers, after.peers, PEER_FIELDS);
  const entries = [databases, fallback, users, peers];
  return {
    global,
    databases,
    fallback,
    users,
    peers,
    serverTls: global.some(({ name }) => name.startsWith('server_tls')),
    clientTls: global.some(({ name }) => name.startsWith('client_tls')),
    empty:
      global.length === 0 && entries.every((one) => one.added.length + one.removed.length + one.changed.length === 0),
  };
}

/**
 * The configuration in force after RELOAD: the new one, except for the settings that only a restart changes, which
 * keep their values. Give this, not the new one, to the next `diffConfig`.
 */
export function afterReload(before: Config, after: Config): Config {
  const global: Record<string, SettingValue> = { ...after.global };
  const given = new Map(after.given);
  for (const { key, row } of rowsIn('global')) {
    if (row.reload) continue;
    const field = fieldName(key, row);
    global[field] = fieldsOf(before.global)[field]!;
    const kept = before.given.get(key);
    if (kept === undefined) given.delete(key);
    else given.set(key, kept);
  }
  // The same fields as before, each with a value of the same row.
  return { ...after, global: global as unknown as GlobalSettings, given };
}

function diffGlobals(before: Config, after: Config): SettingChange[] {
  const changes: SettingChange[] = [];
  for (const { key, row } of rowsIn('global')) {
    const field = fieldName(key, row);
    if (same(fieldsOf(before.global)[field], fieldsOf(after.global)[field])) continue;
    const text = (config: Config): string | null => configValueText(key, config) ?? null;
    changes.push({ name: key, before: text(before), after: text(after), reloadable: row.reload });
  }
  return changes.sort((a, b) => (a.name < b.name ? -1 : 1));
}

function diffEntries<K, T extends object>(
  before: ReadonlyMap<K, T>,
  after: ReadonlyMap<K, T>,
  connection: ReadonlySet<string>,
): EntriesDiff<T> {
  const added: T[] = [];
  const changed: EntryChange<T>[] = [];
  for (const [key, entry] of after) {
    const old = before.get(key);
    if (old === undefined) {
      added.push(entry);
      continue;
    }
    const fields = changedFields(old, entry);
    if (fields.length === 0) continue;
    changed.push({ before: old, after: entry, fields, reconnect: fields.some((field) => connection.has(field)) });
  }
  return { added, removed: [...before].filter(([key]) => !after.has(key)).map(([, entry]) => entry), changed };
}

/** The place in the file is no difference. */
function changedFields(before: object, after: object): string[] {
  const names = new Set([...Object.keys(before), ...Object.keys(after)]);
  names.delete('place');
  return [...names].filter((name) => !same(fieldsOf(before)[name], fieldsOf(after)[name])).sort();
}

function same(a: SettingValue | undefined, b: SettingValue | undefined): boolean {
  if (!Array.isArray(a) || !Array.isArray(b)) return a === b;
  return a.length === b.length && a.every((one, index) => one === b[index]);
}

function fieldsOf(object: object): Readonly<Record<string, SettingValue | undefined>> {
  return object as Readonly<Record<string, SettingValue | undefined>>;
}

function asMap(fallback: DatabaseConfig | undefined): ReadonlyMap<string, DatabaseConfig> {
  return new Map(fallback === undefined ? [] : [[fallback.name, fallback]]);
}
