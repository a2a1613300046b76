// Owns the settings table as a whole and the typed results that follow from it.
// It must not know how values are read or printed, nor what anyone does with them.

import type { FieldName, Scope, SettingRow, ValueOf } from './setting-row.ts';
import { AUTH_ROWS } from './settings-auth.ts';
import { CONNECTION_ROWS } from './settings-connection.ts';
import { LISTEN_ROWS } from './settings-listen.ts';
import { NETWORK_ROWS } from './settings-network.ts';
import { POOL_ROWS } from './settings-pool.ts';
import { TIMEOUT_ROWS } from './settings-timeout.ts';
import { TLS_ROWS } from './settings-tls.ts';

/**
 * Every setting, a row each, with PgBouncer's names, units and defaults (PgBouncer 1.25, doc/config.md and src/main.c).
 * A key is the setting's name; where two sections use one name for two things, the section stands before it (`peers/port`).
 */
export const SETTINGS = {
  ...LISTEN_ROWS,
  ...POOL_ROWS,
  ...AUTH_ROWS,
  ...TIMEOUT_ROWS,
  ...TLS_ROWS,
  ...NETWORK_ROWS,
  ...CONNECTION_ROWS,
} as const satisfies Record<string, SettingRow>;

type Table = typeof SETTINGS;
type KeysIn<S extends Scope> = {
  [Key in keyof Table]: S extends Table[Key]['scopes'][number] ? Key : never;
}[keyof Table];

/** The names of the settings of [pgbouncer]. */
export type GlobalSettingName = KeysIn<'global'>;

/**
 * The settings of [pgbouncer], all of them always present: numbers, booleans, strings and lists in a plain object.
 * Durations are in milliseconds, end in `Ms`, and keep PgBouncer's meaning of 0 (see docs/settings.md). A text that is
 * not set is ''.
 */
export type GlobalSettings = {
  readonly [Key in GlobalSettingName as FieldName<Key, Table[Key]>]: ValueOf<Table[Key]>;
};

/** The fields of a section's connection string; undefined where it does not give the setting, so that another applies. */
type Overrides<S extends Scope> = {
  readonly [Key in KeysIn<S> as FieldName<Key, Table[Key]>]: ValueOf<Table[Key]> | undefined;
};

/** Where an item was given, for messages. */
export interface Place {
  readonly file: string;
  /** Line in that file, from 1. */
  readonly line: number;
}

/** An entry of [databases]. */
export interface DatabaseConfig
  extends Omit<Overrides<'database'>, 'hosts' | 'port' | 'loadBalanceHosts'>,
    Readonly<{ place: Place }> {
  /** The name clients ask for; '*' for the fallback entry. */
  readonly name: string;
  /** Empty: the Unix socket in unix_socket_dir. */
  readonly hosts: readonly string[];
  readonly port: number;
  readonly loadBalanceHosts: ValueOf<Table['load_balance_hosts']>;
}

/** An entry of [users]. */
export interface UserConfig extends Overrides<'user'>, Readonly<{ place: Place }> {
  readonly name: string;
}

/** An entry of [peers]. */
export interface PeerConfig extends Readonly<{ place: Place }> {
  /** From 1 to 16383. */
  readonly id: number;
  readonly host: string;
  readonly port: number;
  readonly poolSize: number | undefined;
}

/** The text a setting of [pgbouncer] was given, and where. */
export interface Given extends Place {
  readonly text: string;
}

/** A configuration that was read. It is never changed in place; RELOAD and SET make a new one. */
export interface Config {
  readonly global: GlobalSettings;
  readonly databases: ReadonlyMap<string, DatabaseConfig>;
  /** The `*` entry of [databases]: what a database without an entry of its own is made from. */
  readonly fallback: DatabaseConfig | undefined;
  readonly users: ReadonlyMap<string, UserConfig>;
  readonly peers: ReadonlyMap<number, PeerConfig>;
  /** The settings of [pgbouncer] that the file or SET gave; the others have their defaults. */
  readonly given: ReadonlyMap<string, Given>;
}

export type PoolMode = GlobalSettings['poolMode'];
export type AuthType = GlobalSettings['authType'];
export type SslMode = GlobalSettings['clientTlsSslmode'];
export type SessionState = GlobalSettings['sessionState'];
export type LoadBalanceHosts = DatabaseConfig['loadBalanceHosts'];

/** Other names of settings, by section: kept from older releases. */
export const ALIASES: Readonly<Partial<Record<Scope, Readonly<Record<string, string>>>>> = {
  database: { reserve_pool: 'reserve_pool_size' },
};

const SECTION_OF: Readonly<Record<Scope, string>> = {
  global: 'pgbouncer',
  database: 'databases',
  user: 'users',
  peer: 'peers',
};

/** The name of a scope's section in the file. */
export function sectionOf(scope: Scope): string {
  return SECTION_OF[scope];
}

/** A row together with its key. */
export interface KeyedRow {
  readonly key: string;
  readonly row: SettingRow;
}

const ROWS: readonly KeyedRow[] = Object.entries(SETTINGS).map(([key, row]) => ({ key, row }));

/** The rows of the settings that may stand in a section, in the table's order. */
export function rowsIn(scope: Scope): readonly KeyedRow[] {
  return ROWS.filter(({ row }) => row.scopes.includes(scope));
}

/**
 * Finds the row of a setting by the name it has in a section, other names included.
 *
 * @returns undefined when that section has no such setting.
 */
export function findRow(scope: Scope, name: string): KeyedRow | undefined {
  const canonical = lookup(ALIASES[scope], name) ?? name;
  const table: Readonly<Record<string, SettingRow>> = SETTINGS;
  for (const key of [`${SECTION_OF[scope]}/${canonical}`, canonical]) {
    const row = lookup(table, key);
    if (row?.scopes.includes(scope) && !canonical.includes('/')) return { key, row };
  }
  return undefined;
}

/** The sections that have a setting of this name, as they stand in the file: `[databases]`. */
export function sectionsWith(name: string): string[] {
  const scopes: readonly Scope[] = ['global', 'database', 'user', 'peer'];
  return scopes.filter((scope) => findRow(scope, name) !== undefined).map((scope) => `[${sectionOf(scope)}]`);
}

/** A property of its own, so that names such as `constructor` in a file find nothing. */
function lookup<T>(table: Readonly<Record<string, T>> | undefined, key: string): T | undefined {
  return table !== undefined && Object.hasOwn(table, key) ? table[key] : undefined;
}
