/** Outgoing connections: TCP or Unix, with a deadline. */
import { lookup } from 'node:dns/promises';
import { connect, isIP, type LookupFunction, type OnReadOpts, Socket, type SocketConstructorOpts } from 'node:net';
import { sslRequest } from '@sluice/wire';
import { connectedSocket, isAbstract } from './abstract-socket.ts';
import { type Conn, DISCARD } from './conn.ts';
import { FastConn } from './fast-conn.ts';
import { ConnectionEnded, PacketReader } from './packet-reader.ts';
import { PlainConn } from './plain-conn.ts';
import { sizedSocket, sizedSocketsWork } from './sized-socket.ts';
import { fastConnsWork } from './straight-read.ts';
import { timeLimit } from './time-limit.ts';
import { connectTls, TlsFailed } from './tls-conn.ts';
import type { ServerTls } from './tls-context.ts';

export interface DialTarget {
  /** A name, an address, or for a Unix socket the directory that holds it. */
  host: string;
  port: number;
  /** Where the host is, when it is known already; its name still counts for TLS. */
  address?: string | null;
  /** Who knows the addresses of a name; absent: the system, asked each time. */
  names?: Names | null;
  /** Milliseconds until the attempt is given up; 0: never. */
  timeoutMs: number;
  /** tcp_socket_buffer in bytes, for TCP; 0 or absent: the system's own. */
  socketBuffer?: number;
  /** Called when the connection is made, before anything is said on it. */
  connected?: (conn: Conn) => void;
  /** Encrypt the connection; null or absent: plain. Unix sockets stay plain always, as libpq has it. */
  tls?: DialTls | null;
}

/** All addresses of a name, in the order in which they are tried. */
export interface Names {
  addresses(name: string): Promise<readonly string[]>;
}

export interface DialTls {
  readonly context: ServerTls;
  /** Fail where the server has no TLS, rather than go on in plain. */
  readonly required: boolean;
  /** Begin with the handshake, without asking (libpq sslnegotiation=direct, PostgreSQL 17). */
  readonly direct: boolean;
}

/** A dial under way. */
export interface Dial {
  readonly conn: Promise<Conn>;
  /** Gives up; the promise is rejected. */
  abort(): void;
}

/** The other side did not answer in time. */
export class DialTimeout extends Error {
  readonly code = 'ETIMEDOUT';
  /** The connection was made, and TLS was not agreed on. */
  readonly connected: boolean;

  constructor({ host, port, timeoutMs }: DialTarget, connected: boolean) {
    super(`no answer from ${host}:${port} within ${timeoutMs / 1000} s (server_connect_timeout)`);
    this.name = 'DialTimeout';
    this.connected = connected;
  }
}

/** The path that libpq and PostgreSQL use for a server's Unix socket. */
export function unixPath(directory: string, port: number): string {
  const path = `${directory}/.s.PGSQL.${port}`;
  return directory.startsWith('@') ? `\0${path.slice(1)}` : path;
}

export function isUnixHost(host: string): boolean {
  return host.startsWith('/') || host.startsWith('@');
}

/** Rejects with the system's error, with TlsFailed, or with an error of code ETIMEDOUT after the deadline. */
export function dial(target: DialTarget): Dial {
  const opened = open(target);
  const tls = isUnixHost(target.host) ? null : (target.tls ?? null);
  let current: Conn | null = null;
  let ended: Error | null = null;
  const giveUp = (error: Error) => {
    ended = error;
    opened.abort(error);
    current?.destroy(error);
  };
  const late = () => giveUp(new DialTimeout(target, current !== null));
  const timer = timeLimit(target.timeoutMs, late);
  const conn = opened.conn
    .then((plain) => {
      current = plain;
      if (ended !== null) throw ended;
      target.connected?.(plain);
      return tls === null ? plain : encrypt(plain, target.host, tls, (taking) => (current = taking));
    })
    .catch((error: Error) => {
      current?.destroy();
      throw ended ?? error;
    })
    .finally(() => clearTimeout(timer));
  return { conn, abort: () => giveUp(new Error('connection attempt was aborted')) };
}

/** Node's own time for each address but the last (autoSelectFamilyAttemptTimeout). */
const NEXT_ADDRESS_MS = 250;

interface Opening {
  readonly conn: Promise<Conn>;
  abort(error: Error): void;
}

function open(target: DialTarget): Opening {
  const unix = isUnixHost(target.host);
  const path = unix ? unixPath(target.host, target.port) : '';
  if (isAbstract(path)) return { conn: openAbstract(path, target.port), abort: () => {} };
  if (unix) return connecting((how) => connect({ path, ...how }), target.port);
  const { socketBuffer = 0 } = target;
  if (socketBuffer > 0 && sizedSocketsWork) return openSized(target, socketBuffer);
  const where = hostAndPort(target);
  return connecting((how) => connect({ ...where, ...how }), -1);
}

/** What a connection's socket is made with. */
type How = { noDelay: true; onread?: OnReadOpts };

/** `start` begins to connect. `unixPort` is the port a Unix socket stands for; -1 on TCP. */
function connecting(start: (how: How) => Socket, unixPort: number): Opening {
  const fast = fastConnsWork ? FastConn.dialling() : null;
  const socket = start({ noDelay: true, ...(fast === null ? {} : { onread: fast.onread }) });
  const conn = new Promise<Conn>((resolve, reject) => {
    const closed = () => reject(new Error('connection attempt was aborted'));
    const failed = (error: Error) => reject(explained(error));
    socket.once('error', failed);
    socket.once('close', closed);
    socket.once('connect', () => {
      socket.removeListener('error', failed);
      socket.removeListener('close', closed);
      resolve(fast === null ? new PlainConn(socket, DISCARD, unixPort) : fast.adopt(socket, DISCARD, unixPort));
    });
  });
  return { conn, abort: (error) => socket.connecting && socket.destroy(error) };
}

/** One address after the other; as Node does it where it makes the sockets, who does not answer at once is left for the next. */
function openSized(target: DialTarget, bytes: number): Opening {
  let current: Opening | null = null;
  let ended: Error | null = null;
  const attempt = (address: string): Opening =>
    connecting((how) => {
      const options: SocketConstructorOpts & How & { manualStart: true } = {
        ...how,
        fd: sizedSocket(address, bytes),
        readable: true,
        writable: true,
        // Nothing is there to be read before it is connected.
        manualStart: true,
      };
      return new Socket(options).connect({ host: address, port: target.port });
    }, -1);
  const conn = addressesOf(target).then(async (addresses) => {
    const failures: Error[] = [];
    for (const address of addresses) {
      if (ended !== null) throw ended;
      const opening = (current = attempt(address));
      const slow = () => opening.abort(new Error(`connect ETIMEDOUT ${address}:${target.port}`));
      const timer = address === addresses.at(-1) ? undefined : setTimeout(slow, NEXT_ADDRESS_MS);
      try {
        return await opening.conn;
      } catch (error) {
        failures.push(error as Error);
      } finally {
        clearTimeout(timer);
      }
    }
    throw failures.length === 1 ? failures[0]! : explained(allFailed(failures));
  });
  const abort = (error: Error) => {
    ended = error;
    current?.abort(error);
  };
  return { conn, abort };
}

async function addressesOf({ host, address, names }: DialTarget): Promise<readonly string[]> {
  if (address) return [address];
  if (isIP(host) !== 0) return [host];
  if (names) return names.addresses(host);
  return (await lookup(host, { all: true })).map((found) => found.address);
}

/** As Node puts it. */
function allFailed(failures: Error[]): Error {
  const error = new AggregateError(failures);
  const code = (failures[0] as { code?: string } | undefined)?.code;
  return code === undefined ? error : Object.assign(error, { code });
}

/** Where none of several addresses answers Node gives one error without words: those of each are put together. */
function explained(error: Error): Error {
  if (!(error instanceof AggregateError) || error.message !== '') return error;
  const { code } = error as { code?: string };
  const message = error.errors.map((each: Error) => each.message).join('; ');
  return Object.assign(new Error(message, { cause: error }), code === undefined ? {} : { code });
}

/** Connected at once, or refused. */
async function openAbstract(path: string, port: number): Promise<Conn> {
  const fd = connectedSocket(path);
  if (fastConnsWork) return FastConn.adopted(fd, DISCARD, port);
  return new PlainConn(new Socket({ fd, readable: true, writable: true }), DISCARD, port);
}

function hostAndPort({ host, port, address, names }: DialTarget) {
  if (address) return { host: address, port };
  return names ? { host, port, lookup: lookupBy(names) } : { host, port };
}

function lookupBy(names: Names): LookupFunction {
  return (host, options, callback) => {
    names.addresses(host).then(
      (addresses) => {
        const found = addresses.map((address) => ({ address, family: isIP(address) }));
        if (options.all) callback(null, found);
        else callback(null, found[0]!.address, found[0]!.family);
      },
      (error: NodeJS.ErrnoException) => callback(error, '', 0),
    );
  };
}

/** Asks the server for TLS and shakes hands; resolves with a plain connection where TLS is optional and not to be had. */
async function encrypt(plain: Conn, host: string, tls: DialTls, taking: (conn: Conn) => void): Promise<Conn> {
  if (!tls.direct && !(await serverHasTls(plain))) {
    if (tls.required) throw new TlsFailed('server refused SSL');
    return plain;
  }
  const { conn, ready } = connectTls(plain, tls.context, host);
  taking(conn);
  await ready;
  return conn;
}

/** SSLRequest and its answer of one byte. Anything more was not encrypted and may be forged: refused. */
async function serverHasTls(conn: Conn): Promise<boolean> {
  const reader = new PacketReader(conn, 1);
  const request = sslRequest();
  conn.write(request, 0, request.length);
  conn.resume();
  let answer: number;
  try {
    answer = await reader.byte(true);
  } catch (error) {
    throw error instanceof ConnectionEnded ? new TlsFailed('server closed the connection at the SSL request') : error;
  }
  if (answer === 0x53 || answer === 0x4e) {
    if (reader.buffered > 0) throw new TlsFailed('received unencrypted data after SSL response');
    reader.detach();
    conn.handler = DISCARD;
    return answer === 0x53;
  }
  // What it says is not to be believed: anybody on the way could have said it.
  if (answer === 0x45)
    throw new TlsFailed(
      'bad sslreq answer: the server sent an error, as it does when it can start no process; see its log',
    );
  throw new TlsFailed(`bad sslreq answer: 0x${answer.toString(16)}; is it a PostgreSQL server?`);
}
