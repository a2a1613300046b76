/**
 * All pools, limits and clients of the process: finds or makes the pool for a database and user, keeps the registry of
 * sessions, carries cancel requests. Implements what clients ask of the rooms above them. Opens no files, catches no
 * signals; the clock and the configuration are handed in.
 */
import { EntryState, Limit, PoolSet, type Refusal } from '@sluice/core';
import { ParameterNames, Parameters, parseSecret, type ScramKeys, type Secret } from '@sluice/wire';
import { nodeCrypto } from '../auth/crypto.ts';
import type { UserFile } from '../auth/user-file.ts';
import type { ClientError, ClientRegistry } from '../client/home.ts';
import { type Session, SessionState } from '../client/side.ts';
import { type Access, type Config, type DatabaseConfig, NO_ACCESS, type UserConfig } from '../config/index.ts';
import type { TlsContexts } from '../net/tls-context.ts';
import { sendCancel } from '../server/cancel.ts';
import type { Server } from '../server/server.ts';
import { StatementStore } from '../server/statements.ts';
import type { Clock } from '../telemetry/clock.ts';
import type { Log } from '../telemetry/log.ts';
import { Traffic } from '../telemetry/traffic.ts';
import { Credentials, type ProvenPassword } from './credentials.ts';
import { describeRefusal } from './exhaustion.ts';
import { poolMode, poolPolicy } from './policy.ts';
import { type PoolingContext, type PoolShape, type PoolUser, ServerPool } from './server-pool.ts';

/** What clients of one database share: its limit and its counters. */
export interface Database {
  readonly name: string;
  config: DatabaseConfig;
  readonly limit: Limit;
  readonly traffic: Traffic;
  /** Made from the '*' entry for a name that has none of its own. */
  readonly auto: boolean;
}

/** When the query of a client that is gone is cancelled. The backend's key makes the later ones harmless to anybody else. */
const STOP_AFTER_MS = [0, 200, 2_000];

export class Pooler implements ClientRegistry {
  config: Config;
  /** The rules of auth_hba_file; replaced by a reload. */
  access: Access = NO_ACCESS;
  readonly credentials: Credentials;
  /** Reads auth_file again when it has changed; null where nobody opens files. */
  userFile: UserFile | null = null;
  readonly context: PoolingContext;
  readonly clock: Clock;
  readonly log: Log;
  readonly statements: StatementStore;
  readonly databases = new Map<string, Database>();
  readonly pools = new Map<string, ServerPool>();
  readonly userLimits = new Map<string, Limit>();
  readonly sessions = new Map<number, Session>();
  /** Connections that have not logged in yet. */
  loggingIn = 0;
  /** New clients are refused and those without a transaction are told to go. */
  shuttingDown = false;
  #processIds = 0;

  constructor(config: Config, secrets: ReadonlyMap<string, Secret>, clock: Clock, log: Log, tls: TlsContexts) {
    this.config = config;
    this.credentials = new Credentials(secrets);
    this.clock = clock;
    this.log = log;
    this.statements = new StatementStore();
    this.context = {
      clock,
      log,
      crypto: nodeCrypto,
      set: new PoolSet<Server>(),
      statements: this.statements,
      parameters: new Parameters(new ParameterNames(config.global.trackExtraParameters)),
      random: Math.random,
      tls,
    };
  }

  /** Secrets of the users in auth_file. */
  get secrets(): ReadonlyMap<string, Secret> {
    return this.credentials.users;
  }

  set secrets(users: ReadonlyMap<string, Secret>) {
    this.credentials.replace(users);
    for (const pool of this.pools.values()) this.#refreshCredentials(pool);
  }

  get maxPacketSize(): number {
    return this.config.global.maxPacketSize;
  }

  /** What the configuration has for a database of this name, which is not registered by asking. */
  databaseConfig(name: string): DatabaseConfig | null {
    return this.config.databases.get(name) ?? this.config.fallback ?? null;
  }

  /** The database of this name, or of the '*' entry, or null. */
  database(name: string): Database | null {
    const known = this.databases.get(name);
    if (known !== undefined) return known;
    const own = this.config.databases.get(name);
    const config = this.databaseConfig(name);
    if (config === null) return null;
    const database: Database = {
      name,
      config,
      limit: new Limit(`max_db_connections of ${name}`, config.maxDbConnections ?? this.config.global.maxDbConnections),
      traffic: new Traffic(),
      auto: own === undefined,
    };
    if (database.auto) this.log.info(`registered new auto-database: db=${name}`);
    this.databases.set(name, database);
    return database;
  }

  /** The pool of a database for a client's user; a forced user of the database takes the client's place. */
  poolFor(database: Database, user: string): ServerPool {
    return this.poolOf(database, database.config.user ?? user);
  }

  /** The pool of a database for a role on the server. */
  poolOf(database: Database, role: string): ServerPool {
    const key = `${database.name}\0${role}`;
    const known = this.pools.get(key);
    if (known !== undefined) return known;
    const pool = new ServerPool(
      this.context,
      this.#shape(database, role),
      this.#serverUser(database, role),
      [database.limit, this.#userLimit(role)],
      database.traffic,
    );
    this.pools.set(key, pool);
    return pool;
  }

  /** Opens min_pool_size servers for databases whose user is known beforehand (a forced user). */
  warmUp(): void {
    for (const config of this.config.databases.values()) {
      if (config.user === undefined) continue;
      const database = this.database(config.name);
      if (database !== null) this.poolFor(database, config.user).pool.serve();
    }
  }

  // What logins teach about users, for logging in to servers.

  learnScramKeys(user: string, keys: ScramKeys): void {
    if (this.credentials.learnScramKeys(user, keys)) this.#refreshRole(user);
  }

  learnPassword(database: string, user: string, proven: ProvenPassword): void {
    if (this.credentials.learnPassword(database, user, proven)) this.#refreshRole(user);
  }

  learnAnswer(database: string, user: string, secret: Secret | null): void {
    if (this.credentials.learnAnswer(database, user, secret)) this.#refreshRole(user);
  }

  #refreshRole(role: string): void {
    for (const pool of this.pools.values()) if (pool.user.name === role) this.#refreshCredentials(pool);
  }

  #refreshCredentials(pool: ServerPool): void {
    const database = this.databases.get(pool.shape.databaseName);
    if (database === undefined) return;
    const { secret, scramKeys } = this.#serverUser(database, pool.user.name);
    pool.user.secret = secret;
    pool.user.scramKeys = scramKeys;
  }

  nextProcessId(): number {
    do this.#processIds = (this.#processIds + 1) & 0x7fff_ffff;
    while (this.#processIds === 0 || this.sessions.has(this.#processIds));
    return this.#processIds;
  }

  /** Carries a client's cancel request to the server that runs its query; one that runs nothing is let be. */
  cancel(processId: number, key: Uint8Array, done: () => void): void {
    const session = this.sessions.get(processId);
    if (session === undefined || !this.context.crypto.timingSafeEqual(session.identity.cancelKey, key)) {
      this.log.noise('cancel request with an unknown key');
      done();
      return;
    }
    const { server } = session;
    if (server === null || session.state !== SessionState.Linked) {
      session.cancelWaiting();
      done();
      return;
    }
    server.cancels++;
    sendCancel(server.identity, this.config.global.cancelWaitTimeoutMs, () => {
      this.clock.update();
      server.cancels--;
      const { entry } = server;
      if (server.cancels === 0 && entry.state === EntryState.CancelWait)
        entry.pool.cancelsLanded(entry, server.resetOwed ? 'reset' : 'clean');
      done();
    });
  }

  // The registry of sessions.

  add(session: Session): void {
    this.sessions.set(session.identity.processId, session);
    (session.home as ServerPool).clients++;
  }

  refuseWork(_session: Session): ClientError | null {
    return this.shuttingDown ? { message: 'server shutting down', sqlState: '57P01' } : null;
  }

  sessionWaits(_session: Session): void {}

  describeRefusal(session: Session, reason: Refusal): ClientError {
    return describeRefusal(session.home as ServerPool, reason, this.clock.now);
  }

  sessionEnds(session: Session, reason: string): void {
    this.sessions.delete(session.identity.processId);
    (session.home as ServerPool).clients--;
    if (this.config.global.logDisconnections) {
      const age = Math.floor((this.clock.now - session.connectedAt) / 1000);
      this.log.info(`closing because: ${reason} (age=${age}s)`, this.describe(session));
    }
  }

  report(error: Error): void {
    this.log.error(`bug: ${error.stack ?? error.message}`);
  }

  /** A cancel request that arrives before the query has begun does nothing: so there are three, at growing distance. */
  stopQuery(server: Server): void {
    for (const delay of STOP_AFTER_MS)
      setTimeout(() => sendCancel(server.identity, this.config.global.cancelWaitTimeoutMs, () => {}), delay).unref();
  }

  sessionClosed(_session: Session): void {}

  serverLostByClient(_session: Session, _server: Server): void {}

  describe(session: Session): string {
    const { id, database, user } = session.identity;
    const { address, port } = session.conn.remote;
    return `C-0x${id.toString(16)}: ${database}/${user}@${address}:${port}`;
  }

  #userLimit(role: string): Limit {
    let limit = this.userLimits.get(role);
    if (limit === undefined) {
      const max = this.config.users.get(role)?.maxUserConnections ?? this.config.global.maxUserConnections;
      limit = new Limit(`max_user_connections of ${role}`, max);
      this.userLimits.set(role, limit);
    }
    return limit;
  }

  #serverUser(database: Database, role: string): PoolUser {
    const { user, password } = database.config;
    const own = user === role && password !== undefined ? parseSecret(password) : null;
    const secret = own ?? this.credentials.secretFor(database.name, role);
    return { name: role, secret, scramKeys: this.credentials.keysFor(role, secret) };
  }

  /** A pool goes by the [users] entry of its role: with a forced user, not by that of whoever came first. */
  #shape(database: Database, role: string): PoolShape {
    const { config } = this;
    const { global } = config;
    const userConfig: UserConfig | undefined = config.users.get(role);
    return {
      database: database.config,
      databaseName: database.name,
      policy: poolPolicy(config, database.config, userConfig),
      mode: poolMode(config, database.config, userConfig),
      maxPrepared: global.maxPreparedStatements,
      resetAlways: global.serverResetQueryAlways,
      resetQuery: global.serverResetQuery,
      checkQuery: global.serverCheckQuery,
      connectQuery: database.config.connectQuery ?? '',
      connectTimeoutMs: global.serverConnectTimeoutMs,
      queryWaitTimeoutMs: global.queryWaitTimeoutMs,
      unixSocketDir: global.unixSocketDir,
      logConnections: global.logConnections,
      logDisconnections: global.logDisconnections,
    };
  }
}
