/**
 * Connections that become TLS, in both roles. A plain connection gives up its socket and a connection on TLS takes its
 * place. Who may or must use TLS is decided elsewhere; here only a handshake that has passed every check asked for
 * makes a connection ready.
 */

import { X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { connect, type PeerCertificate, type SecureContext, TLSSocket } from 'node:tls';
import { type Conn, DISCARD, type TlsFacts } from './conn.ts';
import { FastConn } from './fast-conn.ts';
import { ConnectionEnded } from './packet-reader.ts';
import { PlainConn } from './plain-conn.ts';
import type { Surrendered } from './surrender.ts';
import { commonName, endPointHash, speaksFor } from './tls-cert.ts';
import type { ClientTls, ServerTls } from './tls-context.ts';

/** PostgreSQL's protocol in ALPN (TLS identifier registered with IANA); direct TLS cannot go without. */
const ALPN = 'postgresql';

/** The handshake failed, or what it showed is not acceptable. */
export class TlsFailed extends Error {
  /** The other side can be told: the handshake is done, and what is sent now is read. */
  readonly tellable: boolean;

  constructor(message: string, tellable = false) {
    super(message);
    this.name = 'TlsFailed';
    this.tellable = tellable;
  }
}

export interface Upgrade {
  /** Takes the place of the old connection at once; carries data when it is ready. */
  readonly conn: Conn;
  /** Rejects with TlsFailed, or with ConnectionEnded when the other side went away. */
  readonly ready: Promise<void>;
}

export interface AcceptOptions {
  /** The client began with TLS, without asking (sslnegotiation=direct). */
  readonly direct: boolean;
  /** What has arrived already of the handshake. */
  readonly rest: Uint8Array;
}

/** Serves a client's handshake. The new connection's data must be listened to at once: it may follow in one piece. */
export function acceptTls(plain: Conn, tls: ClientTls, { direct, rest }: AcceptOptions): Upgrade {
  const { socket: raw, unixPort } = surrender(plain, rest);
  const socket = new TLSSocket(raw, {
    isServer: true,
    secureContext: needed(tls.context),
    requestCert: tls.asksCertificate,
    rejectUnauthorized: tls.needsCertificate,
    ALPNProtocols: [ALPN],
  });
  const conn = new PlainConn(socket, DISCARD, unixPort);
  const ready = handshake(conn, socket, 'secure', () => {
    if (direct && socket.alpnProtocol !== ALPN)
      throw new TlsFailed('received direct SSL connection request without ALPN protocol negotiation extension', true);
    const peer = peerOf(socket);
    if (tls.needsCertificate && peer === null) throw new TlsFailed('TLS client certificate required', true);
    const wrong = peer === null ? null : verifyError(socket);
    if (wrong !== null) throw new TlsFailed(`certificate verify failed: ${wrong}`, true);
    return {
      description: describe(socket),
      endPoint: tls.endPoint,
      peerName: peer === null || !tls.asksCertificate ? null : commonName(peer),
    };
  });
  return { conn, ready };
}

/** Begins a handshake with a server. `host` is the configured one: it is what `verify-full` compares. */
export function connectTls(plain: Conn, tls: ServerTls, host: string): Upgrade {
  const { socket: raw, unixPort } = surrender(plain, new Uint8Array(0));
  const socket = connect({
    socket: raw,
    host,
    servername: isIP(host) === 0 ? host : '',
    secureContext: needed(tls.context),
    ALPNProtocols: [ALPN],
    // Checked below, in one place for all modes.
    rejectUnauthorized: false,
    checkServerIdentity: () => undefined,
  });
  const conn = new PlainConn(socket, DISCARD, unixPort);
  const ready = handshake(conn, socket, 'secureConnect', () => {
    const peer = peerOf(socket);
    if (tls.verify !== 'no') checkServer(socket, peer, tls.verify === 'full' ? host : null);
    return {
      description: describe(socket),
      endPoint: peer === null ? null : endPointHash(peer.raw),
      peerName: peer === null || tls.verify === 'no' ? null : commonName(peer),
    };
  });
  return { conn, ready };
}

function checkServer(socket: TLSSocket, peer: X509Certificate | null, host: string | null): void {
  if (peer === null) throw new TlsFailed('certificate verify failed: the server shows no certificate');
  if (socket.authorized !== true) {
    const said = socket.authorizationError as unknown;
    const code = said instanceof Error ? said.message : String(said ?? 'not verified');
    throw new TlsFailed(
      `certificate verify failed: ${code.toLowerCase().replaceAll('_', ' ')}; check server_tls_ca_file`,
    );
  }
  if (host !== null && !speaksFor(peer, host))
    throw new TlsFailed(
      `certificate verify failed: the server's certificate is for ${namesOf(peer)}, not for "${host}"; connect by a name that it has, or use server_tls_sslmode=verify-ca`,
    );
}

function namesOf(certificate: X509Certificate): string {
  return certificate.subjectAltName ?? `"${commonName(certificate) || 'nobody'}"`;
}

function surrender(plain: Conn, rest: Uint8Array): Surrendered {
  const given = plain instanceof FastConn || plain instanceof PlainConn ? plain.surrender(rest) : null;
  if (given !== null) return given;
  throw plain.closed ? new ConnectionEnded(null) : new TlsFailed('the connection cannot change to TLS now');
}

function needed(context: SecureContext | null): SecureContext {
  if (context === null) throw new Error('bug: TLS is disabled and was begun');
  return context;
}

/** Resolves when `facts` has accepted what the handshake showed; anything else closes the connection. */
function handshake(
  conn: PlainConn,
  socket: TLSSocket,
  done: 'secure' | 'secureConnect',
  facts: () => TlsFacts,
): Promise<void> {
  // Asked for now: a socket that has closed does not know them any more.
  void conn.remote;
  void conn.local;
  return new Promise((resolve, reject) => {
    const failed = (error: Error) => {
      reject(error);
      if (!(error instanceof TlsFailed && error.tellable)) conn.destroy();
    };
    socket.once('error', (error: NodeJS.ErrnoException) => failed(explain(error)));
    socket.once('close', () => failed(new ConnectionEnded(null)));
    socket.once(done, () => {
      try {
        conn.tls = facts();
        resolve();
      } catch (error) {
        failed(error as Error);
      }
    });
  });
}

/** OpenSSL's reason without its number and library; a connection that just ended is no failure of TLS. */
function explain(error: NodeJS.ErrnoException & { reason?: string }): Error {
  if (error.code === 'ECONNRESET' || error.code === 'EPIPE') return new ConnectionEnded(null);
  const parts = /^(?:.*:)?error:[0-9A-F]+:(.+)$/s.exec(error.message)?.[1]?.trim().split(':');
  return new TlsFailed(`TLS handshake error: ${error.reason ?? parts?.[2] ?? error.message}`);
}

/** "TLSv1.3/TLS_AES_256_GCM_SHA384", as SHOW CLIENTS and the log have it. */
function describe(socket: TLSSocket): string {
  return `${socket.getProtocol() ?? 'unknown'}/${socket.getCipher()?.name ?? 'unknown'}`;
}

function peerOf(socket: TLSSocket): X509Certificate | null {
  const certificate = socket.getPeerCertificate() as PeerCertificate | null;
  return certificate?.raw === undefined ? null : new X509Certificate(certificate.raw);
}

/**
 * Why the client's certificate is not valid; null: it is. Node tells it in `authorized` for sockets of its own servers
 * only, and its handle knows for the others; Bun has no such handle and sets `authorized` always.
 */
function verifyError(socket: TLSSocket): string | null {
  const handle = (socket as unknown as { _handle: { verifyError?: () => Error | null } | null })._handle;
  if (typeof handle?.verifyError === 'function') return handle.verifyError()?.message ?? null;
  if (process.versions.bun === undefined) return 'this runtime cannot verify it';
  return socket.authorized === true ? null : String(socket.authorizationError ?? 'not verified');
}
