/** Outgoing connections: TCP or Unix, with a deadline. */
import { connect, type Socket } from 'node:net';
import { type Conn, DISCARD } from './conn.ts';
import { FastConn, fastConnsWork } from './fast-conn.ts';
import { PlainConn } from './plain-conn.ts';

export interface DialTarget {
  /** A name, an address, or for a Unix socket the directory that holds it. */
  host: string;
  port: number;
  /** Milliseconds until the attempt is given up; 0: never. */
  timeoutMs: number;
}

/** A dial under way. */
export interface Dial {
  readonly conn: Promise<Conn>;
  /** Gives up; the promise is rejected. */
  abort(): void;
}

/** The path that libpq and PostgreSQL use for a server's Unix socket. */
export function unixPath(directory: string, port: number): string {
  const path = `${directory}/.s.PGSQL.${port}`;
  return directory.startsWith('@') ? `\0${path.slice(1)}` : path;
}

export function isUnixHost(host: string): boolean {
  return host.startsWith('/') || host.startsWith('@');
}

/** Rejects with the system's error, or with one of code ETIMEDOUT after the deadline. */
export function dial(target: DialTarget): Dial {
  const unix = isUnixHost(target.host);
  const where = unix ? { path: unixPath(target.host, target.port) } : { host: target.host, port: target.port };
  const unixPort = unix ? target.port : -1;
  const fast = fastConnsWork ? FastConn.dialling() : null;
  const options = { ...where, noDelay: true, ...(fast === null ? {} : { onread: fast.onread }) };
  const socket: Socket = connect(options);
  const conn = new Promise<Conn>((resolve, reject) => {
    const timer =
      target.timeoutMs > 0 ? setTimeout(() => socket.destroy(timedOut(target)), target.timeoutMs) : undefined;
    const failed = (error: Error) => {
      clearTimeout(timer);
      reject(error);
    };
    socket.once('error', failed);
    socket.once('close', () => failed(new Error('connection attempt was aborted')));
    socket.once('connect', () => {
      clearTimeout(timer);
      socket.removeListener('error', failed);
      resolve(fast === null ? new PlainConn(socket, DISCARD, unixPort) : fast.adopt(socket, DISCARD, unixPort));
    });
  });
  return { conn, abort: () => socket.destroy(new Error('connection attempt was aborted')) };
}

function timedOut(target: DialTarget): Error {
  const error: NodeJS.ErrnoException = new Error(
    `no answer from ${target.host}:${target.port} within ${target.timeoutMs / 1000} s (server_connect_timeout)`,
  );
  error.code = 'ETIMEDOUT';
  return error;
}
