/**
 * The server's side of SCRAM-SHA-256 and -PLUS (RFC 5802, 7677, 5929), as PostgreSQL does it. A state machine without I/O:
 * `first`, then `final`. With `doomed` it goes through the motions for a user that does not exist, and fails at the end.
 */
import { decodeText, encodeText } from '../text.ts';
import { type CryptoPort, fromBase64, toBase64 } from './crypto.ts';
import type { ScramSecret } from './secret.ts';

/** What a proof reveals: with the client key one can log in to any server with the same secret. */
export interface ScramKeys {
  clientKey: Uint8Array;
  serverKey: Uint8Array;
  /** The secret these keys belong to, so that they are not used against another. */
  storedKey: Uint8Array;
}

export interface ScramServerOptions {
  mechanism: string;
  /** Hash of our certificate on a TLS connection (tls-server-end-point), else null. */
  endPoint: Uint8Array | null;
  doomed: boolean;
}

export type ScramOutcome = { ok: true; message: Uint8Array; keys: ScramKeys } | { ok: false; reason: string };

/** A malformed or forbidden message of the client's. */
export class ScramError extends Error {
  readonly code = '28P01';

  constructor(message: string) {
    super(message);
    this.name = 'ScramError';
  }
}

const PLUS = 'SCRAM-SHA-256-PLUS';
const NONCE_BYTES = 18;

export class ScramServer {
  readonly #crypto: CryptoPort;
  readonly #secret: ScramSecret;
  readonly #options: ScramServerOptions;
  #header = '';
  #nonce = '';
  #transcript = '';

  constructor(crypto: CryptoPort, secret: ScramSecret, options: ScramServerOptions) {
    this.#crypto = crypto;
    this.#secret = secret;
    this.#options = options;
  }

  /** Takes client-first-message, returns server-first-message. Throws ScramError. */
  first(data: Uint8Array): Uint8Array {
    const text = decodeText(data);
    const match = /^(n|y|p=([A-Za-z0-9.-]+)),(a=[^,]*)?,(n=[^,]*,r=([\x21-\x2b\x2d-\x7e]+)(?:,.*)?)$/.exec(text);
    if (match === null) throw new ScramError('malformed SCRAM message: client-first-message');
    const [, flag, binding, authorization, bare, nonce] = match;
    this.#checkBinding(flag!, binding);
    if (authorization !== undefined)
      throw new ScramError('client uses authorization identity, but it is not supported');
    this.#header = `${flag},,`;
    this.#nonce = nonce! + toBase64(this.#crypto.randomBytes(NONCE_BYTES));
    const answer = `r=${this.#nonce},s=${toBase64(this.#secret.salt)},i=${this.#secret.iterations}`;
    this.#transcript = `${bare},${answer}`;
    return encodeText(answer);
  }

  /** Takes client-final-message. */
  final(data: Uint8Array): ScramOutcome {
    const text = decodeText(data);
    const match = /^(c=([A-Za-z0-9+/=]+),r=([\x21-\x2b\x2d-\x7e]+)(?:,[^p][^,]*)*),p=([A-Za-z0-9+/=]+)$/.exec(text);
    const proof = match === null ? null : fromBase64(match[4]!);
    if (match === null || proof === null || proof.length !== 32)
      return { ok: false, reason: 'malformed SCRAM message: client-final-message' };
    const [, withoutProof, binding, nonce] = match;
    if (nonce !== this.#nonce) return { ok: false, reason: 'SCRAM nonce does not match' };
    if (binding !== this.#expectedBinding()) return { ok: false, reason: 'SCRAM channel binding check failed' };
    const auth = encodeText(`${this.#transcript},${withoutProof}`);
    const { storedKey, serverKey } = this.#secret;
    const signature = this.#crypto.hmacSha256(storedKey, auth);
    const clientKey = new Uint8Array(proof.length);
    for (let i = 0; i < proof.length; i++) clientKey[i] = proof[i]! ^ signature[i]!;
    const matches = this.#crypto.timingSafeEqual(this.#crypto.sha256(clientKey), storedKey);
    if (!matches || this.#options.doomed) return { ok: false, reason: 'wrong password' };
    const message = encodeText(`v=${toBase64(this.#crypto.hmacSha256(serverKey, auth))}`);
    return { ok: true, message, keys: { clientKey, serverKey, storedKey } };
  }

  #checkBinding(flag: string, binding: string | undefined): void {
    const plus = this.#options.mechanism === PLUS;
    if (binding !== undefined) {
      if (!plus) throw new ScramError('client asks for channel binding without SCRAM-SHA-256-PLUS');
      if (binding !== 'tls-server-end-point')
        throw new ScramError(`unsupported SCRAM channel-binding type "${binding}"`);
    } else if (plus) throw new ScramError('client chose SCRAM-SHA-256-PLUS without channel binding');
    // 'y': the client could bind, and believes that we cannot. If we offered it, somebody took the offer away.
    if (flag === 'y' && this.#options.endPoint !== null)
      throw new ScramError('SCRAM channel binding negotiation error: the offer was tampered with');
  }

  #expectedBinding(): string {
    const header = encodeText(this.#header);
    const { endPoint } = this.#options;
    if (!this.#header.startsWith('p') || endPoint === null) return toBase64(header);
    const both = new Uint8Array(header.length + endPoint.length);
    both.set(header);
    both.set(endPoint, header.length);
    return toBase64(both);
  }
}
