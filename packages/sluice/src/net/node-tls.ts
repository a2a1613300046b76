/** TLS by Node's own sockets: where OpenSSL cannot be called (openssl.ts), and for connections that are Node's. */
import { X509Certificate } from 'node:crypto';
import { connect, type PeerCertificate, type SecureContext, TLSSocket } from 'node:tls';
import { type Conn, DISCARD, type TlsFacts } from './conn.ts';
import { FastConn } from './fast-conn.ts';
import { PlainConn } from './plain-conn.ts';
import type { Surrendered } from './surrender.ts';
import type { Inspect, Shown } from './tls-shown.ts';

const ALPN = 'postgresql';

interface Begun {
  readonly conn: Conn;
  /** Rejects with Node's error; null: the other side has gone. */
  readonly ready: Promise<void>;
}

/** Null: the connection cannot be given up now. */
export function acceptByNode(
  plain: Conn,
  { context, asks, needs }: { context: SecureContext; asks: boolean; needs: boolean },
  rest: Uint8Array,
  inspect: Inspect,
): Begun | null {
  const given = surrender(plain, rest);
  if (given === null) return null;
  const socket = new TLSSocket(given.socket, {
    isServer: true,
    secureContext: context,
    requestCert: asks,
    rejectUnauthorized: needs,
    ALPNProtocols: [ALPN],
  });
  return handshake(socket, given.unixPort, 'secure', () => inspect(shownBy(socket, () => clientError(socket))));
}

/** `name` is said to the server (SNI), unless it is empty. */
export function connectByNode(
  plain: Conn,
  context: SecureContext,
  { host, name }: { host: string; name: string },
  inspect: Inspect,
): Begun | null {
  const given = surrender(plain, new Uint8Array(0));
  if (given === null) return null;
  const socket = connect({
    socket: given.socket,
    host,
    servername: name,
    secureContext: context,
    ALPNProtocols: [ALPN],
    // Checked by whoever inspects, in one place for all modes.
    rejectUnauthorized: false,
    checkServerIdentity: () => undefined,
  });
  return handshake(socket, given.unixPort, 'secureConnect', () => inspect(shownBy(socket, () => serverError(socket))));
}

function surrender(plain: Conn, rest: Uint8Array): Surrendered | null {
  return plain instanceof FastConn || plain instanceof PlainConn ? plain.surrender(rest) : null;
}

/** Resolves when `facts` has accepted what the handshake showed. */
function handshake(
  socket: TLSSocket,
  unixPort: number,
  done: 'secure' | 'secureConnect',
  facts: () => TlsFacts,
): Begun {
  const conn = new PlainConn(socket, DISCARD, unixPort);
  // Asked for now: a socket that has closed does not know them any more.
  void conn.remote;
  void conn.local;
  const ready = new Promise<void>((resolve, reject) => {
    socket.once('error', reject);
    socket.once('close', () => reject(null));
    socket.once(done, () => {
      try {
        conn.tls = facts();
        resolve();
      } catch (error) {
        reject(error);
      }
    });
  });
  return { conn, ready };
}

function shownBy(socket: TLSSocket, verifyError: () => string | null): Shown {
  return {
    isPostgres: socket.alpnProtocol === ALPN,
    peer() {
      const certificate = socket.getPeerCertificate() as PeerCertificate | null;
      return certificate?.raw === undefined ? null : new X509Certificate(certificate.raw);
    },
    verifyError,
    description: () => `${socket.getProtocol() ?? 'unknown'}/${socket.getCipher()?.name ?? 'unknown'}`,
  };
}

function serverError(socket: TLSSocket): string | null {
  if (socket.authorized === true) return null;
  const said = socket.authorizationError as unknown;
  const code = said instanceof Error ? said.message : String(said ?? 'not verified');
  return code.toLowerCase().replaceAll('_', ' ');
}

/**
 * Node tells it in `authorized` for sockets of its own servers only, and its handle knows for the others; Bun has no such handle and sets
 * `authorized` always.
 */
function clientError(socket: TLSSocket): string | null {
  const handle = (socket as unknown as { _handle: { verifyError?: () => Error | null } | null })._handle;
  if (typeof handle?.verifyError === 'function') return handle.verifyError()?.message ?? null;
  if (process.versions.bun === undefined) return 'this runtime cannot verify it';
  return socket.authorized === true ? null : String(socket.authorizationError ?? 'not verified');
}
