/**
 * The login desk: who may come in, how they prove who they are, which pool they get, what they are greeted with. The
 * configured rules, on top of the pooler; the exchange itself is client/login.ts and auth/.
 */
import type { Parameters as ClientParameters } from '@sluice/wire';
import type { ClientError } from '../client/home.ts';
import { type Greeting, type LoginDesk, LoginRefused, NOT_SETTINGS, type StartupRequest } from '../client/login.ts';
import { ClientSession } from '../client/session.ts';
import { CONSOLE_DATABASE, CONSOLE_USER } from '../config/index.ts';
import type { Conn } from '../net/conn.ts';
import { ConnectionEnded, type PacketReader } from '../net/packet-reader.ts';
import { peerUid } from '../net/peer-cred.ts';
import type { ClientTls } from '../net/tls-context.ts';
import { AS_AT_LOGIN, SessionSettings } from '../server/session-settings.ts';
import { carryCancel } from './cancels.ts';
import { describeRefusal } from './exhaustion.ts';
import { Gate } from './gate.ts';
import { PEER_SESSIONS, withFullTtl } from './peers.ts';
import type { Welcome } from './pool-shape.ts';
import { type Database, type Pooler, SHUTTING_DOWN } from './pooler.ts';
import type { ServerPool } from './server-pool.ts';
import { describeVisitor, isLate, withHost } from './visitor.ts';

/** Length of a cancel key, by minor protocol version: 3.0 has room for four bytes only. */
const CANCEL_KEY_BYTES = { old: 4, long: 32 } as const;

/** Consoles that may log in beside max_client_conn: an operator must get in when the pooler is full. */
const CONSOLE_SPARE = 20;

/** Who may log in to the console over the Unix socket without a password, when the process is the daemon's own user's. */

/** What a console may do: everything, or only look. */
export type ConsoleAccess = 'admin' | 'stats';

/** A client of the console. */
export interface ConsoleClient {
  readonly id: number;
  readonly user: string;
  readonly access: ConsoleAccess;
  /** Let in by the Unix socket's credentials. */
  readonly own: boolean;
  readonly applicationName: string;
  /** Its connection is over. */
  left(reason: string): void;
}

/** The console, as the login desk sees it. */
export interface ConsoleDoor {
  /** What a user may do in the console; null: nothing. */
  access(user: string): ConsoleAccess | null;
  /** The parameters that a console's client is greeted with. */
  readonly reported: ReadonlyMap<string, string>;
  enter(conn: Conn, client: ConsoleClient, rest: Buffer): void;
  cancel(): void;
}

interface Login {
  readonly id: number;
  /** Counted against the limits on clients of a database and of a user; the console is not. */
  readonly database: string | null;
  /** The user that the client is now: auth_type any and auth_query may give another name than the client does. */
  readonly user: string;
  /** Null: the console. */
  readonly pool: ServerPool | null;
  readonly access: ConsoleAccess;
  readonly own: boolean;
}

export class PoolerDesk implements LoginDesk {
  readonly #pooler: Pooler;
  readonly #gate: Gate;
  readonly #logins = new WeakMap<Conn, Login>();
  /** Connections past the startup message that are not sessions yet, with their numbers; counted against max_client_conn. */
  readonly #admitted = new WeakMap<Conn, number>();
  /** Set by whoever has a console to offer. */
  console: ConsoleDoor | null = null;

  constructor(pooler: Pooler) {
    this.#pooler = pooler;
    this.#gate = new Gate(pooler);
  }

  get loginTimeoutMs(): number {
    return this.#pooler.config.global.clientLoginTimeoutMs;
  }

  get clientTls(): ClientTls {
    return this.#pooler.context.tls.client;
  }

  admit(request: StartupRequest, conn: Conn): ClientError | null {
    const pooler = this.#pooler;
    const { global } = pooler.config;
    const forConsole = request.database === CONSOLE_DATABASE;
    if (!forConsole && isLate(pooler, conn)) return SHUTTING_DOWN;
    const clients = pooler.sessions.size + pooler.consoles.size + pooler.loggingIn;
    const most = global.peerId > 0 ? Math.min(global.maxClientConn, PEER_SESSIONS / 2) : global.maxClientConn;
    if (clients >= most + (forConsole ? CONSOLE_SPARE : 0))
      return {
        message: 'no more connections allowed (max_client_conn)',
        sqlState: '53300',
        detail: `${clients} clients are connected, and max_client_conn is ${most}.`,
        hint: 'Close connections that are not needed, or raise max_client_conn.',
      };
    const refused = this.#refusedParameter(request);
    if (refused === null) {
      pooler.loggingIn++;
      this.#admitted.set(conn, pooler.nextConnectionId());
    }
    return refused;
  }

  /** Names a client that is no session yet, in the log. */
  #describe(request: StartupRequest | null, conn: Conn): string {
    const id = this.#admitted.get(conn) ?? this.#pooler.nextConnectionId();
    return describeVisitor(id, request, conn);
  }

  /** A connection that was admitted is a session now, or gone. */
  #leaves(conn: Conn): void {
    if (this.#admitted.delete(conn)) this.#pooler.loggingIn--;
  }

  async authenticate(request: StartupRequest, conn: Conn, reader: PacketReader): Promise<void> {
    const pooler = this.#pooler;
    const id = this.#admitted.get(conn)!;
    if (request.database === CONSOLE_DATABASE && this.console !== null) {
      this.#logins.set(conn, { id, database: null, pool: null, ...(await this.#consoleLogin(request, conn, reader)) });
      return;
    }
    const about = this.#describe(request, conn);
    const user = await this.#gate.examine({ request, conn, reader, about });
    // Not before: names that somebody makes up register no databases.
    const database = pooler.database(request.database);
    if (database === null) {
      const text = `login failed: db=${request.database} user=${request.user}`;
      if (pooler.config.global.logConnections) pooler.log.info(text, about);
      throw new LoginRefused({
        message: `no such database: ${request.database}`,
        sqlState: '3D000',
        hint: 'Add it to [databases], or a "*" entry for all names.',
      });
    }
    this.#checkDatabase(database, user);
    if (conn.closed) throw new ConnectionEnded(null);
    pooler.clientEnters(database.name, user);
    const pool =
      request.replication !== 'none'
        ? pooler.replicationPool(database, user, id, request.params)
        : pooler.poolFor(database, user);
    this.#logins.set(conn, {
      id,
      database: database.name,
      user,
      pool,
      access: 'stats',
      own: false,
    });
  }

  /** The daemon's own user comes in over the Unix socket as `pgbouncer`; everybody else proves who they are. */
  async #consoleLogin(
    request: StartupRequest,
    conn: Conn,
    reader: PacketReader,
  ): Promise<Pick<Login, 'user' | 'access' | 'own'>> {
    const { log, config } = this.#pooler;
    const about = this.#describe(request, conn);
    if (request.user === CONSOLE_USER && conn.remote.unix && peerUid(conn) === process.getuid?.()) {
      if (config.global.logConnections) log.info('pgbouncer access from unix socket', about);
      return { user: request.user, access: 'admin', own: true };
    }
    const user = await this.#gate.examine({ request, conn, reader, about });
    // Under auth_type any everybody may look, and admin_users may do everything (as PgBouncer does it; its manual says more).
    const access = this.console!.access(user) ?? (config.global.authType === 'any' ? 'stats' : null);
    if (access === 'stats') {
      this.#checkUser(user);
      this.#checkDatabaseLimit(CONSOLE_DATABASE, this.#pooler.consoles.size, undefined);
    }
    if (access === null)
      throw new LoginRefused({
        message: 'not allowed',
        sqlState: '08P01',
        hint: 'The console is for admin_users and stats_users.',
      });
    return { user, access, own: false };
  }

  /** DISABLE, and the limits on clients of one database and of one user. */
  #checkDatabase(database: Database, user: string): void {
    if (database.disabled)
      throw new LoginRefused({ message: `database "${database.name}" is disabled`, sqlState: '08P01' });
    this.#checkDatabaseLimit(database.name, database.clients, database.config.maxDbClientConnections);
    this.#checkUser(user);
  }

  #checkDatabaseLimit(name: string, clients: number, own: number | undefined): void {
    const limit = own ?? this.#pooler.config.global.maxDbClientConnections;
    if (limit === 0 || clients < limit) return;
    throw new LoginRefused({
      message: 'client connections exceeded (max_db_client_connections)',
      sqlState: '53300',
      detail: `${clients} clients are connected to ${name}, and max_db_client_connections is ${limit}.`,
    });
  }

  #checkUser(user: string): void {
    const { config, userClients } = this.#pooler;
    const perUser = config.users.get(user)?.maxUserClientConnections ?? config.global.maxUserClientConnections;
    if (perUser > 0 && (userClients.get(user) ?? 0) >= perUser)
      throw new LoginRefused({
        message: 'client connections exceeded (max_user_client_connections)',
        sqlState: '53300',
        detail: `${userClients.get(user)} clients are connected as ${user}, and max_user_client_connections is ${perUser}.`,
      });
  }

  async greet(
    request: StartupRequest,
    conn: Conn,
    timeoutMs: number,
    onGone: (listener: () => void) => void,
  ): Promise<Greeting> {
    const pooler = this.#pooler;
    const { pool } = this.#logins.get(conn)!;
    const keyBytes = request.minor >= 2 ? CANCEL_KEY_BYTES.long : CANCEL_KEY_BYTES.old;
    const identity = () => ({
      processId: pooler.nextProcessId(),
      cancelKey: withFullTtl(pooler.context.crypto.randomBytes(keyBytes)),
    });
    const { queryTimeoutMs, loginNotifyMessage: notice, applicationNameAddHost } = pooler.config.global;
    if (pool === null)
      return { reported: this.console!.reported, parameters: pooler.context.parameters, notice, ...identity() };
    const { now } = pooler.clock;
    const after = (ms: number) => (ms > 0 ? now + ms : Number.POSITIVE_INFINITY);
    const deadline = Math.min(after(timeoutMs), after(queryTimeoutMs), pool.waitDeadline(now, request.user));
    let welcome: Welcome;
    try {
      const waiting = pool.greet(deadline);
      // Who leaves gives up the place in the queue.
      onGone(waiting.abort);
      welcome = await waiting.promise;
    } catch (error) {
      if (conn.closed) throw new ConnectionEnded(null);
      const reason = (error as Error).message as Parameters<typeof describeRefusal>[1];
      // Whichever bound was the one is named; the rest of what is to be said is the same.
      const setting = deadline === after(queryTimeoutMs) ? 'query_timeout' : 'query_wait_timeout';
      throw new LoginRefused(describeRefusal(pool, reason, pooler.clock.update(), { setting, ms: deadline - now }));
    }
    // The rules may have changed since it was let in to log in.
    const refusal = this.#refusedParameter(request, welcome.parameters);
    if (refusal !== null) throw new LoginRefused(refusal);
    let { parameters } = welcome;
    if (pool.replication) return { reported: welcome.reported, parameters, ...identity() };
    const asked = new Map<string, string>();
    const beyond = new Map<string, string>();
    for (const [name, value] of request.params) {
      const isReported = parameters.get(name) !== null;
      if (isReported) parameters = parameters.asking(parameters.names.indexOf(name), value);
      if (!this.#follows || NOT_SETTINGS.has(name) || (!isReported && this.#isIgnored(request, name))) continue;
      asked.set(name.toLowerCase(), value);
      if (!isReported) beyond.set(name.toLowerCase(), value);
    }
    const settings = beyond.size === 0 ? AS_AT_LOGIN : new SessionSettings(beyond);
    if (applicationNameAddHost) {
      parameters = withHost(parameters, conn);
      asked.set('application_name', parameters.get('application_name')!);
    }
    const base = asked.size === 0 ? AS_AT_LOGIN : new SessionSettings(asked);
    return { reported: welcome.reported, parameters, settings, base, notice, ...identity() };
  }

  enter(request: StartupRequest, greeting: Greeting, conn: Conn, rest: Buffer): void {
    const pooler = this.#pooler;
    const login = this.#logins.get(conn)!;
    const { id, pool, user } = login;
    this.#logins.delete(conn);
    this.#leaves(conn);
    pooler.clock.update();
    if (pool === null) {
      this.#enterConsole(login, request, greeting, conn, rest);
      return;
    }
    const session = new ClientSession(
      conn,
      {
        id,
        user,
        database: request.database,
        processId: greeting.processId,
        cancelKey: greeting.cancelKey,
      },
      pool,
      pooler,
      greeting.parameters,
      pooler.clock,
      greeting.settings,
      greeting.base,
    );
    pooler.add(session);
    if (rest.length > 0) session.onData(rest, 0, rest.length);
    else conn.resume();
  }

  #enterConsole(login: Login, request: StartupRequest, greeting: Greeting, conn: Conn, rest: Buffer): void {
    const { consoles, log, config } = this.#pooler;
    const { processId, cancelKey } = greeting;
    const about = describeVisitor(login.id, request, conn);
    this.#pooler.clientEnters(CONSOLE_DATABASE, login.user);
    consoles.set(processId, { cancelKey, cancel: () => this.console!.cancel() });
    const left = (reason: string) => {
      consoles.delete(processId);
      this.#pooler.clientLeaves(CONSOLE_DATABASE, login.user);
      if (config.global.logDisconnections) log.info(`closing because: ${reason}`, about);
    };
    const applicationName = request.params.get('application_name') ?? '';
    this.console!.enter(conn, { ...login, applicationName, left }, rest);
  }

  cancel(conn: Conn, processId: number, key: Uint8Array, done: () => void): void {
    const pooler = this.#pooler;
    const about = this.#describe(null, conn);
    const begun = pooler.clock.update();
    carryCancel(pooler, processId, key, (outcome) => {
      const age = Math.floor((pooler.clock.update() - begun) / 1000);
      if (pooler.config.global.logDisconnections) pooler.log.info(`closing because: ${outcome} (age=${age}s)`, about);
      done();
    });
  }

  failed(conn: Conn, request: StartupRequest | null, reason: string | null, ageMs: number): void {
    const pooler = this.#pooler;
    const about = this.#describe(request, conn);
    this.#leaves(conn);
    const login = this.#logins.get(conn);
    if (login !== undefined && login.database !== null) pooler.clientLeaves(login.database, login.user);
    this.#logins.delete(conn);
    const { logDisconnections, logPoolerErrors } = pooler.config.global;
    const why = reason ?? 'client unexpected eof';
    if (logDisconnections) pooler.log.info(`closing because: ${why} (age=${Math.floor(ageMs / 1000)}s)`, about);
    // Who leaves before, as health checks do, was told nothing.
    if (logPoolerErrors && reason !== null) pooler.log.warn(`pooler error: ${reason}`, about);
  }

  /** With tcp_defer_accept PgBouncer has no line for it either: it is told of a connection when something has come. */
  passedBy(conn: Conn, ageMs: number): void {
    const deferred = this.#pooler.config.global.tcpDeferAccept && !conn.remote.unix && ageMs < 1000;
    if (deferred) this.#pooler.log.debug('failed connection attempt', this.#describe(null, conn));
    else this.failed(conn, null, null, ageMs);
  }

  /** Startup parameters that are neither followed nor ignored are refused by name. `reported`: what the server reports, once it is known. */
  #refusedParameter(request: StartupRequest, reported: ClientParameters | null = null): ClientError | null {
    const { parameters } = this.#pooler.context;
    const followed = (name: string) =>
      parameters.names.indexOf(name) >= 0 &&
      (reported === null || reported.get(name) !== null || this.#isTracked(name));
    // Such a connection has a server of its own, which is given all of them.
    if (request.replication !== 'none' || this.#follows) return null;
    for (const name of request.params.keys()) {
      if (NOT_SETTINGS.has(name) || followed(name) || this.#isIgnored(request, name)) continue;
      const inOptions = request.inOptions.has(name);
      return {
        message: `unsupported startup parameter${inOptions ? ' in options' : ''}: ${name}`,
        sqlState: '08P01',
        hint: `Remove it from the client's connection string, or add it to ignore_startup_parameters.`,
      };
    }
    return null;
  }

  /** It is taken as in PgBouncer, without effect where the server does not report it: all but a search_path that nobody asked to be tracked. */
  #isTracked(name: string): boolean {
    const { trackExtraParameters } = this.#pooler.config.global;
    return (
      name.toLowerCase() !== 'search_path' || trackExtraParameters.some((one) => one.toLowerCase() === 'search_path')
    );
  }

  /** ignore_startup_parameters names it, or all that comes in `options`. */
  #isIgnored(request: StartupRequest, name: string): boolean {
    const ignored = this.#pooler.config.global.ignoreStartupParameters;
    return ignored.includes(name) || (request.inOptions.has(name) && ignored.includes('options'));
  }

  get #follows(): boolean {
    return this.#pooler.config.global.sessionState === 'follow';
  }
}
