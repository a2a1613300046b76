/**
 * The pooler as numbers, at one moment: what the console, metrics and the dashboard show. The one place that walks live
 * objects; each list is made when it is asked for. Changes nothing.
 */
import { type Entry, EntryState, isCondemned, isTrusted } from '@sluice/core';
import { type Replication, replicationOf } from '../client/login.ts';
import { ClientSession } from '../client/session.ts';
import { type Session, SessionState } from '../client/side.ts';
import { CONSOLE_DATABASE, CONSOLE_USER, type Config, type DatabaseConfig } from '../config/index.ts';
import type { Conn } from '../net/conn.ts';
import type { NameRow, ZoneRow } from '../net/name-cache.ts';
import type { Server } from '../server/server.ts';
import { Clock } from '../telemetry/clock.ts';
import { addTraffic, NO_TRAFFIC, type TrafficCounts } from '../telemetry/traffic.ts';
import type { Database, Pooler } from './pooler.ts';
import type { ServerPool } from './server-pool.ts';

export interface PoolRow {
  database: string;
  user: string;
  clients: { active: number; waiting: number };
  servers: { active: number; beingCanceled: number; idle: number; used: number; tested: number; login: number };
  /** Milliseconds that the oldest waiter has waited. */
  maxWaitMs: number;
  mode: string;
  loadBalanceHosts: string | null;
}

export interface SocketRow {
  kind: 'client' | 'server';
  id: number;
  user: string;
  database: string;
  replication: Replication;
  state: string;
  remote: { address: string; port: number };
  local: { address: string; port: number };
  connectedAt: Date;
  requestedAt: Date;
  /** Milliseconds since the query began that is running or waiting; 0 without one. */
  waitMs: number;
  /** A server that closes at its next release. */
  closeNeeded: boolean;
  /** Number of the connection that it is linked with, or null. */
  link: number | null;
  remotePid: number;
  tls: string;
  applicationName: string;
  preparedStatements: number;
  queued: number;
}

/** Something that keeps a server with its client beyond the transaction. */
export interface PinRow {
  client: SocketRow;
  serverId: number;
  remotePid: number;
  what: string;
  statement: string;
  since: Date;
  ageMs: number;
}

export interface DatabaseRow {
  name: string;
  config: DatabaseConfig | null;
  host: string | null;
  port: number;
  dbname: string;
  user: string | null;
  poolSize: number;
  minPoolSize: number;
  reservePoolSize: number;
  serverLifetimeMs: number;
  poolMode: string | null;
  loadBalanceHosts: string | null;
  maxConnections: number;
  connections: number;
  maxClientConnections: number;
  clients: number;
  paused: boolean;
  disabled: boolean;
}

export interface UserRow {
  name: string;
  poolSize: number | null;
  reservePoolSize: number | null;
  poolMode: string | null;
  maxConnections: number;
  connections: number;
  maxClientConnections: number;
  clients: number;
}

export interface TrafficRow {
  database: string;
  totals: TrafficCounts;
  averages: TrafficCounts;
}

const SERVER_STATES: Readonly<Record<number, string>> = {
  [EntryState.Opening]: 'new',
  [EntryState.Idle]: 'idle',
  [EntryState.Linked]: 'active',
  [EntryState.Checking]: 'tested',
  [EntryState.Resetting]: 'tested',
  [EntryState.CancelWait]: 'being_canceled',
  [EntryState.Closing]: 'closing',
};

export class Snapshot {
  readonly #pooler: Pooler;
  readonly #now: number;

  constructor(pooler: Pooler) {
    this.#pooler = pooler;
    this.#now = pooler.clock.update();
  }

  get config(): Config {
    return this.#pooler.config;
  }

  get pauseMode(): Pooler['pauseMode'] {
    return this.#pooler.pauseMode;
  }

  /** By database and user, as PgBouncer keeps them. */
  pools(): PoolRow[] {
    const waiting = new Map<ServerPool, number>();
    for (const session of this.#pooler.sessions.values())
      if (session.state === SessionState.Waiting)
        waiting.set(session.home as ServerPool, (waiting.get(session.home as ServerPool) ?? 0) + 1);
    const rows = new Map<string, PoolRow>();
    for (const pool of this.#pools()) {
      const row = this.#pool(pool, waiting.get(pool) ?? 0);
      const id = `${row.database}\0${row.user}`;
      const before = rows.get(id);
      rows.set(id, before === undefined ? row : together(before, row));
    }
    return [...rows.values()];
  }

  clients(): SocketRow[] {
    const rows = [...this.#pooler.sessions.values()].map((session) => this.#client(session));
    return rows.sort((a, b) => compare(a.database, b.database) || compare(a.user, b.user) || a.id - b.id);
  }

  /** The oldest first. */
  pins(): PinRow[] {
    const rows: PinRow[] = [];
    for (const session of this.#pooler.sessions.values()) {
      const { server } = session;
      if (server === null) continue;
      const { id: serverId, processId: remotePid } = server.identity;
      for (const { what, statement, since } of session.pins) {
        const ageMs = this.#now - since;
        rows.push({ client: this.#client(session), serverId, remotePid, what, statement, since: wall(since), ageMs });
      }
    }
    return rows.sort((a, b) => b.ageMs - a.ageMs);
  }

  servers(): SocketRow[] {
    return this.#pools().flatMap((pool) => {
      const rows = [...pool.pool.entries()].map((entry) => this.#server(pool, entry));
      return rows.filter((row) => row.state !== 'closing');
    });
  }

  databases(): DatabaseRow[] {
    const rows = [...this.#pooler.databases.values()].map((database) => this.#database(database));
    return rows.sort((a, b) => compare(a.name, b.name));
  }

  users(): UserRow[] {
    const { config, secrets, userLimits, userClients } = this.#pooler;
    const known = [...secrets.keys(), ...config.users.keys(), ...userLimits.keys(), ...userClients.keys()];
    const names = new Set([CONSOLE_USER, ...known]);
    return [...names].sort(compare).map((name) => {
      const own = config.users.get(name);
      return {
        name,
        poolSize: own?.poolSize ?? null,
        reservePoolSize: own?.reservePoolSize ?? null,
        poolMode: own?.poolMode ?? null,
        maxConnections: own?.maxUserConnections ?? config.global.maxUserConnections,
        connections: userLimits.get(name)?.used ?? 0,
        maxClientConnections: own?.maxUserClientConnections ?? config.global.maxUserClientConnections,
        clients: userClients.get(name) ?? 0,
      };
    });
  }

  /** By database, the console's own commands among them. */
  traffic(): TrafficRow[] {
    const { periods, databases, pools, consoleTraffic } = this.#pooler;
    const used = new Set([...pools.values()].map((pool) => pool.database));
    const counted: [string, TrafficCounts][] = [[CONSOLE_DATABASE, consoleTraffic]];
    for (const { name, traffic } of databases.values()) if (used.has(name)) counted.push([name, traffic]);
    return counted
      .sort(([a], [b]) => compare(a, b))
      .map(([database, counts]) => ({
        database,
        totals: { ...counts },
        averages: periods.averages(database, counts, this.#now),
      }));
  }

  /** Of all databases together. */
  totals(): TrafficRow {
    const totals = this.traffic().reduce((sum, row) => addTraffic(sum, row.totals), NO_TRAFFIC);
    return { database: '', totals, averages: this.#pooler.periods.totals(totals, this.#now) };
  }

  /** By name, as PgBouncer has them. */
  dnsHosts(): NameRow[] {
    return this.#pooler.context.names.names().sort((a, b) => compare(a.name, b.name));
  }

  dnsZones(): ZoneRow[] {
    return this.#pooler.context.names.zones().sort((a, b) => compare(a.name, b.name));
  }

  get dnsQueries(): number {
    return this.#pooler.context.names.queries;
  }

  lists(): Record<'databases' | 'users' | 'peers' | 'pools' | 'clients' | 'logins' | 'servers', number> {
    const { config, sessions, pools, databases, loggingIn } = this.#pooler;
    return {
      databases: databases.size,
      users: this.users().length,
      peers: config.peers.size,
      pools: pools.size,
      clients: sessions.size,
      logins: loggingIn,
      servers: [...pools.values()].reduce((sum, { pool }) => sum + pool.size, 0),
    };
  }

  #pools(): ServerPool[] {
    return [...this.#pooler.pools.values()].sort(
      (a, b) => compare(a.database, b.database) || compare(a.user.name, b.user.name),
    );
  }

  #pool(home: ServerPool, waitingSessions: number): PoolRow {
    const { pool, shape } = home;
    const used = [...pool.lists[EntryState.Idle]!].filter((entry) => this.#isUsed(home, entry)).length;
    const oldest = pool.queue.oldest;
    return {
      database: home.database,
      user: home.user.name,
      clients: { active: home.clients - waitingSessions, waiting: pool.queue.length },
      servers: {
        active: pool.count(EntryState.Linked),
        beingCanceled: pool.count(EntryState.CancelWait),
        idle: pool.count(EntryState.Idle) - used,
        used,
        tested: pool.count(EntryState.Checking) + pool.count(EntryState.Resetting),
        login: pool.count(EntryState.Opening),
      },
      maxWaitMs: oldest === null ? 0 : Math.max(0, this.#now - oldest.since),
      mode: shape.mode,
      loadBalanceHosts: balanceOf(shape.database),
    };
  }

  /** Idle for longer than server_check_delay: to be checked before its next use. */
  #isUsed({ pool }: ServerPool, entry: Entry<Server>): boolean {
    return !isTrusted(pool, entry, this.#now);
  }

  #client(session: Session): SocketRow {
    const { identity, conn, server, state, parameters } = session;
    const name = state === SessionState.Waiting ? 'waiting' : server === null ? 'idle' : 'active';
    const since = state === SessionState.Waiting ? session.waitingSince : session.queryAt;
    return {
      ...ends(conn),
      kind: 'client',
      id: identity.id,
      user: identity.user,
      database: identity.database,
      replication: kindOf(session.home as ServerPool),
      state: name,
      connectedAt: wall(session.connectedAt),
      requestedAt: wall(session.requestedAt),
      waitMs: since > 0 ? Math.max(0, this.#now - since) : 0,
      closeNeeded: false,
      link: server?.identity.id ?? null,
      remotePid: 0,
      applicationName: parameters.get('application_name') ?? '',
      preparedStatements: session.statements.size,
    };
  }

  #server(home: ServerPool, entry: Entry<Server>): SocketRow {
    const server = entry.value;
    const idle = entry.state === EntryState.Idle && this.#isUsed(home, entry) ? 'used' : null;
    const holder = server === null ? null : this.#holderOf(server);
    return {
      ...ends(server?.conn ?? null),
      kind: 'server',
      id: server?.identity.id ?? 0,
      user: home.user.name,
      database: home.database,
      replication: kindOf(home),
      state: idle ?? SERVER_STATES[entry.state]!,
      connectedAt: wall(server?.connectedAt ?? entry.createdAt),
      requestedAt: wall(server === null ? entry.createdAt : server.requestedAt || server.connectedAt),
      waitMs: 0,
      closeNeeded: isCondemned(entry),
      link: holder?.identity.id ?? null,
      remotePid: server?.identity.processId ?? 0,
      applicationName: server?.parameters.get('application_name') ?? '',
      preparedStatements: server?.statements.size ?? 0,
    };
  }

  #holderOf(server: Server): Session | null {
    return server.holder instanceof ClientSession ? server.holder : null;
  }

  #database({ name, config, limit, clients, paused, disabled }: Database): DatabaseRow {
    const { global } = this.#pooler.config;
    return {
      name,
      config,
      host: config.hosts.length === 0 ? null : config.hosts.join(','),
      port: config.port,
      dbname: config.dbname ?? name,
      user: config.user ?? null,
      poolSize: config.poolSize ?? global.defaultPoolSize,
      minPoolSize: config.minPoolSize ?? global.minPoolSize,
      reservePoolSize: config.reservePoolSize ?? global.reservePoolSize,
      serverLifetimeMs: config.serverLifetimeMs ?? global.serverLifetimeMs,
      poolMode: config.poolMode ?? null,
      loadBalanceHosts: balanceOf(config),
      maxConnections: limit.max,
      connections: limit.used,
      maxClientConnections: config.maxDbClientConnections ?? global.maxDbClientConnections,
      clients,
      paused,
      disabled,
    };
  }
}

function kindOf({ shape }: ServerPool): Replication {
  return shape.replication === null ? 'none' : replicationOf(shape.replication);
}

/** Replication connections stand with the pool that they take places of. */
function together(a: PoolRow, b: PoolRow): PoolRow {
  const sum = <T extends Record<string, number>>(one: T, other: T): T =>
    Object.fromEntries(Object.keys(one).map((key) => [key, one[key]! + other[key]!])) as T;
  return {
    ...a,
    clients: sum(a.clients, b.clients),
    servers: sum(a.servers, b.servers),
    maxWaitMs: Math.max(a.maxWaitMs, b.maxWaitMs),
  };
}

function balanceOf(config: DatabaseConfig): string | null {
  return config.hosts.length > 1 ? config.loadBalanceHosts : null;
}

function ends(conn: Conn | null): Pick<SocketRow, 'remote' | 'local' | 'tls' | 'queued'> {
  if (conn === null) return { remote: NOWHERE, local: NOWHERE, tls: '', queued: 0 };
  return { remote: conn.remote, local: conn.local, tls: conn.tls?.description ?? '', queued: conn.queued };
}

const NOWHERE = { address: 'unknown', port: 0 } as const;

function wall(moment: number): Date {
  return new Date(Clock.wallMicros(moment) / 1000);
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
