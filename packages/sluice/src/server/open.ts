/**
 * Opening a server connection: dial, TLS as server_tls_sslmode asks for it, login. Owns the order of attempts (plain and
 * TLS) and nothing after the login. Which host, which user and what to do with failures is the pool's business.
 */
import type { Address, Conn } from '../net/conn.ts';
import { type Dial, type DialTls, dial, isUnixHost, type Names } from '../net/dial.ts';
import { ConnectionEnded } from '../net/packet-reader.ts';
import { timeLimit } from '../net/time-limit.ts';
import { TlsFailed } from '../net/tls-conn.ts';
import type { ServerTls } from '../net/tls-context.ts';
import { type LoggedIn, LoginImpossible, type LoginRequest, logIn, ServerRefused } from './login.ts';

export interface OpenTarget {
  /** Number of the connection, for the log; 0: it has none. */
  readonly id: number;
  readonly host: string;
  readonly port: number;
  readonly names?: Names;
  /** Milliseconds for the connection with its TLS handshake, and again for the login (server_connect_timeout); 0: no bound. */
  readonly timeoutMs: number;
  /** tcp_socket_buffer in bytes; 0 or absent: the system's own. */
  readonly socketBuffer?: number;
  readonly tls: ServerTls;
  /** The database says sslnegotiation=direct. */
  readonly direct: boolean;
}

export interface Opened {
  readonly conn: Conn;
  readonly loggedIn: LoggedIn;
  /** How the connection was encrypted, for cancel requests to go the same way; null: plain. */
  readonly tls: DialTls | null;
}

/** Who hears how it goes: of each attempt. */
export interface OpeningWatcher {
  connected(conn: Conn): void;
  encrypted(conn: Conn): void;
}

/** pg_hba.conf of the server does not let the user in this way: with the other kind of connection it may. */
const NO_HBA_ENTRY = '28000';

/**
 * The kinds of connection to try, in order; null is plain. `prefer` begins with TLS and goes on without where the server refuses, as
 * libpq does; so does `allow`, as PgBouncer has it. From `require` on there is nothing but TLS. Unix sockets are always plain.
 */
export function attempts(host: string, tls: ServerTls, direct: boolean): readonly (DialTls | null)[] {
  if (isUnixHost(host)) return [null];
  if (direct && tls.mode === 'disable')
    throw new LoginImpossible('sslnegotiation=direct needs TLS: set server_tls_sslmode to require or better');
  if (direct) return [{ context: tls, required: true, direct }];
  switch (tls.mode) {
    case 'disable':
      return [null];
    case 'allow':
    case 'prefer':
      return [{ context: tls, required: false, direct }, null];
    default:
      return [{ context: tls, required: true, direct }];
  }
}

export class ServerOpening {
  /** Rejects with the dial's error, TlsFailed, ServerRefused, LoginImpossible, ConnectionEnded or ProtocolError. */
  readonly opened: Promise<Opened>;
  readonly target: OpenTarget;
  /** Where the last connection went that was made; null: none was. */
  remote: Address | null = null;
  /** Null: it was not given up. */
  abortedBecause: string | null = null;
  readonly #watcher: OpeningWatcher | null;
  #dial: Dial | null = null;
  #conn: Conn | null = null;

  /** `login` is asked for each attempt; the hash for channel binding is filled in here. */
  constructor(target: OpenTarget, login: () => Omit<LoginRequest, 'endPoint'>, watcher: OpeningWatcher | null = null) {
    this.target = target;
    this.#watcher = watcher;
    this.opened = this.#open(target, login);
  }

  /** Gives up; `opened` is rejected. */
  abort(because: string): void {
    this.abortedBecause = because;
    this.#dial?.abort();
    this.#conn?.destroy();
  }

  async #open(target: OpenTarget, login: () => Omit<LoginRequest, 'endPoint'>): Promise<Opened> {
    const [first, second] = attempts(target.host, target.tls, target.direct);
    try {
      return await this.#attempt(target, first!, login);
    } catch (error) {
      if (second === undefined || this.abortedBecause !== null || !this.#otherWayMayWork(first!, error)) throw error;
      try {
        return await this.#attempt(target, second, login);
      } catch (again) {
        // A server without TLS has said all with its first refusal.
        throw again instanceof TlsFailed ? error : again;
      }
    }
  }

  #otherWayMayWork(tried: DialTls | null, error: unknown): boolean {
    const encrypted = this.#conn !== null && this.#conn.tls !== null;
    // Not after a proof was asked for: "channel binding check failed" has the same code, and tells of one in the middle.
    if (error instanceof ServerRefused)
      return error.outright && error.fields.code === NO_HBA_ENTRY && encrypted === (tried !== null);
    const shakingHands = tried !== null && this.#conn === null;
    return shakingHands && (error instanceof TlsFailed || error instanceof ConnectionEnded);
  }

  async #attempt(
    target: OpenTarget,
    tls: DialTls | null,
    login: () => Omit<LoginRequest, 'endPoint'>,
  ): Promise<Opened> {
    const { host, port, names = null, timeoutMs, socketBuffer = 0 } = target;
    this.#conn = null;
    const connected = (plain: Conn) => {
      this.remote = plain.remote;
      this.#watcher?.connected(plain);
    };
    this.#dial = dial({ host, port, names, timeoutMs, socketBuffer, connected, tls });
    const conn = await this.#dial.conn;
    this.#conn = conn;
    if (conn.tls !== null) this.#watcher?.encrypted(conn);
    const late = () => conn.destroy(new Error('connect timeout'));
    const timer = timeLimit(timeoutMs, late);
    try {
      const loggedIn = await logIn(conn, { ...login(), endPoint: conn.tls?.endPoint ?? null });
      return { conn, loggedIn, tls: conn.tls === null ? null : tls };
    } catch (error) {
      conn.destroy();
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }
}
