/**
 * The login desk: who may come in, how they prove who they are, which pool they get, what they are greeted with. The
 * configured rules, on top of the pooler; the exchange itself is client/login.ts and auth/.
 */
import type { ClientError } from '../client/home.ts';
import { type Greeting, type LoginDesk, LoginRefused, type StartupRequest } from '../client/login.ts';
import { ClientSession } from '../client/session.ts';
import type { Conn } from '../net/conn.ts';
import type { PacketReader } from '../net/packet-reader.ts';
import type { ClientTls } from '../net/tls-context.ts';
import { describeRefusal } from './exhaustion.ts';
import { Gate } from './gate.ts';
import type { Pooler } from './pooler.ts';
import type { ServerPool, Welcome } from './server-pool.ts';

/** Length of a cancel key, by minor protocol version: 3.0 has room for four bytes only. */
const CANCEL_KEY_BYTES = { old: 4, long: 32 } as const;

/** Startup parameters that are not settings. */
const NOT_SETTINGS = new Set(['user', 'database', 'replication']);

interface Login {
  /** The user that the client is now: auth_type any and auth_query may give another name than the client does. */
  user: string;
  pool: ServerPool;
}

export class PoolerDesk implements LoginDesk {
  readonly #pooler: Pooler;
  readonly #gate: Gate;
  readonly #logins = new WeakMap<Conn, Login>();
  /** Connections past the startup message that are not sessions yet; counted against max_client_conn. */
  readonly #admitted = new Set<Conn>();
  #sessionIds = 0;

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
    if (pooler.shuttingDown) return { message: 'server shutting down', sqlState: '57P01' };
    if (pooler.sessions.size + pooler.loggingIn >= global.maxClientConn)
      return {
        message: 'no more connections allowed (max_client_conn)',
        sqlState: '53300',
        detail: `${pooler.sessions.size + pooler.loggingIn} clients are connected, and max_client_conn is ${global.maxClientConn}.`,
        hint: 'Close connections that are not needed, or raise max_client_conn.',
      };
    const refused = this.#refusedParameter(request);
    if (refused === null) {
      pooler.loggingIn++;
      this.#admitted.add(conn);
    }
    return refused;
  }

  /** A connection that was admitted is a session now, or gone. */
  #leaves(conn: Conn): void {
    if (this.#admitted.delete(conn)) this.#pooler.loggingIn--;
  }

  async authenticate(request: StartupRequest, conn: Conn, reader: PacketReader): Promise<void> {
    const pooler = this.#pooler;
    const about = describeVisitor(request, conn);
    const user = await this.#gate.examine({ request, conn, reader, about });
    // Not before: names that somebody makes up register no databases.
    const database = pooler.database(request.database);
    if (database === null)
      throw new LoginRefused({
        message: `no such database: ${request.database}`,
        sqlState: '3D000',
        hint: 'Add it to [databases], or a "*" entry for all names.',
      });
    this.#logins.set(conn, { user, pool: pooler.poolFor(database, user) });
  }

  async greet(request: StartupRequest, conn: Conn, timeoutMs: number): Promise<Greeting> {
    const pooler = this.#pooler;
    const { pool } = this.#logins.get(conn)!;
    const { now } = pooler.clock;
    const deadline = Math.min(timeoutMs > 0 ? now + timeoutMs : Number.POSITIVE_INFINITY, pool.waitDeadline(now));
    let welcome: Welcome;
    try {
      welcome = await pool.greet(deadline).promise;
    } catch (error) {
      const reason = (error as Error).message as Parameters<typeof describeRefusal>[1];
      throw new LoginRefused(describeRefusal(pool, reason, pooler.clock.update()));
    }
    let { parameters } = welcome;
    for (const [name, value] of request.params) {
      const index = parameters.names.indexOf(name);
      if (index >= 0) parameters = parameters.with(index, value);
    }
    const keyBytes = request.minor >= 2 ? CANCEL_KEY_BYTES.long : CANCEL_KEY_BYTES.old;
    return {
      reported: welcome.reported,
      parameters,
      processId: pooler.nextProcessId(),
      cancelKey: pooler.context.crypto.randomBytes(keyBytes),
    };
  }

  enter(request: StartupRequest, greeting: Greeting, conn: Conn, rest: Buffer): void {
    const pooler = this.#pooler;
    const { pool, user } = this.#logins.get(conn)!;
    this.#logins.delete(conn);
    this.#leaves(conn);
    pooler.clock.update();
    const session = new ClientSession(
      conn,
      {
        id: ++this.#sessionIds,
        user,
        database: request.database,
        processId: greeting.processId,
        cancelKey: greeting.cancelKey,
      },
      pool,
      pooler,
      greeting.parameters,
      pooler.clock,
    );
    pooler.add(session);
    session.begin(rest);
  }

  cancel(processId: number, key: Uint8Array, done: () => void): void {
    this.#pooler.clock.update();
    this.#pooler.cancel(processId, key, done);
  }

  failed(conn: Conn, request: StartupRequest | null, reason: string, ageMs: number): void {
    const pooler = this.#pooler;
    this.#leaves(conn);
    this.#logins.delete(conn);
    const about = describeVisitor(request, conn);
    const { logDisconnections, logPoolerErrors } = pooler.config.global;
    if (logDisconnections) pooler.log.info(`closing because: ${reason} (age=${Math.floor(ageMs / 1000)}s)`, about);
    if (logPoolerErrors) pooler.log.warn(`pooler error: ${reason}`, about);
  }

  /** Startup parameters that are neither followed nor ignored are refused by name. */
  #refusedParameter(request: StartupRequest): ClientError | null {
    const { parameters } = this.#pooler.context;
    const ignored = this.#pooler.config.global.ignoreStartupParameters;
    if (!/^(|0|off|no|false)$/i.test(request.params.get('replication') ?? ''))
      return {
        message: 'replication connections are not supported',
        sqlState: '0A000',
        hint: 'Connect to PostgreSQL itself for replication.',
      };
    for (const name of request.params.keys()) {
      if (NOT_SETTINGS.has(name) || parameters.names.indexOf(name) >= 0 || ignored.includes(name)) continue;
      return {
        message: `unsupported startup parameter: ${name}`,
        sqlState: '08P01',
        hint: `Remove it from the client's connection string, or add it to ignore_startup_parameters.`,
      };
    }
    return null;
  }
}

/** Names a client that is no session yet, in the log. */
function describeVisitor(request: StartupRequest | null, conn: Conn): string {
  const who = request === null ? '(nodb)/(nouser)' : `${request.database}/${request.user}`;
  return `${who}@${conn.remote.address}:${conn.remote.port}`;
}
