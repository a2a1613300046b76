/**
 * The client's side of SCRAM-SHA-256 and -PLUS, as libpq does it: from a password, or from the keys that a client of ours
 * proved to us (pass-through). A state machine without I/O: `first`, `answer`, `verify`.
 */
import { decodeText, encodeText } from '../text.ts';
import { type CryptoPort, fromBase64, toBase64 } from './crypto.ts';
import { saslprep } from './saslprep.ts';
import { ScramError, type ScramKeys } from './scram-server.ts';

export type ScramSource = { password: string } | { keys: ScramKeys };

export interface ScramClientOptions {
  /** What the server offers. */
  mechanisms: readonly string[];
  /** Hash of the server's certificate on a TLS connection, else null. */
  endPoint: Uint8Array | null;
}

/** More would let a hostile server keep us busy. PostgreSQL's default is 4096. */
const MAX_ITERATIONS = 10_000_000;
const NONCE_BYTES = 18;
const PLAIN = 'SCRAM-SHA-256';
const PLUS = 'SCRAM-SHA-256-PLUS';

export class ScramClient {
  readonly #crypto: CryptoPort;
  readonly #source: ScramSource;
  readonly #plus: boolean;
  readonly #endPoint: Uint8Array | null;
  readonly #header: string;
  readonly #nonce: string;
  #serverKey: Uint8Array = new Uint8Array(0);
  #auth: Uint8Array = new Uint8Array(0);

  /** Throws ScramError when the server offers nothing that is known here. */
  constructor(crypto: CryptoPort, source: ScramSource, { mechanisms, endPoint }: ScramClientOptions) {
    this.#crypto = crypto;
    this.#source = source;
    this.#endPoint = endPoint;
    this.#plus = endPoint !== null && mechanisms.includes(PLUS);
    if (!this.#plus && !mechanisms.includes(PLAIN))
      throw new ScramError(`server offers SASL mechanisms ${mechanisms.join(', ')}, none of which is supported`);
    this.#header = this.#plus ? 'p=tls-server-end-point,,' : endPoint === null ? 'n,,' : 'y,,';
    this.#nonce = toBase64(crypto.randomBytes(NONCE_BYTES));
  }

  first(): { mechanism: string; data: Uint8Array } {
    return { mechanism: this.#plus ? PLUS : PLAIN, data: encodeText(`${this.#header}${this.#bare()}`) };
  }

  /** Takes server-first-message, returns client-final-message. Rejects with ScramError. */
  async answer(data: Uint8Array): Promise<Uint8Array> {
    const text = decodeText(data);
    const match = /^r=([\x21-\x2b\x2d-\x7e]+),s=([A-Za-z0-9+/=]+),i=(\d{1,9})(?:,.*)?$/.exec(text);
    const salt = match === null ? null : fromBase64(match[2]!);
    if (match === null || salt === null) throw new ScramError('malformed SCRAM message: server-first-message');
    const [, nonce, , count] = match;
    const iterations = Number(count);
    if (!nonce!.startsWith(this.#nonce) || nonce!.length === this.#nonce.length)
      throw new ScramError('SCRAM nonce of the server does not extend ours');
    if (iterations < 1 || iterations > MAX_ITERATIONS)
      throw new ScramError(`server asks for ${iterations} SCRAM iterations (accepted: 1 to ${MAX_ITERATIONS})`);
    const { clientKey, serverKey } = await this.#keys(salt, iterations);
    this.#serverKey = serverKey;
    const withoutProof = `c=${this.#binding()},r=${nonce}`;
    this.#auth = encodeText(`${this.#bare()},${text},${withoutProof}`);
    const signature = this.#crypto.hmacSha256(this.#crypto.sha256(clientKey), this.#auth);
    const proof = clientKey.map((byte, i) => byte ^ signature[i]!);
    return encodeText(`${withoutProof},p=${toBase64(proof)}`);
  }

  /** Takes server-final-message. Throws ScramError unless the server proves that it knows the secret. */
  verify(data: Uint8Array): void {
    const text = decodeText(data);
    if (text.startsWith('e=')) throw new ScramError(`server refused: ${text.slice(2)}`);
    const match = /^v=([A-Za-z0-9+/=]+)(?:,.*)?$/.exec(text);
    const given = match === null ? null : fromBase64(match[1]!);
    const expected = this.#crypto.hmacSha256(this.#serverKey, this.#auth);
    if (given === null || !this.#crypto.timingSafeEqual(given, expected))
      throw new ScramError('the server does not know the secret it should know (SCRAM server signature is wrong)');
  }

  #bare(): string {
    return `n=,r=${this.#nonce}`;
  }

  #binding(): string {
    const header = encodeText(this.#header);
    if (!this.#plus) return toBase64(header);
    const both = new Uint8Array(header.length + this.#endPoint!.length);
    both.set(header);
    both.set(this.#endPoint!, header.length);
    return toBase64(both);
  }

  async #keys(salt: Uint8Array, iterations: number): Promise<{ clientKey: Uint8Array; serverKey: Uint8Array }> {
    if ('keys' in this.#source) return this.#source.keys;
    const salted = await this.#crypto.pbkdf2Sha256(encodeText(saslprep(this.#source.password)), salt, iterations);
    return {
      clientKey: this.#crypto.hmacSha256(salted, encodeText('Client Key')),
      serverKey: this.#crypto.hmacSha256(salted, encodeText('Server Key')),
    };
  }
}
