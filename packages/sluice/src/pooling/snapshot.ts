/**
 * The pooler as numbers, at one moment: what the console, metrics and the dashboard show. The one place that walks live
 * objects; each list is made when it is asked for. Changes nothing.
 */
import { EntryState } from '@sluice/core';
import { SessionState } from '../client/side.ts';
import { CONSOLE_DATABASE, CONSOLE_USER, type Config, type DatabaseConfig } from '../config/index.ts';
import type { NameRow, ZoneRow } from '../net/name-cache.ts';
import { addTraffic, NO_TRAFFIC, type TrafficCounts } from '../telemetry/traffic.ts';
import type { CancelQueue } from './cancel-queue.ts';
import type { Database, Pooler } from './pooler.ts';
import type { ServerPool } from './server-pool.ts';
import { callerRow, carriageRow, isUsed, type SocketRow, serverRow, sessionRow, wall } from './socket-rows.ts';

export interface PoolRow {
  database: string;
  user: string;
  clients: { active: number; waiting: number };
  servers: { active: number; beingCanceled: number; idle: number; used: number; tested: number; login: number };
  cancels: CancelCounts;
  /** Milliseconds that the oldest waiter has waited. */
  maxWaitMs: number;
  mode: string;
  loadBalanceHosts: string | null;
}

/** Cancel requests: whose client waits, and the connections that carry them. */
interface CancelCounts {
  /** In line, or their connection is being made. */
  waiting: number;
  opening: number;
  active: number;
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

  /** By peer. */
  peerPools(): { peerId: number; cancels: CancelCounts }[] {
    return [...this.#pooler.config.peers.keys()].map((peerId) => {
      return { peerId, cancels: cancelCounts(this.#pooler.peerCancels(peerId)) };
    });
  }

  /** Sessions, those who wait for the first server of their pool, and those with a cancel request. */
  clients(): SocketRow[] {
    const rows = [...this.#pooler.sessions.values()].map((session) => sessionRow(session, this.#now));
    for (const caller of this.#pooler.callers) if (caller.state !== 'login') rows.push(callerRow(caller, this.#now));
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
        rows.push({
          client: sessionRow(session, this.#now),
          serverId,
          remotePid,
          what,
          statement,
          since: wall(since),
          ageMs,
        });
      }
    }
    return rows.sort((a, b) => b.ageMs - a.ageMs);
  }

  /** Those who log in. */
  logins(): SocketRow[] {
    return [...this.#pooler.callers]
      .filter(({ state }) => state === 'login')
      .map((caller) => callerRow(caller, this.#now));
  }

  servers(): SocketRow[] {
    const rows = this.#pools().flatMap((pool) => {
      const own = [...pool.pool.entries()].map((entry) => serverRow(pool, entry, this.#now));
      const carriages = [...pool.cancels.carriages].map((each) => carriageRow(each, pool));
      return [...own.filter((row) => row.state !== 'closing'), ...carriages];
    });
    const peers = [...this.#pooler.config.peers.keys()].map((id) => this.#pooler.peerCancels(id));
    for (const { carriages } of peers) for (const each of carriages) rows.push(carriageRow(each, null));
    // A Unix socket has no port at this end: PgBouncer shows its own.
    const { listenPort: port } = this.#pooler.config.global;
    return rows.map((row) => (row.local.address === 'unix' ? { ...row, local: { ...row.local, port } } : row));
  }

  databases(): DatabaseRow[] {
    const rows = [...this.#pooler.databases.values()].map((database) => this.#database(database));
    return rows.sort((a, b) => compare(a.name, b.name));
  }

  users(): UserRow[] {
    const { config, secrets, userLimits, userClients } = this.#pooler;
    const known = [...secrets.keys(), ...config.users.keys(), ...userLimits.keys(), ...userClients.keys()];
    // Those that databases name are there before anybody has come.
    const named = [...config.databases.values()].flatMap(({ user, authUser }) => [user ?? '', authUser ?? '']);
    const names = new Set([CONSOLE_USER, ...known, ...named.filter((name) => name !== '')]);
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
    const { config, sessions, pools, databases, callers } = this.#pooler;
    return {
      databases: databases.size,
      users: this.users().length,
      peers: config.peers.size,
      pools: pools.size,
      clients: sessions.size + callers.length,
      logins: [...callers].filter(({ state }) => state === 'login').length,
      servers: [...pools.values()].reduce((sum, { pool, cancels }) => sum + pool.size + cancels.carriages.size, 0),
    };
  }

  #pools(): ServerPool[] {
    return [...this.#pooler.pools.values()].sort(
      (a, b) => compare(a.database, b.database) || compare(a.user.name, b.user.name),
    );
  }

  #pool(home: ServerPool, waitingSessions: number): PoolRow {
    const { pool, shape } = home;
    const used = [...pool.lists[EntryState.Idle]!].filter((entry) => isUsed(home, entry, this.#now)).length;
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
      cancels: cancelCounts(home.cancels),
      maxWaitMs: oldest === null ? 0 : Math.max(0, this.#now - oldest.since),
      mode: shape.mode,
      loadBalanceHosts: balanceOf(shape.database),
    };
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

function cancelCounts({ waiting, carriages }: CancelQueue): CancelCounts {
  const active = [...carriages].filter(({ state }) => state === 'active_cancel').length;
  const opening = carriages.size - active;
  return { waiting: waiting + opening, opening, active };
}

/** Replication connections stand with the pool that they take places of. */
function together(a: PoolRow, b: PoolRow): PoolRow {
  const sum = <T extends { [K in keyof T]: number }>(one: T, other: T): T =>
    Object.fromEntries(Object.entries<number>(one).map(([key, count]) => [key, count + other[key as keyof T]])) as T;
  return {
    ...a,
    clients: sum(a.clients, b.clients),
    servers: sum(a.servers, b.servers),
    cancels: sum(a.cancels, b.cancels),
    maxWaitMs: Math.max(a.maxWaitMs, b.maxWaitMs),
  };
}

function balanceOf(config: DatabaseConfig): string | null {
  return config.hosts.length > 1 ? config.loadBalanceHosts : null;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
