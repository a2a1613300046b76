/** What a pool of servers is made of: what it shares with all others, its settings, its user. Types, and how settings are found. */
import type { Pool, PoolSet } from '@sluice/core';
import type { CryptoPort, Parameters, ScramKeys, Secret } from '@sluice/wire';
import { Keeping, type PoolingMode } from '../client/home.ts';
import type { Config, DatabaseConfig } from '../config/index.ts';
import type { NameCache } from '../net/name-cache.ts';
import type { TcpSettings } from '../net/socket-options.ts';
import type { TlsContexts } from '../net/tls-context.ts';
import type { Server } from '../server/server.ts';
import type { StatementStore } from '../server/statements.ts';
import type { Clock } from '../telemetry/clock.ts';
import type { Log } from '../telemetry/log.ts';
import { poolMode, poolPolicy } from './policy.ts';

/** What all pools of the process share. */
export interface PoolingContext {
  readonly clock: Clock;
  readonly log: Log;
  readonly crypto: CryptoPort;
  readonly set: PoolSet<Server>;
  readonly statements: StatementStore;
  readonly parameters: Parameters;
  readonly random: () => number;
  /** The addresses of servers' and peers' names. */
  readonly names: NameCache;
  /** Replaced by a reload: for connections that come later. */
  tls: TlsContexts;
  tcp: TcpSettings;
  /** server_answer_timeout. */
  serverAnswerMs: number;
  /** max_packet_size. */
  maxPacketSize: number;
  readonly nextConnectionId: () => number;
}

/** Which settings a pool takes from where; a new one comes with RELOAD. */
export interface PoolShape {
  database: DatabaseConfig;
  /** Name under which clients ask for the database. */
  databaseName: string;
  policy: Pool<Server>['policy'];
  mode: PoolingMode;
  maxPrepared: number;
  prepareThreshold: number;
  keeping: Keeping;
  resetAlways: boolean;
  resetQuery: string;
  checkQuery: string;
  connectQuery: string;
  connectTimeoutMs: number;
  /** Startup parameters of the one replication connection that the pool is for; null: an ordinary pool. */
  replication: ReadonlyMap<string, string> | null;
  queryWaitTimeoutMs: number;
  /** query_wait_timeout of single users, in milliseconds. */
  userWaitTimeouts: ReadonlyMap<string, number>;
  unixSocketDir: string;
  logConnections: boolean;
  logDisconnections: boolean;
}

export interface PoolUser {
  /** The role on the server. */
  readonly name: string;
  secret: Secret | null;
  scramKeys: ScramKeys | null;
}

/** What a client is told at login. */
export interface Welcome {
  reported: ReadonlyMap<string, string>;
  parameters: Parameters;
}

function userWaits(config: Config): ReadonlyMap<string, number> {
  const waits = new Map<string, number>();
  for (const { name, queryWaitTimeoutMs } of config.users.values())
    if (queryWaitTimeoutMs !== undefined) waits.set(name, queryWaitTimeoutMs);
  return waits;
}

function keepingOf({ global }: Config, mode: PoolingMode): Keeping {
  if (mode === 'session') return Keeping.Nothing;
  if (global.sessionState === 'follow') return Keeping.Follow;
  if (global.sessionState === 'refuse') return Keeping.Refuse;
  return global.maxPreparedStatements > 0 ? Keeping.Statements : Keeping.Nothing;
}

/** The settings of a database's pool for a role, by the configuration as it is. */
export function poolShape(config: Config, databaseName: string, database: DatabaseConfig, role: string): PoolShape {
  const { global } = config;
  const userConfig = config.users.get(role);
  return {
    database,
    databaseName,
    policy: poolPolicy(config, database, userConfig),
    mode: poolMode(config, database, userConfig),
    maxPrepared: global.maxPreparedStatements,
    prepareThreshold: global.prepareThreshold,
    keeping: keepingOf(config, poolMode(config, database, userConfig)),
    resetAlways: global.serverResetQueryAlways,
    resetQuery: global.serverResetQuery,
    checkQuery: global.serverCheckQuery,
    connectQuery: database.connectQuery ?? '',
    replication: null,
    connectTimeoutMs: global.serverConnectTimeoutMs,
    queryWaitTimeoutMs: database.queryWaitTimeoutMs ?? global.queryWaitTimeoutMs,
    userWaitTimeouts: userWaits(config),
    unixSocketDir: global.unixSocketDir,
    logConnections: global.logConnections,
    logDisconnections: global.logDisconnections,
  };
}

/** For one replication connection: its server is opened with the client's startup parameters and used for nobody else. */
export function replicationShape(shape: PoolShape, params: ReadonlyMap<string, string>): PoolShape {
  return {
    ...shape,
    policy: {
      ...shape.policy,
      minSize: 0,
      maxSize: 1,
      reserveSize: 0,
      lifetimeMs: 0,
      maxUses: 1,
      evictable: false,
    },
    mode: 'session',
    keeping: Keeping.Nothing,
    resetQuery: '',
    replication: params,
  };
}

/** What a server's login asks for beside user and database. */
export function startupOf({ database, replication }: PoolShape): Map<string, string> {
  const { clientEncoding, datestyle, timezone, applicationName } = database;
  const startup = new Map<string, string>(replication ?? []);
  if (clientEncoding) startup.set('client_encoding', clientEncoding);
  if (datestyle) startup.set('datestyle', datestyle);
  if (timezone) startup.set('timezone', timezone);
  if (applicationName) startup.set('application_name', applicationName);
  return startup;
}
