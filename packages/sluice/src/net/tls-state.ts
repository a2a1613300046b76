/**
 * One side of a TLS connection without its socket: sealed bytes in, opened bytes out, and the other way round. All share two memory BIOs, which are
 * empty between two calls: OpenSSL keeps the beginning of a record in a buffer of its own, which it gives back when there is none, so an idle
 * connection has neither. Each call here leaves both empty, or says that more is to be fetched: what stayed behind would break the next one.
 */
import { X509Certificate } from 'node:crypto';
import type { SecureContext } from 'node:tls';
import { addressIn } from './libc.ts';
import { type Address, ALPN_NAMES, addressOfContext, type OpenSsl, openSsl } from './openssl.ts';
import { addressOfBytes, OPENED, openedAt, READ_BYTES, SEALED, sealedAt, stage } from './shared-bytes.ts';

/** Most that is taken in, or sealed, by one call. */
export const TLS_BYTES = READ_BYTES;
/** Most that one record carries (RFC 8446, section 5.1). */
const RECORD_BYTES = 16_384;

const SSL_ERROR_WANT_READ = 2;
const SSL_ERROR_ZERO_RETURN = 6;
const SSL_CTRL_MODE = 33;
const SSL_CTRL_SET_TLSEXT_HOSTNAME = 55;
const SSL_MODE_RELEASE_BUFFERS = 0x10;
const SSL_OP_NO_RENEGOTIATION = 2 ** 30;
const SSL_CTRL_GET_SHARED_GROUP = 93;
const BIO_CTRL_RESET = 1;
/** Kinds of key exchange. */
const NID_KX_ECDHE = 1_038;
const NID_KX_DHE = 1_039;

/** OpenSSL gives up on a connection: what it says of it. */
export class TlsFault extends Error {}

/** What all have in common, made with the first. */
interface Ground {
  readonly ssl: OpenSsl;
  /** What has arrived, and what is to be sent. */
  readonly arrived: Address;
  readonly leaving: Address;
  readonly alpnAt: Address;
  /** A pointer and a size, for answers by reference. */
  readonly cells: Buffer;
  readonly cellsAt: Address;
}
let ground: Ground | null = null;

function prepare(): Ground {
  const ssl = openSsl();
  if (ssl === null) throw new Error('bug: TLS without OpenSSL');
  const [arrived, leaving] = [ssl.BIO_new(ssl.BIO_s_mem()), ssl.BIO_new(ssl.BIO_s_mem())];
  const cells = Buffer.allocUnsafeSlow(16);
  ground = { ssl, arrived, leaving, alpnAt: addressIn(ALPN_NAMES), cells, cellsAt: addressIn(cells) };
  return ground;
}

/** Whose names were agreed on once. */
const KNOWN = new WeakMap<SecureContext, Address>();

/** Must be freed in the end; then it is dead, and nothing is read or written any more. */
export class TlsState {
  #ssl: Address;
  readonly #accepts: boolean;
  readonly #ground: Ground;
  /** Alive as long as this is. */
  readonly context: SecureContext;
  /** Nothing comes any more: the other side has said goodbye (no fault), or OpenSSL has given up. */
  end: { readonly fault: TlsFault | null } | null = null;

  /** For a client that begins. `asks`: for its certificate; without one it gets on, too. */
  static accepting(context: SecureContext, asks: boolean): TlsState {
    const state = new TlsState(context, true);
    const { ssl } = state.#ground;
    if (asks) ssl.askForCertificate(state.#ssl);
    // Nobody resumes, by our options; OpenSSL would send two tickets all the same.
    ssl.SSL_set_num_tickets(state.#ssl, 0);
    ssl.SSL_set_accept_state(state.#ssl);
    return state;
  }

  /** Towards a server. `name` is said to it (SNI), unless it is empty. */
  static connecting(context: SecureContext, name: string): TlsState {
    const state = new TlsState(context, false);
    const { ssl, alpnAt } = state.#ground;
    if (name !== '') ssl.SSL_ctrl_text(state.#ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, 0, name);
    ssl.SSL_set_alpn_protos(state.#ssl, alpnAt, ALPN_NAMES.length);
    ssl.SSL_set_connect_state(state.#ssl);
    return state;
  }

  private constructor(context: SecureContext, accepts: boolean) {
    this.#accepts = accepts;
    this.#ground = ground ?? prepare();
    this.context = context;
    const { ssl, arrived, leaving } = this.#ground;
    let at = KNOWN.get(context);
    if (at === undefined) {
      at = addressOfContext(context);
      ssl.agreeOnAlpn(at);
      KNOWN.set(context, at);
    }
    ssl.ERR_clear_error();
    this.#ssl = ssl.SSL_new(at);
    if (this.#ssl === 0) throw new TlsFault(this.#reason());
    // It gives back what it holds of them when it is freed.
    ssl.BIO_up_ref(arrived);
    ssl.BIO_up_ref(leaving);
    ssl.SSL_set_bio(this.#ssl, arrived, leaving);
    ssl.SSL_ctrl(this.#ssl, SSL_CTRL_MODE, SSL_MODE_RELEASE_BUFFERS, 0);
    ssl.SSL_set_options(this.#ssl, SSL_OP_NO_RENEGOTIATION);
  }

  free(): void {
    if (this.#ssl !== 0) this.#ground.ssl.SSL_free(this.#ssl);
    this.#ssl = 0;
  }

  /** Takes in what has arrived, `TLS_BYTES` at most. `shake` or `open` must follow at once, until there is nothing more. */
  take(buffer: Uint8Array, start: number, end: number): void {
    const { ssl, arrived } = this.#ground;
    ssl.ERR_clear_error();
    ssl.BIO_write(arrived, addressOfBytes(buffer, start, end) || stage(buffer, start, end), end - start);
  }

  /** Goes on with the handshake. True: it is done. What is to be sent waits for `unsent`, whatever becomes of it. */
  shake(): boolean {
    const { ssl } = this.#ground;
    ssl.ERR_clear_error();
    const returned = ssl.SSL_do_handshake(this.#ssl);
    if (returned !== 1) this.#stopped(returned);
    return returned === 1;
  }

  /**
   * Opens what `take` has been given, all of it, into `OPENED` from its beginning; returns how much. `end` tells that it was the last.
   * Something may wait for `unsent` then.
   */
  open(): number {
    const { ssl, arrived } = this.#ground;
    let size = 0;
    // Nothing may stay behind in what all share, whatever the other side sends.
    do {
      if (OPENED.length - size < RECORD_BYTES) {
        this.#reset();
        throw new Error('bug: more was taken in than can be opened');
      }
      const read = ssl.SSL_read(this.#ssl, openedAt + size, OPENED.length - size);
      if (read <= 0) {
        this.#stopped(read);
        break;
      }
      size += read;
    } while (ssl.BIO_ctrl_pending(arrived) > 0 || ssl.SSL_has_pending(this.#ssl) !== 0);
    return size;
  }

  /**
   * Seals `TLS_BYTES` at most into `SEALED`; returns how much it has become; 0: it failed, and this is at its `end`. Where that is all of `SEALED`,
   * as the other side takes small records only (RFC 6066, section 4), more waits for `unsent`.
   */
  seal(buffer: Uint8Array, start: number, end: number): number {
    const { ssl, leaving } = this.#ground;
    const at = addressOfBytes(buffer, start, end) || stage(buffer, start, end);
    const written = ssl.SSL_write(this.#ssl, at, end - start);
    if (written === end - start) return ssl.BIO_read(leaving, sealedAt, SEALED.length);
    this.#stopped(written);
    this.end ??= { fault: new TlsFault('what was to be sent could not be encrypted') };
    return 0;
  }

  /** Brings what waits to be sent (of the handshake, an alert, an update of keys, what `seal` had no room for) to `SEALED`; 0: nothing does. */
  unsent(): number {
    const { ssl, leaving } = this.#ground;
    return ssl.BIO_ctrl_pending(leaving) === 0 ? 0 : ssl.BIO_read(leaving, sealedAt, SEALED.length);
  }

  /** Says goodbye; it waits for `unsent`. */
  close(): void {
    this.#ground.ssl.ERR_clear_error();
    this.#ground.ssl.SSL_shutdown(this.#ssl);
  }

  /** The other side has agreed on PostgreSQL's protocol. */
  get isPostgres(): boolean {
    const { ssl, cells, cellsAt } = this.#ground;
    ssl.SSL_get0_alpn_selected(this.#ssl, cellsAt, cellsAt + 8);
    return cells.readUInt32LE(8) > 0;
  }

  /** The other side's certificate; null: it has shown none. */
  peer(): X509Certificate | null {
    const { ssl, cells, cellsAt } = this.#ground;
    const certificate = ssl.SSL_get1_peer_certificate(this.#ssl);
    if (certificate === 0) return null;
    try {
      const der = Buffer.allocUnsafeSlow(ssl.i2d_X509(certificate, 0));
      cells.writeBigUInt64LE(BigInt(addressIn(der)));
      ssl.i2d_X509(certificate, cellsAt);
      return new X509Certificate(der);
    } finally {
      ssl.X509_free(certificate);
    }
  }

  /** What is wrong with that certificate; null: nothing, or there is none. */
  verifyError(): string | null {
    const { ssl } = this.#ground;
    const result = ssl.SSL_get_verify_result(this.#ssl);
    return result === 0 ? null : (ssl.X509_verify_cert_error_string(result) ?? `error ${result}`);
  }

  /**
   * "TLSv1.3/TLS_AES_256_GCM_SHA384", behind it what PgBouncer knows of the key exchange (lib/usual/tls/tls_util.c): of clients before
   * TLS 1.3 its curve, "/ECDH=X25519".
   */
  description(): string {
    const { ssl } = this.#ground;
    const version = ssl.SSL_get_version(this.#ssl) ?? 'unknown';
    const cipher = ssl.SSL_get_current_cipher(this.#ssl);
    return `${version}/${ssl.SSL_CIPHER_get_name(cipher) ?? 'unknown'}${this.#accepts ? this.#exchange(cipher) : ''}`;
  }

  #exchange(cipher: Address): string {
    const { ssl } = this.#ground;
    const kind = ssl.SSL_CIPHER_get_kx_nid(cipher);
    if (kind === NID_KX_DHE) return '/DH=?';
    if (kind !== NID_KX_ECDHE) return '';
    return `/ECDH=${ssl.OBJ_nid2sn(ssl.SSL_ctrl(this.#ssl, SSL_CTRL_GET_SHARED_GROUP, 0, 0))}`;
  }

  /** A call has returned without success: it wants more to read, or was the last. */
  #stopped(returned: number): void {
    const error = this.#ground.ssl.SSL_get_error(this.#ssl, returned);
    if (error === SSL_ERROR_WANT_READ) return;
    this.#reset();
    this.end = { fault: error === SSL_ERROR_ZERO_RETURN ? null : new TlsFault(this.#reason()) };
  }

  /** What has not been looked at is of no use to anybody. */
  #reset(): void {
    const { ssl, arrived } = this.#ground;
    ssl.BIO_ctrl(arrived, BIO_CTRL_RESET, 0, 0);
  }

  #reason(): string {
    const { ssl } = this.#ground;
    const text = ssl.ERR_reason_error_string(ssl.ERR_get_error());
    ssl.ERR_clear_error();
    return text ?? 'the connection is broken';
  }
}
