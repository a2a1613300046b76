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
  noticeResponse,
  type Parameters,
  ProtocolError,
  parameterStatus,
  parseStartup,
  readyForQuery,
} from '@sluice/wire';
import type { Conn } from '../net/conn.ts';
import { BadHeader, ConnectionEnded, PacketReader } from '../net/packet-reader.ts';
import { type AcceptOptions, acceptTls, TlsFailed } from '../net/tls-conn.ts';
import type { ClientTls } from '../net/tls-context.ts';
import type { SessionSettings } from '../server/session-settings.ts';
import type { ClientError } from './home.ts';

/** PostgreSQL's own bound on a startup message. */
const STARTUP_BYTES = 10_000;
const LOGIN_BYTES = 70_000;
const NEWEST_MINOR = 2;
/** Startup parameters that are not settings. */
export const NOT_SETTINGS: ReadonlySet<string> = new Set(['user', 'database', 'replication', 'options']);
const NOTHING = new Uint8Array(0);
const IDLE = readyForQuery(0x49);
const NO_NAMES: ReadonlySet<string> = new Set();
/** The first byte of a TLS handshake. As a startup message's length it would mean hundreds of megabytes. */
const TLS_HANDSHAKE = 0x16;
/** The type byte of Terminate, as the first of a connection. */
const TERMINATE = 0x58;

export interface StartupRequest {
  readonly user: string;
  readonly database: string;
  /** Minor protocol version agreed on: 0, or 2 (long cancel keys). */
  readonly minor: number;
  /** All other startup parameters, in order; those that `options` holds stand among them. */
  readonly params: ReadonlyMap<string, string>;
  /** Names of those that came in `options`. */
  readonly inOptions: ReadonlySet<string>;
  readonly replication: Replication;
}

/** What the startup parameter `replication` asks for: nothing, a WAL sender, or one that knows a database. */
export type Replication = 'none' | 'physical' | 'logical';

/** What the client is greeted with. */
export interface Greeting {
  reported: ReadonlyMap<string, string>;
  parameters: Parameters;
  /** What the client asked for beyond them (session_state = follow). */
  settings?: SessionSettings;
  /** All that it asked for. */
  base?: SessionSettings;
  processId: number;
  cancelKey: Uint8Array;
  /** Told to the client as a notice before it may begin (login_notify_message); '' is nothing. */
  notice?: string;
}

/** What the login asks of the rooms above; `visit` is its host's. */
export interface LoginDesk<V extends LoginVisit> {
  /** Whether clients may or must use TLS, as of now: a reload changes it for connections that come later. */
  readonly clientTls: ClientTls;
  /** May a connection come in at all? (max_client_conn, shutdown) Asked with the startup message in hand. */
  admit(visit: V, request: StartupRequest): ClientError | null;
  /** Rejects with a LoginRefused. */
  authenticate(visit: V, request: StartupRequest): Promise<void>;
  /** After authentication: finds the pool and waits for a greeting of its server. Throws or rejects with a LoginRefused. */
  greet(visit: V, request: StartupRequest): Greeting | Promise<Greeting>;
  /** The greeting was sent: the connection becomes a session. `rest`: what arrived behind the login. */
  enter(visit: V, request: StartupRequest, greeting: Greeting, rest: Buffer): void;
  /** A cancel request: call `done` when it has been dealt with. */
  cancel(visit: V, processId: number, key: Uint8Array, done: () => void): void;
  /** The login failed, this many milliseconds after the connection was accepted. `reason`: for the log. */
  failed(visit: V, reason: string, ageMs: number): void;
  /** The client left. `unread`: something that it had sent was not answered yet. */
  left(visit: V, unread: boolean, ageMs: number): void;
}

/** A connection during login. */
export interface LoginVisit {
  /** TLS puts others in the place of these two. */
  conn: Conn;
  reader: PacketReader;
  /** Null: the startup message is not here yet. */
  request: StartupRequest | null;
  /** Ends it: it has lasted too long (client_login_timeout). Null: it is over. */
  late: (() => void) | null;
}

/** Of a connection that was just accepted. */
export function loginReader(conn: Conn): PacketReader {
  return new PacketReader(conn, STARTUP_BYTES);
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
export async function receive<V extends LoginVisit>(visit: V, desk: LoginDesk<V>): Promise<void> {
  // The address is not to be had any more when the connection is closed; the log names it then.
  void visit.conn.remote;
  const began = performance.now();
  let isLate = false;
  visit.late = () => {
    isLate = true;
    refuse(visit.conn, { message: 'client_login_timeout', sqlState: '08P01' });
  };
  try {
    const request = await startup(visit, desk);
    if (request === null) return;
    visit.request = request;
    const { conn, reader } = visit;
    const refusal = desk.admit(visit, request);
    if (refusal !== null) throw new LoginRefused(refusal);
    reader.limit = LOGIN_BYTES;
    await desk.authenticate(visit, request);
    const greeted = desk.greet(visit, request);
    const greeting = greeted instanceof Promise ? await greeted : greeted;
    visit.late = null;
    if (conn.closed) throw new ConnectionEnded(null);
    send(conn, welcome(reader.owed, greeting));
    desk.enter(visit, request, greeting, reader.detach());
  } catch (error) {
    // The log first: who reads it when the client has its error finds the reason there.
    const reason = error instanceof ConnectionEnded ? null : reasonOf(error as Error);
    const ageMs = performance.now() - began;
    if (isLate) desk.failed(visit, 'client_login_timeout', ageMs);
    else if (reason !== null) desk.failed(visit, reason, ageMs);
    else desk.left(visit, visit.reader.buffered > 0, ageMs);
    settle(visit, error as Error);
  } finally {
    visit.late = null;
  }
}

/** Reads up to the startup message; null when the connection was for something else. */
async function startup<V extends LoginVisit>(line: V, desk: LoginDesk<V>): Promise<StartupRequest | null> {
  // Asked each time: a reload may come between two messages, and what it requires holds for this login too.
  const offered = () => desk.clientTls.context !== null && !line.conn.remote.unix;
  const first = await line.reader.byte(false);
  // Somebody changed their mind: PostgreSQL says nothing to that either.
  if (first === TERMINATE) throw new ConnectionEnded(null);
  if (first === TLS_HANDSHAKE) {
    if (!offered()) throw new TlsFailed('TLS was begun without being asked for, and client_tls_sslmode is disable');
    await encrypt(line, desk.clientTls, { direct: true, rest: line.reader.detach() });
  }
  for (let asked = 0; ; asked++) {
    const read = line.reader.startup();
    const { body } = read instanceof Promise ? await read : read;
    const message = parseStartup(body, 0, body.length);
    switch (message.kind) {
      case 'ssl':
      case 'gssenc':
        checkEncryptionRequest(line, message.kind, asked);
        if (message.kind === 'ssl' && offered()) {
          send(line.conn, Uint8Array.of(0x53));
          await encrypt(line, desk.clientTls, { direct: false, rest: new Uint8Array(0) });
        } else send(line.conn, Uint8Array.of(0x4e));
        break;
      case 'cancel':
        desk.cancel(line, message.pid, Uint8Array.from(message.key), () => line.conn.end());
        return null;
      case 'startup':
        if (line.conn.tls === null && !line.conn.remote.unix && requiresTls(desk.clientTls))
          throw new LoginRefused({
            message: 'SSL required',
            sqlState: '08P01',
            hint: 'Connect with sslmode=require or better.',
          });
        return startupRequest(line.conn, message.major, message.minor, message.params);
    }
  }
}

function checkEncryptionRequest({ conn, reader }: LoginVisit, kind: 'ssl' | 'gssenc', asked: number): void {
  if (kind === 'ssl' && conn.tls !== null) throw new ProtocolError('SSL req inside SSL');
  if (asked > 1) throw new ProtocolError('encryption was asked for more than once');
  if (reader.buffered > 0)
    throw new LoginRefused({
      message: `received unencrypted data after ${kind === 'ssl' ? 'SSL' : 'GSSAPI encryption'} request`,
      sqlState: '08P01',
    });
}

function requiresTls({ mode }: ClientTls): boolean {
  return mode !== 'disable' && mode !== 'allow' && mode !== 'prefer';
}

/** The line goes on over TLS. The reader comes first: data may arrive in one piece with the handshake's end. */
async function encrypt(line: LoginVisit, tls: ClientTls, options: AcceptOptions): Promise<void> {
  const { conn, ready } = acceptTls(line.conn, tls, options);
  line.conn = conn;
  line.reader = loginReader(conn);
  await ready;
}

function startupRequest(conn: Conn, major: number, minor: number, given: ReadonlyMap<string, string>): StartupRequest {
  if (major !== 3)
    throw new LoginRefused({
      message: `unsupported frontend protocol ${major}.${minor}: server supports 3.0 to 3.${NEWEST_MINOR}`,
      sqlState: '0A000',
    });
  const params = new Map(given);
  const unknown: string[] = [];
  for (const name of given.keys()) {
    if (!name.startsWith('_pq_.')) continue;
    unknown.push(name);
    params.delete(name);
  }
  const agreed = minor >= NEWEST_MINOR ? NEWEST_MINOR : 0;
  if (minor !== agreed || unknown.length > 0) send(conn, negotiateProtocolVersion(agreed, unknown));
  const user = params.get('user') ?? '';
  if (user === '') throw new LoginRefused({ message: 'no username supplied', sqlState: '28000' });
  const database = params.get('database') || user;
  params.delete('user');
  params.delete('database');
  const inOptions = unfoldOptions(params);
  return { user, database, minor: agreed, params, inOptions, replication: replicationOf(params) };
}

/** As PostgreSQL reads it: `database`, or a boolean, of which the beginning is enough. Throws LoginRefused. */
export function replicationOf(params: ReadonlyMap<string, string>): Replication {
  const text = params.get('replication');
  if (text === undefined) return 'none';
  if (text === 'database') return 'logical';
  if (/^(?:t|tr|tru|true|y|ye|yes|on|1)$/i.test(text)) return 'physical';
  if (/^(?:f|fa|fal|fals|false|n|no|of|off|0)$/i.test(text)) return 'none';
  throw new LoginRefused({
    message: `invalid value for parameter "replication": "${text}"`,
    sqlState: '22023',
    hint: 'Valid values are: "false", 0, "true", 1, "database".',
  });
}

/**
 * `options` may carry settings as a command line would: "-c name=value" and "--name=value", a backslash before a space that
 * belongs to the value. They stand for startup parameters of their own, before all others, so that one that has been given both
 * ways is as the parameter says, as in PostgreSQL; anything else is refused.
 */
function unfoldOptions(params: Map<string, string>): ReadonlySet<string> {
  const options = params.get('options');
  if (options === undefined) return NO_NAMES;
  const names = new Set<string>();
  params.delete('options');
  const others = [...params];
  params.clear();
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
    const name = setting.slice(0, at).replaceAll('-', '_');
    // As options they would be settings, and there are none of these names.
    if (NOT_SETTINGS.has(name.toLowerCase()))
      throw new LoginRefused({
        message: `unrecognized configuration parameter "${name}" in options`,
        sqlState: '42704',
        hint: 'user, database, replication and options are parameters of their own in the connection string.',
      });
    names.add(name);
    params.set(name, setting.slice(at + 1));
  }
  for (const [name, value] of others) {
    names.delete(name);
    params.set(name, value);
  }
  return names;
}

interface Report {
  readonly name: string;
  /** The name in lower case. */
  readonly key: string;
  /** Its place among the names of the client's parameters; -1: it is none of them. */
  readonly index: number;
  readonly value: string;
  /** The message that says so. */
  readonly status: Uint8Array;
}

/** What a server said, as its clients are told. */
interface Reports {
  readonly names: Parameters['names'];
  readonly each: readonly Report[];
  /** Of a client that asks for nothing else: AuthenticationOk and all of them. */
  readonly whole: Uint8Array;
}

/** All clients of a pool are told what one server said: the messages are made once. */
const REPORTS = new WeakMap<ReadonlyMap<string, string>, Reports>();

function reportsOf(reported: ReadonlyMap<string, string>, names: Parameters['names']): Reports {
  const known = REPORTS.get(reported);
  if (known?.names === names) return known;
  const report = ([name, value]: [string, string]): Report => {
    return { name, key: name.toLowerCase(), index: names.indexOf(name), value, status: parameterStatus(name, value) };
  };
  const each = [...reported].map(report);
  const reports = { names, each, whole: concat(authenticationOk(), ...each.map(({ status }) => status)) };
  REPORTS.set(reported, reports);
  return reports;
}

function statuses({ reported, parameters: { names, values }, settings }: Greeting): Uint8Array {
  const { each, whole } = reportsOf(reported, names);
  const own = settings === undefined || settings.values.size === 0 ? null : settings.values;
  const toldOf = ({ key, index, value }: Report) => own?.get(key) ?? (index < 0 ? null : values[index]) ?? value;
  if (own === null && each.every((report) => toldOf(report) === report.value)) return whole;
  const said = each.map((report) => {
    const value = toldOf(report);
    return value === report.value ? report.status : parameterStatus(report.name, value);
  });
  return concat(authenticationOk(), ...said);
}

/** `owed`: what goes before it. */
function welcome(owed: Uint8Array, greeting: Greeting): Uint8Array {
  const { notice, processId, cancelKey } = greeting;
  const told = notice ? noticeResponse({ severity: 'NOTICE', code: '00000', message: notice }) : NOTHING;
  return concat(owed, statuses(greeting), told, backendKeyData(processId, cancelKey), IDLE);
}

/** For the log. */
function reasonOf(error: Error): string {
  if (error instanceof BadHeader) return error.logged;
  return (error instanceof LoginRefused ? error.error.logged : undefined) ?? error.message;
}

/** Tells the client why, and closes. */
function settle({ conn, reader }: LoginVisit, error: Error): void {
  if (reader.owed.length > 0) send(conn, reader.owed);
  if (error instanceof LoginRefused) refuse(conn, error.error);
  else if (error instanceof ProtocolError) refuse(conn, { message: `bad packet: ${error.message}`, sqlState: '08P01' });
  else if (error instanceof TlsFailed && error.tellable) refuse(conn, { message: error.message, sqlState: '28000' });
  else if (error instanceof ConnectionEnded || error instanceof TlsFailed) conn.destroy();
  else refuse(conn, { message: `login failed: ${error.message}`, sqlState: '08006' });
}

function refuse(conn: Conn, { message, sqlState, detail, hint }: ClientError): void {
  const extra = { ...(detail === undefined ? {} : { detail }), ...(hint === undefined ? {} : { hint }) };
  send(conn, errorResponse({ severity: 'FATAL', code: sqlState, message, ...extra }));
  conn.end();
}

function send(conn: Conn, message: Uint8Array): void {
  conn.write(message, 0, message.length);
}
