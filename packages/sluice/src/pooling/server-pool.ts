/**
 * The servers of one database and user: implements the core's port (dial, check, reset, close) and what clients see of
 * it. Owns the credentials for the server side and what a first server told about itself. Which pools there are is
 * the pooler's business.
 */
import { type CloseReason, type Entry, EntryState, type Limit, Pool, type PoolPort } from '@sluice/core';
import { type ErrorFields, query } from '@sluice/wire';
import { type ClientHome, Keeping, type PoolingMode } from '../client/home.ts';
import { setSocketOptions } from '../net/socket-options.ts';
import { timeLimit } from '../net/time-limit.ts';
import { type ServerWatcher, Tx } from '../server/holder.ts';
import { ServerOpening } from '../server/open.ts';
import { Server } from '../server/server.ts';
import { AS_AT_LOGIN } from '../server/session-settings.ts';
import type { Traffic } from '../telemetry/traffic.ts';
import { birthOf, CancelQueue } from './cancel-queue.ts';
import { whyClosed } from './close-texts.ts';
import { isHopeless, logFailure, logGivenUp, logsOpening, logUpkeep } from './dial-failures.ts';
import { longestWaiting } from './exhaustion.ts';
import { HostTurn } from './host-turn.ts';
import { type PoolingContext, type PoolShape, type PoolUser, startupOf, type Welcome } from './pool-shape.ts';
import { socketName } from './socket-name.ts';

/** What server_check_query says for a query of no text: the cheapest that PostgreSQL answers. */
const EMPTY_QUERY = '<empty>';

const UNHURRIED = 'SET statement_timeout = 0';
const DISCARD_ALL = 'DISCARD ALL';

/** Makes a server of a connection that another process has opened. */
export type Arrival = (entry: Entry<Server>) => Server;

export class ServerPool implements ClientHome, PoolPort<Server>, ServerWatcher {
  readonly context: PoolingContext;
  readonly pool: Pool<Server>;
  readonly traffic: Traffic;
  readonly user: PoolUser;
  shape: PoolShape;
  welcome: Welcome | null = null;
  /** Cancel requests for its servers; with those, there are twice pool_size connections at most. */
  readonly cancels: CancelQueue;
  readonly database: string;
  /** Clock milliseconds at which it was last seen in use; for pool_idle_timeout. */
  usedAt: number;
  /** Its place in the pooler's map. */
  readonly key: string;
  #clients = 0;
  readonly #openings = new Map<Entry<Server>, ServerOpening>();
  readonly #hosts = new HostTurn();
  #reserveDials = 0;
  /** Connections of another process that are about to get their places. */
  readonly #arrivals: Arrival[] = [];
  #windingDown = false;
  #shutBecause: string | null = null;

  /** `keySuffix` tells apart pools of one database and user. */
  constructor(
    context: PoolingContext,
    shape: PoolShape,
    user: PoolUser,
    limits: readonly Limit[],
    traffic: Traffic,
    keySuffix = '',
  ) {
    this.context = context;
    this.shape = shape;
    this.user = user;
    this.traffic = traffic;
    this.database = shape.databaseName;
    this.key = `${shape.databaseName}\0${user.name}${keySuffix}`;
    const { clock, set, random } = context;
    this.usedAt = clock.now;
    this.cancels = new CancelQueue(() => roomForCancels(this.pool), birthOf(context));
    this.pool = new Pool<Server>({
      name: `${shape.databaseName}/${user.name}`,
      policy: this.#policy(),
      port: this,
      env: { now: () => clock.now, random },
      limits,
      set,
    });
  }

  get name(): string {
    return this.pool.name;
  }

  get answerMs(): number {
    return this.context.serverAnswerMs;
  }

  get maxPacketSize(): number {
    return this.context.maxPacketSize;
  }

  get replication(): boolean {
    return this.shape.replication !== null;
  }

  get mode(): PoolingMode {
    return this.shape.mode;
  }

  /** Sessions that belong here. */
  get clients(): number {
    return this.#clients;
  }

  clientEnters(): void {
    if (this.#clients++ === 0) this.#minimumMayChange();
  }

  clientLeaves(): void {
    if (--this.#clients === 0) this.#minimumMayChange();
  }

  /** Where there is none, nothing depends on whether anybody is connected. */
  #minimumMayChange(): void {
    if (this.shape.policy.minSize > 0) this.pool.setPolicy(this.#policy());
  }

  /** New settings (RELOAD, SET). Servers that were used by other rules of what clients may leave there are replaced. */
  setShape(shape: PoolShape): void {
    const { mode, keeping } = this.shape;
    this.shape = shape;
    this.pool.setPolicy(this.#policy());
    const otherRules = shape.keeping !== keeping && Math.max(shape.keeping, keeping) >= Keeping.Follow;
    if (shape.mode !== mode || otherRules) this.pool.retireAll('retired');
  }

  /** The minimum is dialled for a forced user, and else only while somebody is connected; what is there is kept, as in PgBouncer. */
  #policy(): PoolShape['policy'] {
    const { policy, database } = this.shape;
    const fillMin = database.user !== undefined || this.#clients > 0;
    const minSize = this.#windingDown ? 0 : policy.minSize;
    // Where one host comes before the others, two dials at once could not both know whether it answers.
    const inOrder = database.loadBalanceHosts === 'disable' && database.hosts.length > 1;
    return { ...policy, minSize, fillMin, maxDials: inOrder ? 1 : policy.maxDials };
  }

  get maxPrepared(): number {
    return this.shape.mode === 'session' ? 0 : this.shape.maxPrepared;
  }

  get prepareThreshold(): number {
    return this.maxPrepared === 0 ? 0 : this.shape.prepareThreshold;
  }

  get keeping(): Keeping {
    return this.shape.keeping;
  }

  get resetAlways(): boolean {
    return this.shape.resetAlways;
  }

  waitDeadline(now: number, user = ''): number {
    const { queryWaitTimeoutMs, userWaitTimeouts } = this.shape;
    const timeoutMs = (userWaitTimeouts.size > 0 ? userWaitTimeouts.get(user) : undefined) ?? queryWaitTimeoutMs;
    return timeoutMs > 0 ? now + timeoutMs : Number.POSITIVE_INFINITY;
  }

  // Take-over: connections come from another process, or go to one.

  /** False: there is no place for one more server. */
  arrive(welcome: Welcome, arrival: Arrival): boolean {
    const { pool } = this;
    const { maxSize } = pool.policy;
    if ((maxSize > 0 && pool.size >= maxSize) || pool.limits.some(({ full }) => full)) return false;
    this.welcome ??= welcome;
    this.#arrivals.push(arrival);
    pool.open();
    return true;
  }

  /** Do servers at this place belong here? */
  reaches(host: string, port: number): boolean {
    const { hosts, port: own } = this.shape.database;
    return port === own && (hosts.length === 0 ? host === this.shape.unixSocketDir : hosts.includes(host));
  }

  /** From now on servers are opened for those who wait only. */
  winDown(): void {
    this.#windingDown = true;
    this.pool.setPolicy(this.#policy());
  }

  /** The end of it: its servers are closed for this reason, those in use as they come back. */
  shut(reason: string): void {
    this.#shutBecause = reason;
    this.pool.shut();
  }

  // The core's port.

  open(entry: Entry<Server>): void {
    const { reserveDials } = this.pool.stats;
    if (reserveDials > this.#reserveDials)
      this.context.log.warn('taking connection from reserve_pool', longestWaiting(this));
    this.#reserveDials = reserveDials;
    const arrival = this.#arrivals.shift();
    if (arrival !== undefined) {
      this.#arrived(entry, arrival(entry));
      return;
    }
    this.#connect(entry).then(
      (server) => this.#connected(entry, server, this.shape.connectQuery),
      (error: Error) => this.#connectFailed(entry, error),
    );
  }

  check(entry: Entry<Server>): void {
    const { checkQuery } = this.shape;
    this.#upkeep(entry, checkQuery === EMPTY_QUERY ? '' : checkQuery, (ok) => this.pool.checked(entry, ok));
  }

  reset(entry: Entry<Server>): void {
    const server = entry.value!;
    const { mode, resetAlways, resetQuery, connectQuery, keeping } = this.shape;
    const usual = mode === 'session' || resetAlways ? resetQuery : '';
    // Who leaves a transaction open may leave what its ROLLBACK does not undo (a lock of the session), where nobody has looked.
    const abandoned = server.status !== Tx.Idle;
    const unseen = abandoned && keeping < Keeping.Follow;
    const owed = server.discardOwed || unseen;
    server.discardOwed = false;
    const done = (ok: boolean) => this.pool.resetDone(entry, ok);
    const step =
      (sql: string, next: (ok: boolean) => void, mayFail = false) =>
      (ok: boolean) =>
        ok ? this.#upkeep(entry, sql, next, mayFail) : done(false);
    // What connect_query had set goes as well, and is to hold for whoever comes next.
    const again = connectQuery === '' ? done : step(connectQuery, done, true);
    const last = unseen && usual !== '' && usual !== DISCARD_ALL ? step(usual, again) : again;
    // A very short statement_timeout can strike between its reset and the end of DISCARD ALL, and then hits the next query.
    const thoroughly = step(UNHURRIED, step(DISCARD_ALL, last));
    // After any other query nobody knows which of the settings are left that were followed to here.
    const after = (ok: boolean) => (usual === '' || server.settings.equals(AS_AT_LOGIN) ? done(ok) : thoroughly(ok));
    const clean = owed ? thoroughly : (ok: boolean) => (ok ? this.#upkeep(entry, usual || null, after) : done(false));
    if (abandoned) this.#upkeep(entry, 'ROLLBACK', clean);
    else clean(true);
  }

  close(entry: Entry<Server>, reason: CloseReason): void {
    const underWay = this.#openings.get(entry);
    const why = whyClosed(entry, reason, this.#shutBecause);
    if (underWay !== undefined) underWay.abort(why);
    else if (this.replication && reason === 'max uses') entry.value?.close('replication client was closed');
    else entry.value?.close(why);
  }

  // The servers' watcher.

  serverClosed(server: Server, reason: string): void {
    this.context.clock.update();
    if (this.shape.logDisconnections) this.log(`closing because: ${reason} (age=${this.#age(server)}s)`, server);
    if (server.entry.state === EntryState.Closing) this.pool.closed(server.entry);
    else if (server.entry.state === EntryState.Opening) this.pool.openFailed(server.entry, new Error(reason));
    else this.pool.lost(server.entry);
  }

  connectionBroke(server: Server, error: Error): void {
    this.context.log.warn(error.message, this.describe(server));
  }

  failedItself(server: Server, error: Error): void {
    this.context.log.error(`bug: ${error.stack ?? error.message}`, this.describe(server));
  }

  unaskedMessage(server: Server, severity: string, fields: ErrorFields): void {
    const { log } = this.context;
    const about = this.describe(server);
    if (server.entry.state === EntryState.Idle)
      log.warn(`got packet '${severity[0]}' from server when not linked`, about);
    log.warn(`server ${severity.toLowerCase()}: ${fields.message}`, about);
    // PostgreSQL is about to close it: nobody may get it in the moment that is left.
    if (fields.severity === 'FATAL' || fields.severity === 'PANIC') this.pool.retire(server.entry, 'lost');
  }

  describe(server: Server): string {
    return socketName('S', server.identity.id, this.name, server.conn.remote);
  }

  log(message: string, server: Server): void {
    this.context.log.info(message, this.describe(server));
  }

  #age(server: Server): number {
    return Math.floor((this.context.clock.now - server.connectedAt) / 1000);
  }

  async #connect(entry: Entry<Server>): Promise<Server> {
    const { shape, user, context } = this;
    const id = context.nextConnectionId();
    const host = this.#hosts.next(shape);
    const { port, sslnegotiation } = shape.database;
    const direct = sslnegotiation === 'direct';
    const { names } = context;
    const [timeoutMs, socketBuffer] = [shape.connectTimeoutMs, context.tcp.tcpSocketBuffer];
    const target = { id, host, port, names, timeoutMs, socketBuffer, tls: context.tls.server, direct };
    const login = () => ({
      credentials: { user: user.name, secret: user.secret, scramKeys: user.scramKeys },
      database: shape.database.dbname ?? shape.databaseName,
      startup: startupOf(this.shape),
      parameters: context.parameters,
      crypto: context.crypto,
    });
    const opening = new ServerOpening(target, login, logsOpening(this, id));
    this.#openings.set(entry, opening);
    const { conn, loggedIn, tls } = await opening.opened;
    setSocketOptions(conn, context.tcp);
    this.welcome = { reported: loggedIn.reported, parameters: loggedIn.parameters };
    const identity = {
      id,
      user: user.name,
      processId: loggedIn.processId,
      cancelKey: loggedIn.cancelKey,
      host,
      port,
      address: conn.remote.unix ? null : conn.remote.address,
      tls,
    };
    return new Server(conn, entry, identity, loggedIn.parameters, this, context.statements, context.clock.update());
  }

  /** A host's name has lost this address: servers there are replaced as they come free, as PgBouncer has it. */
  addressGone(host: string, address: string): void {
    for (const entry of [...this.pool.entries()]) {
      const identity = entry.value?.identity;
      if (identity?.host === host && identity.address === address) this.pool.retire(entry, 'retired');
    }
  }

  #connected(entry: Entry<Server>, server: Server, first: string): void {
    this.#openings.delete(entry);
    this.context.clock.update();
    entry.value = server;
    if (entry.state !== EntryState.Opening) server.close('connection no longer needed');
    else if (first === '') this.pool.opened(entry);
    else {
      // An error is logged and no more, as in PgBouncer.
      const done = (ok: boolean) => (ok ? this.pool.opened(entry) : server.close('connect query failed'));
      this.#upkeep(entry, first, done, true);
    }
  }

  /** The names of statements that the other process has prepared there are not known here. */
  #arrived(entry: Entry<Server>, server: Server): void {
    entry.value = server;
    this.#upkeep(entry, 'DEALLOCATE ALL', (ok) => {
      if (!ok) return server.close('login failed');
      this.pool.opened(entry);
      entry.expiresAt -= this.context.clock.now - server.connectedAt;
    });
  }

  #connectFailed(entry: Entry<Server>, error: Error): void {
    const opening = this.#openings.get(entry) ?? null;
    this.#openings.delete(entry);
    this.context.clock.update();
    if (entry.state === EntryState.Closing) {
      logGivenUp(this, opening, entry.createdAt);
      this.pool.closed(entry);
      return;
    }
    logFailure(this, opening, entry.createdAt, error);
    this.#hosts.failed();
    const hopeless = isHopeless(error);
    this.pool.openFailed(entry, error);
    if (hopeless && !this.#hasUsable()) this.pool.refuseAll('open failed');
  }

  /** Is there a server that those who wait may get? One that is condemned is none. */
  #hasUsable(): boolean {
    for (const { state, retiring } of this.pool.entries())
      if (state !== EntryState.Opening && state !== EntryState.Closing && retiring === null) return true;
    return false;
  }

  /** Runs a statement, or none, on a server that nobody holds; it must leave the server idle and clean, in time. */
  #upkeep(entry: Entry<Server>, sql: string | null, done: (ok: boolean) => void, mayFail = false): void {
    const server = entry.value!;
    if (sql === null) {
      done(server.status === Tx.Idle && server.settled);
      return;
    }
    const late = () => server.close(`no answer to "${sql}" within ${this.answerMs / 1000} s`);
    const timer = timeLimit(this.answerMs, late);
    server.runInternal(query(sql), (error) => {
      clearTimeout(timer);
      this.context.clock.update();
      if (server.closedBecause !== null) return; // serverClosed tells the pool
      if (error !== null) logUpkeep(this, server, sql, error, mayFail);
      done((mayFail || error === null) && server.status === Tx.Idle && server.settled);
    });
  }
}

function roomForCancels({ policy, size }: Pool<Server>): number {
  return policy.maxSize > 0 ? 2 * policy.maxSize - size : Number.POSITIVE_INFINITY;
}
