/**
 * All pools, limits and clients of the process: finds or makes the pool for a database and user, keeps the registry of
 * sessions, carries cancel requests. Implements what clients ask of the rooms above them. Opens no files, catches no
 * signals; the clock and the configuration are handed in.
 */
import { Limit, List, type Refusal } from '@sluice/core';
import { parseSecret, type ScramKeys, type Secret } from '@sluice/wire';
import type { UserFile } from '../auth/user-file.ts';
import { SeenTexts } from '../client/auto-prepared.ts';
import type { ClientError, ClientRegistry } from '../client/home.ts';
import type { Session } from '../client/side.ts';
import { type Access, type Config, type DatabaseConfig, NO_ACCESS } from '../config/index.ts';
import type { NameResolver } from '../net/resolver.ts';
import type { TlsContexts } from '../net/tls-context.ts';
import { stopServer } from '../server/cancel.ts';
import type { Server } from '../server/server.ts';
import { StatementStore } from '../server/statements.ts';
import { Classifier } from '../sql/classifier.ts';
import type { Clock } from '../telemetry/clock.ts';
import type { Log } from '../telemetry/log.ts';
import { Periods } from '../telemetry/periods.ts';
import { Traffic } from '../telemetry/traffic.ts';
import type { Caller } from './caller.ts';
import { birthOf, CancelQueue } from './cancel-queue.ts';
import { Credentials, type ProvenPassword } from './credentials.ts';
import { Emptying } from './emptying.ts';
import { describeRefusal, patienceOf, waitByItsRules } from './exhaustion.ts';
import { concernsOthers } from './others.ts';
import { type Predecessor, peerProcessId } from './peers.ts';
import { poolPolicy } from './policy.ts';
import { type PoolingContext, type PoolShape, type PoolUser, poolShape, replicationShape } from './pool-shape.ts';
import { poolingContext } from './pooling-context.ts';
import { ServerPool } from './server-pool.ts';
import { SessionTable } from './session-table.ts';
import { sessionName } from './socket-name.ts';
import { Strays } from './strays.ts';
import type { Visit } from './visit.ts';

/** What clients of one database share: its limit and its counters. */
export interface Database {
  readonly name: string;
  config: DatabaseConfig;
  readonly limit: Limit;
  readonly traffic: Traffic;
  /** Made from the '*' entry for a name that has none of its own. */
  auto: boolean;
  /** PAUSE or KILL of this database alone: its pools hand nothing out. */
  paused: boolean;
  /** DISABLE: new clients are refused. */
  disabled: boolean;
  /** Clients logged in to it. */
  clients: number;
  /** Clock milliseconds at which it was last seen in use; for autodb_idle_timeout. */
  usedAt: number;
}

/** What all pools together are doing (PAUSE, SUSPEND). */
export type PauseMode = 'active' | 'paused' | 'suspended';

/** How the process is about to end, if it is (SHUTDOWN). */
export type ShutdownMode = 'none' | 'wait for clients' | 'wait for servers';

export const SHUTTING_DOWN: ClientError = { message: 'server shutting down', sqlState: '57P01' };

export const FORCED_DISCONNECT = 'admin forced disconnect'; // What KILL_CLIENT tells the client

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
  readonly classifier = new Classifier();
  readonly seenTexts = new SeenTexts();
  readonly emptying: Emptying;
  readonly databases = new Map<string, Database>();
  readonly pools = new Map<string, ServerPool>();
  readonly userLimits = new Map<string, Limit>();
  /** pool_size by database and role: what a pool shares with the replication connections beside it. */
  readonly #sizeLimits = new Map<string, Limit>();
  readonly sessions = new SessionTable();
  /** Connections that have sent nothing yet or log in, with the clock's time of their coming. */
  readonly visitors = new List<Visit>('visitors');
  /** Those past their startup message that are no sessions. */
  readonly callers = new List<Caller>('callers');
  /** How many of them log in. */
  loggingIn = 0;
  /** Cancel requests for sessions of other processes, by the peer that they live in. */
  readonly #peerCancels = new Map<number, CancelQueue>();
  refusesSimple: boolean;
  /** The process that hands its sessions over to this one, as long as there are any. */
  predecessor: Predecessor | null = null;
  readonly strays = new Strays();
  pauseMode: PauseMode = 'active';
  /** New clients are refused; with 'wait for servers' nobody gets a server any more. */
  shutdown: ShutdownMode = 'none';
  /** Clients logged in, by user: for max_user_client_connections. */
  readonly userClients = new Map<string, number>();
  readonly periods: Periods;
  /** Open consoles, by process id: they can be cancelled like any session. */
  readonly consoles = new Map<number, { readonly cancelKey: Uint8Array; cancel(): void }>();
  /** Commands of the console, which count as traffic too. */
  readonly consoleTraffic = new Traffic();
  /** How many were given out; another process that goes on with these sessions begins there. */
  processIds = 0;
  #connectionIds = 0;

  constructor(
    config: Config,
    secrets: ReadonlyMap<string, Secret>,
    clock: Clock,
    log: Log,
    tls: TlsContexts,
    resolver: NameResolver,
  ) {
    this.config = config;
    this.credentials = new Credentials(secrets);
    this.clock = clock;
    this.log = log;
    this.statements = new StatementStore(config.global.maxPreparedStatementBytes);
    this.refusesSimple = config.global.disablePqexec;
    this.periods = new Periods(clock.now);
    const { statements } = this;
    this.context = poolingContext({ config, clock, log, tls, statements, resolver }, this.pools, () =>
      this.nextConnectionId(),
    );
    this.emptying = new Emptying(this.pools, clock, log);
    for (const name of config.databases.keys()) this.database(name);
  }

  /** Connections of clients and servers are numbered in one row, as they come. */
  nextConnectionId(): number {
    return ++this.#connectionIds;
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

  /** The database of this name, or of the '*' entry, or null. `about`: who asks for it, in the log. */
  database(name: string, about = ''): Database | null {
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
      paused: false,
      disabled: false,
      clients: 0,
      usedAt: this.clock.now,
    };
    if (database.auto) this.log.info(`registered new auto-database: ${name}`, about);
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
    return this.#addPool(database, role, poolShape(this.config, database.name, database.config, role), '');
  }

  /**
   * A pool for one replication connection: its server is opened with the client's own startup parameters and closed after
   * it, and counts as one of the ordinary pool's.
   */
  replicationPool(database: Database, user: string, id: number, params: ReadonlyMap<string, string>): ServerPool {
    const role = database.config.user ?? user;
    const own = replicationShape(poolShape(this.config, database.name, database.config, role), params);
    return this.#addPool(database, role, own, `\0replication ${id}`);
  }

  #addPool(database: Database, role: string, shape: PoolShape, suffix: string): ServerPool {
    const limits = [this.#sizeLimit(database, role), database.limit, this.#userLimit(role)];
    const pool = new ServerPool(
      this.context,
      shape,
      this.#serverUser(database, role),
      limits,
      database.traffic,
      suffix,
    );
    this.pools.set(pool.key, pool);
    if (this.pauseMode !== 'active' || database.paused) pool.pool.pause(true);
    return pool;
  }

  /** Opens min_pool_size servers for databases whose user is known beforehand (a forced user). */
  warmUp(): void {
    for (const config of this.config.databases.values()) {
      if (config.user === undefined || (config.minPoolSize ?? this.config.global.minPoolSize) === 0) continue;
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

  /** A pool takes its settings from the configuration as it is now. */
  refresh(pool: ServerPool): void {
    const database = this.databases.get(pool.database);
    if (database === undefined) return;
    if (!pool.replication) pool.setShape(poolShape(this.config, database.name, database.config, pool.user.name));
    // Who waits already waits by the new rules, too.
    waitByItsRules(pool);
    this.#sizeLimit(database, pool.user.name);
    this.#refreshCredentials(pool);
  }

  #refreshCredentials(pool: ServerPool): void {
    const database = this.databases.get(pool.shape.databaseName);
    if (database === undefined) return;
    const { secret, scramKeys } = this.#serverUser(database, pool.user.name);
    pool.user.secret = secret;
    pool.user.scramKeys = scramKeys;
  }

  nextProcessId(): number {
    const { peerId } = this.config.global;
    let id: number;
    do id = peerProcessId(peerId, ++this.processIds);
    while (id === 0 || this.sessions.has(id) || this.consoles.has(id));
    return id;
  }

  get cancelsToPeers(): Iterable<CancelQueue> {
    return this.#peerCancels.values();
  }

  /** For requests to this peer, which has no more connections than its pool_size. */
  peerCancels(id: number): CancelQueue {
    const known = this.#peerCancels.get(id);
    if (known !== undefined) return known;
    const room = () =>
      (this.config.peers.get(id)?.poolSize ?? this.config.global.defaultPoolSize) || Number.POSITIVE_INFINITY;
    const queue = new CancelQueue(room, birthOf(this.context));
    this.#peerCancels.set(id, queue);
    return queue;
  }

  // The registry of sessions.

  add(session: Session): void {
    this.restore(session);
    session.home.traffic.logins++;
  }

  /** Adds a session that has logged in elsewhere. */
  restore(session: Session): void {
    this.sessions.add(session);
    (session.home as ServerPool).clientEnters();
  }

  /** A client of this database and user is past its authentication: it counts against their limits until `clientLeaves`. */
  clientEnters(database: string, user: string): void {
    this.userClients.set(user, (this.userClients.get(user) ?? 0) + 1);
    const entry = this.databases.get(database);
    if (entry !== undefined) entry.clients++;
  }

  clientLeaves(database: string, user: string): void {
    const left = (this.userClients.get(user) ?? 1) - 1;
    if (left === 0) this.userClients.delete(user);
    else this.userClients.set(user, left);
    const entry = this.databases.get(database);
    if (entry !== undefined) entry.clients--;
  }

  refuseWork(_session: Session): ClientError | null {
    return this.shutdown === 'wait for servers' ? SHUTTING_DOWN : null;
  }

  warn(session: Session, message: string): void {
    this.log.warn(message, this.describe(session));
  }

  fault(session: Session, message: string): void {
    this.log.error(message, this.describe(session));
  }

  debug(session: Session, message: string): void {
    if (this.log.wants('DEBUG')) this.log.debug(message, this.describe(session));
  }

  sessionWaits(_session: Session): void {}

  describeRefusal(session: Session, reason: Refusal): ClientError {
    return describeRefusal(session.home as ServerPool, reason, this.clock.now, patienceOf(session));
  }

  sessionEnds(session: Session, reason: string, told: boolean): void {
    const { processId, user, database } = session.identity;
    this.sessions.delete(processId);
    (session.home as ServerPool).clientLeaves();
    this.clientLeaves(database, user);
    const { logDisconnections, logPoolerErrors } = this.config.global;
    if (logDisconnections) {
      const age = Math.floor((this.clock.now - session.connectedAt) / 1000);
      this.log.info(`closing because: ${reason} (age=${age}s)`, this.describe(session));
    }
    if (logPoolerErrors && told) this.log.warn(`pooler error: ${reason}`, this.describe(session));
  }

  report(error: Error): void {
    this.log.error(`bug: ${error.stack ?? error.message}`);
  }

  stopServer(server: Server, reason: string): void {
    stopServer(server, reason, this.config.global.cancelWaitTimeoutMs);
  }

  readonly concernsOthers: ClientRegistry['concernsOthers'] = (...about) => concernsOthers(this, ...about);

  connectionBroke(session: Session, error: Error): void {
    this.log.noise(error.message, this.describe(session));
  }

  sessionClosed(_session: Session): void {}

  serverLostByClient(_session: Session, _server: Server): void {}

  describe(session: Session): string {
    return sessionName(session);
  }

  #sizeLimit(database: Database, role: string): Limit {
    const { maxSize, reserveSize } = poolPolicy(this.config, database.config, this.config.users.get(role));
    const key = `${database.name}\0${role}`;
    const limit = this.#sizeLimits.get(key) ?? new Limit(`pool_size of ${database.name}/${role}`, 0);
    limit.max = maxSize > 0 ? maxSize + reserveSize : 0;
    this.#sizeLimits.set(key, limit);
    return limit;
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
}
