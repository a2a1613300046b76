/**
 * The login desk: who may come in, how they prove who they are, which pool they get, what they are greeted with. The
 * configured rules, on top of the pooler; the exchange itself is client/login.ts and auth/.
 */
import type { ClientError } from '../client/home.ts';
import { type Greeting, type LoginDesk, LoginRefused, type StartupRequest } from '../client/login.ts';
import { ClientSession } from '../client/session.ts';
import { CONSOLE_DATABASE, CONSOLE_USER } from '../config/index.ts';
import type { Conn } from '../net/conn.ts';
import { ConnectionEnded } from '../net/packet-reader.ts';
import { peerUid } from '../net/peer-cred.ts';
import type { ClientTls } from '../net/tls-context.ts';
import { AskedValues } from './asked-values.ts';
import { Caller } from './caller.ts';
import { carryCancel } from './cancels.ts';
import { describeRefusal } from './exhaustion.ts';
import { Gate } from './gate.ts';
import { LoginWait, NoWelcome } from './login-wait.ts';
import { PEER_CLIENTS, withFullTtl } from './peers.ts';
import type { Welcome } from './pool-shape.ts';
import { type Database, FORCED_DISCONNECT, type Pooler, SHUTTING_DOWN } from './pooler.ts';
import type { ServerPool } from './server-pool.ts';
import { askedFor, follows, type ParameterRefusal, refusedParameter } from './startup-parameters.ts';
import type { ConsoleAccess, Login, Visit, Visitor } from './visit.ts';
import { describeVisitor, isLate, nameWithHost } from './visitor.ts';

/** Length of a cancel key, by minor protocol version: 3.0 has room for four bytes only. */
const CANCEL_KEY_BYTES = { old: 4, long: 32 } as const;

/** Consoles that may log in beside max_client_conn: an operator must get in when the pooler is full. */
const CONSOLE_SPARE = 20;

/** PgBouncer's bound, its NUL included. */
const USER_BYTES = 128;
const LONG_USER: ClientError = { message: 'username too long', sqlState: '08P01' };

const FORCED: ClientError = { message: FORCED_DISCONNECT, sqlState: '08P01' };

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

export class PoolerDesk implements LoginDesk<Visit> {
  readonly #pooler: Pooler;
  readonly #gate: Gate;
  readonly #values = new AskedValues();
  /** Set by whoever has a console to offer. */
  console: ConsoleDoor | null = null;

  constructor(pooler: Pooler) {
    this.#pooler = pooler;
    this.#gate = new Gate(pooler);
  }

  get clientTls(): ClientTls {
    return this.#pooler.context.tls.client;
  }

  admit(visit: Visit, request: StartupRequest): ClientError | null {
    const pooler = this.#pooler;
    const { conn } = visit;
    const { global } = pooler.config;
    const forConsole = request.database === CONSOLE_DATABASE;
    if (!forConsole && isLate(pooler, conn)) return SHUTTING_DOWN;
    const clients = pooler.sessions.size + pooler.consoles.size + pooler.loggingIn;
    const most = global.peerId > 0 ? Math.min(global.maxClientConn, PEER_CLIENTS) : global.maxClientConn;
    if (clients >= most + (forConsole ? CONSOLE_SPARE : 0))
      return {
        message: 'no more connections allowed (max_client_conn)',
        sqlState: '53300',
        detail: `${clients} clients are connected, and max_client_conn is ${most}.`,
        hint: 'Close connections that are not needed, or raise max_client_conn.',
      };
    if (Buffer.byteLength(request.user) >= USER_BYTES) return LONG_USER;
    const refused = refusedParameter(pooler, request);
    if (refused !== null) return this.#refuseParameter(refused, visit);
    pooler.loggingIn++;
    visit.caller = this.#caller(request, conn);
    visit.id = visit.caller.id;
    return null;
  }

  /** The value is for the log only. */
  #refuseParameter({ value, ...error }: ParameterRefusal, visit: Visit): ClientError {
    this.#pooler.log.warn(`${error.message}=${value}`, this.#describe(visit));
    return error;
  }

  #caller(request: StartupRequest | null, conn: Conn): Caller {
    const { callers, clock } = this.#pooler;
    const caller = new Caller(this.#pooler.nextConnectionId(), conn, request, clock.update());
    callers.push(caller);
    return caller;
  }

  /** Names a client that is no session yet, in the log. */
  #describe(visit: Visit): string {
    if (visit.id === 0) visit.id = this.#pooler.nextConnectionId();
    return visit.about;
  }

  /** A connection that was admitted is a session now, or gone. */
  #leaves(visit: Visit): void {
    const { caller } = visit;
    if (caller === null) return;
    visit.caller = null;
    this.#pooler.callers.remove(caller);
    this.#pooler.loggingIn--;
  }

  async authenticate(visit: Visit, request: StartupRequest): Promise<void> {
    const pooler = this.#pooler;
    const { id, conn } = visit;
    if (request.database === CONSOLE_DATABASE && this.console !== null) {
      visit.login = { id, database: null, pool: null, ...(await this.#consoleLogin(visit, request)) };
      return;
    }
    const user = await this.#gate.examine(visit as Visitor);
    // Not before: names that somebody makes up register no databases.
    const database = pooler.databases.get(request.database) ?? pooler.database(request.database, visit.about);
    if (database === null) {
      const text = `login failed: db=${request.database} user=${request.user}`;
      if (pooler.config.global.logConnections) pooler.log.info(text, visit.about);
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
    visit.login = { id, database: database.name, user, pool, access: 'stats', own: false };
  }

  /** The daemon's own user comes in over the Unix socket as `pgbouncer`; everybody else proves who they are. */
  async #consoleLogin(visit: Visit, request: StartupRequest): Promise<Pick<Login, 'user' | 'access' | 'own'>> {
    const { log, config } = this.#pooler;
    const { conn } = visit;
    if (request.user === CONSOLE_USER && conn.remote.unix && peerUid(conn) === process.getuid?.()) {
      if (config.global.logConnections) log.info('pgbouncer access from unix socket', visit.about);
      return { user: request.user, access: 'admin', own: true };
    }
    const user = await this.#gate.examine(visit as Visitor);
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

  greet(visit: Visit, request: StartupRequest): Greeting | Promise<Greeting> {
    const { pool } = visit.login!;
    if (pool === null) return this.#consoleGreeting(request);
    const { welcome } = pool;
    if (welcome === null || follows(this.#pooler)) return this.#askAndGreet(visit, request, pool);
    return this.#greeting(visit, request, pool, welcome);
  }

  async #askAndGreet(visit: Visit, request: StartupRequest, pool: ServerPool): Promise<Greeting> {
    const welcome = pool.welcome ?? (await this.#waitForWelcome(visit, pool, request.user));
    if (follows(this.#pooler) && !pool.replication) await this.#tryValues(visit, request, pool, welcome);
    return this.#greeting(visit, request, pool, welcome);
  }

  /** What PostgreSQL would not take at its login is refused at ours. */
  async #tryValues(visit: Visit, request: StartupRequest, pool: ServerPool, welcome: Welcome): Promise<void> {
    const { config } = this.#pooler;
    const { base } = askedFor(this.#pooler, request, welcome, visit.conn, this.#values);
    const untried = this.#values.untried(base.values, welcome);
    if (untried.size === 0) return;
    const caller = visit.caller!;
    let isForced = false;
    const giveUp = (abort: () => void) => {
      caller.becomes('waiting', this.#pooler.clock.now);
      caller.drop = () => {
        isForced = true;
        abort();
      };
      visit.reader.onEnd(abort);
    };
    await this.#values.try(pool, welcome, untried, config.global.serverAnswerTimeoutMs, giveUp);
    if (isForced) throw new LoginRefused(FORCED);
    if (visit.conn.closed) throw new ConnectionEnded(null);
  }

  #consoleGreeting(request: StartupRequest): Greeting {
    const { context, config } = this.#pooler;
    const { loginNotifyMessage: notice } = config.global;
    const [processId, cancelKey] = [this.#pooler.nextProcessId(), this.#cancelKey(request)];
    return { reported: this.console!.reported, parameters: context.parameters, notice, processId, cancelKey };
  }

  #cancelKey({ minor }: StartupRequest): Uint8Array {
    const size = minor >= 2 ? CANCEL_KEY_BYTES.long : CANCEL_KEY_BYTES.old;
    return withFullTtl(this.#pooler.context.crypto.randomBytes(size));
  }

  #greeting(visit: Visit, request: StartupRequest, pool: ServerPool, welcome: Welcome): Greeting {
    const pooler = this.#pooler;
    // The rules may have changed since it was let in to log in.
    const refusal = refusedParameter(pooler, request, welcome.parameters);
    if (refusal !== null) throw new LoginRefused(this.#refuseParameter(refusal, visit));
    const { reported } = welcome;
    const [processId, cancelKey] = [pooler.nextProcessId(), this.#cancelKey(request)];
    if (pool.replication) return { reported, parameters: welcome.parameters, processId, cancelKey };
    const { parameters, settings, base } = askedFor(pooler, request, welcome, visit.conn, this.#values);
    return {
      reported,
      parameters,
      settings,
      base,
      notice: pooler.config.global.loginNotifyMessage,
      processId,
      cancelKey,
    };
  }

  async #waitForWelcome({ conn, reader, caller: own }: Visit, pool: ServerPool, user: string): Promise<Welcome> {
    const pooler = this.#pooler;
    const caller = own!;
    const wait = new LoginWait(pool, user, caller.name, () => pooler.config.global.queryTimeoutMs);
    caller.becomes('waiting', pooler.clock.now);
    caller.drop = () => wait.abort(new LoginRefused(FORCED));
    // Who leaves gives up the place in the queue.
    reader.onEnd(() => wait.abort());
    try {
      return await wait.welcome;
    } catch (error) {
      if (conn.closed) throw new ConnectionEnded(null);
      if (!(error instanceof NoWelcome)) throw error;
      throw new LoginRefused(describeRefusal(pool, error.reason, pooler.clock.update(), wait.patience));
    }
  }

  enter(visit: Visit, request: StartupRequest, greeting: Greeting, rest: Buffer): void {
    const pooler = this.#pooler;
    const { conn } = visit;
    const login = visit.login!;
    const { id, pool, user } = login;
    const { since } = visit.caller!;
    visit.login = null;
    this.#leaves(visit);
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
    // Before the rest is looked at, which may be reason to read no more.
    conn.resume();
    if (rest.length > 0) session.onData(rest, 0, rest.length);
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

  cancel({ conn }: Visit, processId: number, key: Uint8Array, done: () => void): void {
    const pooler = this.#pooler;
    const caller = this.#caller(null, conn);
    carryCancel(pooler, processId, key, caller, (outcome) => {
      pooler.callers.remove(caller);
      this.#logEnd(outcome, pooler.clock.update() - caller.since, caller.name, false);
      done();
    });
  }

  failed(visit: Visit, reason: string, ageMs: number): void {
    const about = this.#describe(visit);
    this.#gone(visit);
    this.#logEnd(reason, ageMs, about, true);
  }

  /** Health checks and who is asked for a password do so all the time: as in PgBouncer that is no line. */
  left(visit: Visit, unread: boolean, ageMs: number): void {
    if (unread || visit.caller?.state === 'waiting')
      this.#logEnd('client unexpected eof', ageMs, this.#describe(visit), false);
    this.#gone(visit);
  }

  /** A connection whose login has ended. */
  #gone(visit: Visit): void {
    this.#leaves(visit);
    const { login } = visit;
    if (login !== null && login.database !== null) this.#pooler.clientLeaves(login.database, login.user);
    visit.login = null;
  }

  /** `told`: the client hears of the reason. */
  #logEnd(reason: string, ageMs: number, about: string, told: boolean): void {
    const { log, config } = this.#pooler;
    const { logDisconnections, logPoolerErrors } = config.global;
    if (logDisconnections) log.info(`closing because: ${reason} (age=${Math.floor(ageMs / 1000)}s)`, about);
    if (logPoolerErrors && told) log.warn(`pooler error: ${reason}`, about);
  }
}
