/**
 * Connections that become TLS, in both roles. A plain connection takes its place behind one on TLS. Who may or must use TLS is decided
 * elsewhere; here only a handshake that has passed every check asked for makes a connection ready. Where it can be had the TLS is our
 * own use of OpenSSL (secure-conn.ts), elsewhere Node's (node-tls.ts).
 */
import type { X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import type { SecureContext } from 'node:tls';
import type { Conn, TlsFacts } from './conn.ts';
import { FastConn } from './fast-conn.ts';
import { acceptByNode, connectByNode } from './node-tls.ts';
import { openSsl } from './openssl.ts';
import { ConnectionEnded } from './packet-reader.ts';
import { SecureConn } from './secure-conn.ts';
import { commonName, endPointHash, speaksFor } from './tls-cert.ts';
import type { ClientTls, ServerTls } from './tls-context.ts';
import { opensslReason } from './tls-reason.ts';
import type { Inspect, Shown } from './tls-shown.ts';
import { TlsState } from './tls-state.ts';

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
  const context = needed(tls.context);
  return upgraded(
    plain,
    (shown) => lookAtClient(shown, tls, direct),
    (under, inspect) => new SecureConn(under, TlsState.accepting(context, tls.asksCertificate), inspect, rest),
    (inspect) =>
      acceptByNode(plain, { context, asks: tls.asksCertificate, needs: tls.needsCertificate }, rest, inspect),
  );
}

/** Begins a handshake with a server. `host` is the configured one: it is what `verify-full` compares. */
export function connectTls(plain: Conn, tls: ServerTls, host: string): Upgrade {
  const context = needed(tls.context);
  const name = isIP(host) === 0 ? host : '';
  return upgraded(
    plain,
    (shown) => lookAtServer(shown, tls, host),
    (under, inspect) => new SecureConn(under, TlsState.connecting(context, name), inspect, NOTHING),
    (inspect) => connectByNode(plain, context, { host, name }, inspect),
  );
}

const NOTHING = new Uint8Array(0);

/** By OpenSSL for all, or by Node for all: contexts of the one are none for the other. */
function upgraded(
  plain: Conn,
  inspect: Inspect,
  ours: (under: FastConn, inspect: Inspect) => SecureConn,
  nodes: (inspect: Inspect) => ReturnType<typeof acceptByNode>,
): Upgrade {
  if (plain.closed) throw new ConnectionEnded(null);
  const isOurs = openSsl() !== null;
  const begun = isOurs ? plain instanceof FastConn && withReady(ours(plain, inspect)) : nodes(inspect);
  if (!begun) throw new TlsFailed('the connection cannot change to TLS now');
  const { conn, ready } = begun;
  return {
    conn,
    ready: ready.catch((error: Error | null) => {
      const why = explain(error);
      if (!(why instanceof TlsFailed && why.tellable)) conn.destroy();
      throw why;
    }),
  };
}

function withReady(conn: SecureConn) {
  return { conn, ready: conn.ready };
}

function lookAtClient(shown: Shown, tls: ClientTls, direct: boolean): TlsFacts {
  if (direct && !shown.isPostgres)
    throw new TlsFailed('received direct SSL connection request without ALPN protocol negotiation extension', true);
  const peer = shown.peer();
  if (tls.needsCertificate && peer === null) throw new TlsFailed('TLS client certificate required', true);
  const wrong = peer === null ? null : shown.verifyError();
  if (wrong !== null) throw new TlsFailed(`certificate verify failed: ${wrong}`, true);
  return {
    description: shown.description(),
    endPoint: tls.endPoint,
    peerName: peer === null || !tls.asksCertificate ? null : commonName(peer),
  };
}

function lookAtServer(shown: Shown, tls: ServerTls, host: string): TlsFacts {
  const peer = shown.peer();
  if (tls.verify !== 'no') checkServer(shown, peer, tls.verify === 'full' ? host : null);
  return {
    description: shown.description(),
    endPoint: peer === null ? null : endPointHash(peer.raw),
    peerName: peer === null || tls.verify === 'no' ? null : commonName(peer),
  };
}

function checkServer(shown: Shown, peer: X509Certificate | null, host: string | null): void {
  if (peer === null) throw new TlsFailed('certificate verify failed: the server shows no certificate');
  const wrong = shown.verifyError();
  if (wrong !== null) throw new TlsFailed(`certificate verify failed: ${wrong}; check server_tls_ca_file`);
  if (host !== null && !speaksFor(peer, host))
    throw new TlsFailed(
      `certificate verify failed: the server's certificate is for ${namesOf(peer)}, not for "${host}"; connect by a name that it has, or use server_tls_sslmode=verify-ca`,
    );
}

function namesOf(certificate: X509Certificate): string {
  return certificate.subjectAltName ?? `"${commonName(certificate) || 'nobody'}"`;
}

function needed(context: SecureContext | null): SecureContext {
  if (context === null) throw new Error('bug: TLS is disabled and was begun');
  return context;
}

/** A connection that just ended is no failure of TLS. */
function explain(error: (NodeJS.ErrnoException & { reason?: string }) | null): Error {
  if (error instanceof TlsFailed) return error;
  if (error === null || error.code === 'ECONNRESET' || error.code === 'EPIPE') return new ConnectionEnded(null);
  return new TlsFailed(`TLS handshake error: ${error.reason ?? opensslReason(error.message) ?? error.message}`);
}
