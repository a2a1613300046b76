/**
 * A client's login, linear: encryption requests, startup message, authentication, greeting. Ends with a session, or with
 * an error that the client is told where the protocol allows one. Who may log in, and where to, is asked of a `LoginDesk`.
 */
import {
  authenticationOk,
  backendKeyData,
  concat,
  errorResponse,
  negotiateProtocolVersion,
  type Parameters,
  ProtocolError,
  parameterStatus,
  parseStartup,
  readyForQuery,
} from '@sluice/wire';
import type { AuthResult } from '../auth/method.ts';
import type { Conn } from '../net/conn.ts';
import { ConnectionEnded, PacketReader } from '../net/packet-reader.ts';
import type { ClientError } from './home.ts';

/** PostgreSQL's own bound on a startup message. */
const STARTUP_BYTES = 10_000;
const LOGIN_BYTES = 70_000;
const NEWEST_MINOR = 2;

export interface StartupRequest {
  readonly user: string;
  readonly database: string;
  /** Minor protocol version agreed on: 0, or 2 (long cancel keys). */
  readonly minor: number;
  /** All other startup parameters, in order. */
  readonly params: ReadonlyMap<string, string>;
}

/** What the client is greeted with. */
export interface Greeting {
  reported: ReadonlyMap<string, string>;
  parameters: Parameters;
  processId: number;
  cancelKey: Uint8Array;
}

/** What the login asks of the rooms above. */
export interface LoginDesk {
  /** Milliseconds a login may take (client_login_timeout); 0: no bound. */
  readonly loginTimeoutMs: number;
  /** May a connection come in at all? (max_client_conn, shutdown) Asked with the startup message in hand. */
  admit(request: StartupRequest, conn: Conn): ClientError | null;
  authenticate(request: StartupRequest, conn: Conn, reader: PacketReader): Promise<AuthResult | ClientError>;
  /** After authentication: finds the pool and waits for a greeting of its server. Rejects with a LoginRefused. */
  greet(request: StartupRequest, auth: AuthResult, conn: Conn, deadline: number): Promise<Greeting>;
  /** The greeting was sent: the connection becomes a session. `rest`: what arrived behind the login. */
  enter(request: StartupRequest, greeting: Greeting, conn: Conn, rest: Buffer): void;
  /** A cancel request: call `done` when it has been dealt with. */
  cancel(processId: number, key: Uint8Array, done: () => void): void;
  /** The login failed. */
  failed(conn: Conn, request: StartupRequest | null, reason: string): void;
}

export class LoginRefused extends Error {
  readonly error: ClientError;

  constructor(error: ClientError) {
    super(error.message);
    this.name = 'LoginRefused';
    this.error = error;
  }
}

/** Serves a fresh connection until it is a session or closed. Never rejects. */
export async function receive(conn: Conn, desk: LoginDesk): Promise<void> {
  const reader = new PacketReader(conn, STARTUP_BYTES);
  const deadline = desk.loginTimeoutMs;
  let request: StartupRequest | null = null;
  const timer =
    deadline > 0
      ? setTimeout(() => refuse(conn, { message: 'client_login_timeout', sqlState: '08P01' }), deadline)
      : undefined;
  try {
    request = await startup(conn, reader, desk);
    if (request === null) return;
    const refusal = desk.admit(request, conn);
    if (refusal !== null) throw new LoginRefused(refusal);
    reader.limit = LOGIN_BYTES;
    const auth = await desk.authenticate(request, conn, reader);
    if ('sqlState' in auth) throw new LoginRefused(auth);
    const greeting = await desk.greet(request, auth, conn, deadline);
    clearTimeout(timer);
    if (conn.closed) throw new ConnectionEnded(null);
    send(conn, welcome(greeting));
    desk.enter(request, greeting, conn, reader.detach());
  } catch (error) {
    const reason = settle(conn, error as Error);
    desk.failed(conn, request, reason);
  } finally {
    clearTimeout(timer);
  }
}

/** Reads up to the startup message; null when the connection was for something else. */
async function startup(conn: Conn, reader: PacketReader, desk: LoginDesk): Promise<StartupRequest | null> {
  for (let asked = 0; ; asked++) {
    const { body } = await reader.startup();
    const message = parseStartup(body, 0, body.length);
    switch (message.kind) {
      case 'ssl':
      case 'gssenc':
        if (asked > 1) throw new ProtocolError('encryption was asked for more than once');
        if (reader.buffered > 0)
          throw new LoginRefused({
            message: `received unencrypted data after ${message.kind === 'ssl' ? 'SSL' : 'GSSAPI encryption'} request`,
            sqlState: '08P01',
          });
        send(conn, Uint8Array.of(0x4e));
        break;
      case 'cancel':
        desk.cancel(message.pid, Uint8Array.from(message.key), () => conn.end());
        return null;
      case 'startup':
        return startupRequest(conn, message.major, message.minor, message.params);
    }
  }
}

function startupRequest(conn: Conn, major: number, minor: number, given: ReadonlyMap<string, string>): StartupRequest {
  if (major !== 3)
    throw new LoginRefused({
      message: `unsupported frontend protocol ${major}.${minor}: server supports 3.0 to 3.${NEWEST_MINOR}`,
      sqlState: '0A000',
    });
  const params = new Map(given);
  const unknown = [...params.keys()].filter((name) => name.startsWith('_pq_.'));
  for (const name of unknown) params.delete(name);
  const agreed = minor >= NEWEST_MINOR ? NEWEST_MINOR : 0;
  if (minor !== agreed || unknown.length > 0) send(conn, negotiateProtocolVersion(agreed, unknown));
  const user = params.get('user') ?? '';
  if (user === '') throw new LoginRefused({ message: 'no username supplied', sqlState: '28000' });
  const database = params.get('database') || user;
  params.delete('user');
  params.delete('database');
  unfoldOptions(params);
  return { user, database, minor: agreed, params };
}

/**
 * `options` may carry settings as a command line would: "-c name=value" and "--name=value", a backslash before a space that
 * belongs to the value. They stand for startup parameters of their own; anything else is refused.
 */
function unfoldOptions(params: Map<string, string>): void {
  const options = params.get('options');
  if (options === undefined) return;
  params.delete('options');
  const words = (options.match(/(?:\\.|[^\s\\])+/g) ?? []).map((word) => word.replace(/\\(.)/g, '$1'));
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!;
    const setting =
      word === '-c' ? words[++i] : /^(?:-c|--)(?=.)/.test(word) ? word.replace(/^(?:-c|--)/, '') : undefined;
    const at = setting?.indexOf('=') ?? -1;
    if (setting === undefined || at < 1)
      throw new LoginRefused({
        message: "unsupported options startup parameter: only '-c config=val' and '--config=val' are allowed",
        sqlState: '08P01',
      });
    params.set(setting.slice(0, at).replaceAll('-', '_'), setting.slice(at + 1));
  }
}

function welcome(greeting: Greeting): Uint8Array {
  const parts = [authenticationOk()];
  const told = new Set<string>();
  const { names, values } = greeting.parameters;
  for (const [name, value] of greeting.reported) {
    const index = names.indexOf(name);
    parts.push(parameterStatus(name, (index < 0 ? null : values[index]) ?? value));
    told.add(name.toLowerCase());
  }
  parts.push(backendKeyData(greeting.processId, greeting.cancelKey), readyForQuery(0x49));
  return concat(...parts);
}

/** Tells the client why, closes, and returns the reason for the log. */
function settle(conn: Conn, error: Error): string {
  if (error instanceof LoginRefused) refuse(conn, error.error);
  else if (error instanceof ProtocolError) refuse(conn, { message: `bad packet: ${error.message}`, sqlState: '08P01' });
  else if (error instanceof ConnectionEnded) conn.destroy();
  else refuse(conn, { message: `login failed: ${error.message}`, sqlState: '08006' });
  return error.message;
}

function refuse(conn: Conn, { message, sqlState, detail, hint }: ClientError): void {
  const extra = { ...(detail === undefined ? {} : { detail }), ...(hint === undefined ? {} : { hint }) };
  send(conn, errorResponse({ severity: 'FATAL', code: sqlState, message, ...extra }));
  conn.end();
}

function send(conn: Conn, message: Uint8Array): void {
  conn.write(message, 0, message.length);
}
