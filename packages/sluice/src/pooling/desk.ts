/**
 * The login desk: who may come in, how they prove who they are, which pool they get, what they are greeted with. The
 * configured rules, on top of the pooler; the exchange itself is client/login.ts and auth/.
 */
import type { ClientError } from '../client/home.ts';
import { type Greeting, type LoginDesk, LoginRefused, type StartupRequest } from '../client/login.ts';
import { ClientSession } from '../client/session.ts';
import { CONSOLE_DATABASE, CONSOLE_USER } from '../config/index.ts';
import type { Conn } from '../net/conn.ts';
import { ConnectionEnded, type PacketReader } from '../net/packet-reader.ts';
import { peerUid } from '../net/peer-cred.ts';
import type { ClientTls } from '../net/tls-context.ts';
import { Caller } from './caller.ts';
import { carryCancel } from './cancels.ts';
import { describeRefusal } from './exhaustion.ts';
import { Gate } from './gate.ts';
import { LoginWait, NoWelcome } from './login-wait.ts';
import { PEER_SESSIONS, withFullTtl } from './peers.ts';
import type { Welcome } from './pool-shape.ts';
import { type Database, FORCED_DISCONNECT, type Pooler, SHUTTING_DOWN } from './pooler.ts';
import type { ServerPool } from './server-pool.ts';
import { askedFor, type ParameterRefusal, refusedParameter } from './startup-parameters.ts';
import { describeVisitor, isLate, nameWithHost } from './visitor.ts';

/** Length of a cancel key, by minor protocol version: 3.0 has room for four bytes only. */
const CANCEL_KEY_BYTES = { old: 4, long: 32 } as const;

/** Consoles that may log in beside max_client_conn: an operator must get in when the pooler is full. */
const CONSOLE_SPARE = 20;

const FORCED: ClientError = { message: FORCED_DISCONNECT, sqlState: '08P01' };

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
  /** What the log calls it. */
  readonly name: string;
  /** Its connection is over; `told`: it heard of the reason. */
  left(reason: string, told: boolean): void;
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
  /** Connections past the startup message that are not sessions yet; counted against max_client_conn. */
  readonly #admitted = new WeakMap<Conn, Caller>();
  /** Numbers of those that the log has named before they were admitted. */
  readonly #strangers = new WeakMap<Conn, number>();
  /** Set by whoever has a console to offer. */
  console: ConsoleDoor | null = null;

  constructor(pooler: Pooler) {
    this.#pooler = pooler;
    this.#gate = new Gate(pooler);
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
    const refused = refusedParameter(pooler, request);
    if (refused !== null) return this.#refuseParameter(refused, request, conn);
    pooler.loggingIn++;
    this.#admitted.set(conn, this.#caller(request, conn));
    return null;
  }

  /** The value is for the log only. */
  #refuseParameter({ value, ...error }: ParameterRefusal, request: StartupRequest, conn: Conn): ClientError {
    this.#pooler.log.warn(`${error.message}=${value}`, this.#describe(request, conn));
    return error;
  }

  #caller(request: StartupRequest | null, conn: Conn): Caller {
    const { callers, clock } = this.#pooler;
    const caller = new Caller(this.#pooler.nextConnectionId(), conn, request, clock.update());
    callers.push(caller);
    return caller;
  }

  /** Names a client that is no session yet, in the log. */
  #describe(request: StartupRequest | null, conn: Conn): string {
    const id = this.#admitted.get(conn)?.id ?? this.#strangers.get(conn) ?? this.#pooler.nextConnectionId();
    if (!this.#admitted.has(conn)) this.#strangers.set(conn, id);
    return describeVisitor(id, request, conn);
  }

  /** A connection that was admitted is a session now, or gone. */
  #leaves(conn: Conn): void {
    const caller = this.#admitted.get(conn);
    if (caller === undefined) return;
    this.#admitted.delete(conn);
    this.#pooler.callers.remove(caller);
    this.#pooler.loggingIn--;
  }

  async authenticate(request: StartupRequest, conn: Conn, reader: PacketReader): Promise<void> {
    const pooler = this.#pooler;
    const { id } = this.#admitted.get(conn)!;
    if (request.database === CONSOLE_DATABASE && this.console !== null) {
      this.#logins.set(conn, { id, database: null, pool: null, ...(await this.#consoleLogin(request, conn, reader)) });
      return;
    }
    const about = this.#describe(request, conn);
    const user = await this.#gate.examine({ request, conn, reader, about });
    // Not before: names that somebody makes up register no databases.
    const database = pooler.database(request.database, about);
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

  async greet(request: StartupRequest, conn: Conn, onGone: (listener: () => void) => void): Promise<Greeting> {
    const pooler = this.#pooler;
    const { pool } = this.#logins.get(conn)!;
    const keyBytes = request.minor >= 2 ? CANCEL_KEY_BYTES.long : CANCEL_KEY_BYTES.old;
    const identity = () => ({
      processId: pooler.nextProcessId(),
      cancelKey: withFullTtl(pooler.context.crypto.randomBytes(keyBytes)),
    });
    const { loginNotifyMessage: notice } = pooler.config.global;
    if (pool === null)
      return { reported: this.console!.reported, parameters: pooler.context.parameters, notice, ...identity() };
    const welcome = pool.welcome ?? (await this.#waitForWelcome(pool, request.user, conn, onGone));
    // The rules may have changed since it was let in to log in.
    const refusal = refusedParameter(pooler, request, welcome.parameters);
    if (refusal !== null) throw new LoginRefused(this.#refuseParameter(refusal, request, conn));
    const { reported, parameters } = welcome;
    if (pool.replication) return { reported, parameters, ...identity() };
    return { reported, ...askedFor(pooler, request, welcome, conn), notice, ...identity() };
  }

  async #waitForWelcome(
    pool: ServerPool,
    user: string,
    conn: Conn,
    onGone: (listener: () => void) => void,
  ): Promise<Welcome> {
    const pooler = this.#pooler;
    const caller = this.#admitted.get(conn)!;
    const wait = new LoginWait(pool, user, caller.name, () => pooler.config.global.queryTimeoutMs);
    caller.becomes('waiting', pooler.clock.now);
    caller.drop = () => wait.abort(new LoginRefused(FORCED));
    // Who leaves gives up the place in the queue.
    onGone(() => wait.abort());
    try {
      return await wait.welcome;
    } catch (error) {
      if (conn.closed) throw new ConnectionEnded(null);
      if (!(error instanceof NoWelcome)) throw error;
      throw new LoginRefused(describeRefusal(pool, error.reason, pooler.clock.update(), wait.patience));
    }
  }

  enter(request: StartupRequest, greeting: Greeting, conn: Conn, rest: Buffer): void {
    const pooler = this.#pooler;
    const login = this.#logins.get(conn)!;
    const { id, pool, user } = login;
    const { since } = this.#admitted.get(conn)!;
    this.#logins.delete(conn);
    this.#leaves(conn);
    pooler.clock.update();
    if (pool === null) {
      this.#enterConsole({ ...login, since }, request, greeting, conn, rest);
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

  #enterConsole(
    login: Login & { readonly since: number },
    request: StartupRequest,
    greeting: Greeting,
    conn: Conn,
    rest: Buffer,
  ): void {
    const { consoles, config, clock } = this.#pooler;
    const { processId, cancelKey } = greeting;
    const name = describeVisitor(login.id, request, conn);
    this.#pooler.clientEnters(CONSOLE_DATABASE, login.user);
    consoles.set(processId, { cancelKey, cancel: () => this.console!.cancel() });
    const left = (reason: string, told: boolean) => {
      consoles.delete(processId);
      this.#pooler.clientLeaves(CONSOLE_DATABASE, login.user);
      this.#logEnd(reason, clock.update() - login.since, name, told);
    };
    const given = request.params.get('application_name') ?? '';
    const applicationName = config.global.applicationNameAddHost ? nameWithHost(given, conn) : given;
    this.console!.enter(conn, { ...login, applicationName, name, left }, rest);
  }

  cancel(conn: Conn, processId: number, key: Uint8Array, done: () => void): void {
    const pooler = this.#pooler;
    const caller = this.#caller(null, conn);
    carryCancel(pooler, processId, key, caller, (outcome) => {
      pooler.callers.remove(caller);
      this.#logEnd(outcome, pooler.clock.update() - caller.since, caller.name, false);
      done();
    });
  }

  failed(conn: Conn, request: StartupRequest | null, reason: string, ageMs: number): void {
    const about = this.#describe(request, conn);
    this.#gone(conn);
    this.#logEnd(reason, ageMs, about, true);
  }

  /** Health checks and who is asked for a password do so all the time: as in PgBouncer that is no line. */
  left(conn: Conn, request: StartupRequest | null, unread: boolean, ageMs: number): void {
    if (unread || this.#admitted.get(conn)?.state === 'waiting')
      this.#logEnd('client unexpected eof', ageMs, this.#describe(request, conn), false);
    this.#gone(conn);
  }

  /** A connection whose login has ended. */
  #gone(conn: Conn): void {
    this.#leaves(conn);
    const login = this.#logins.get(conn);
    if (login !== undefined && login.database !== null) this.#pooler.clientLeaves(login.database, login.user);
    this.#logins.delete(conn);
  }

  /** `told`: the client hears of the reason. */
  #logEnd(reason: string, ageMs: number, about: string, told: boolean): void {
    const { log, config } = this.#pooler;
    const { logDisconnections, logPoolerErrors } = config.global;
    if (logDisconnections) log.info(`closing because: ${reason} (age=${Math.floor(ageMs / 1000)}s)`, about);
    if (logPoolerErrors && told) log.warn(`pooler error: ${reason}`, about);
  }
}
