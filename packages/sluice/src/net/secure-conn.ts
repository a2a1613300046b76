/** A connection on TLS above a plain one, which reads and writes its records: see tls-state.ts. */
import { type Address, type Conn, type ConnHandler, DISCARD, LINGER_MS, type TlsFacts } from './conn.ts';
import type { FastConn } from './fast-conn.ts';
import { OPENED, SEALED } from './shared-bytes.ts';
import type { Inspect } from './tls-shown.ts';
import { TLS_BYTES, type TlsState } from './tls-state.ts';

/** So long whoever is told by an alert why there will be no connection has to read it. */
const ALERT_MS = 500;

export class SecureConn implements Conn, ConnHandler {
  handler: ConnHandler = DISCARD;
  /** Null until the handshake is done. */
  tls: TlsFacts | null = null;
  /** Resolves when the handshake is done and `inspect` has found nothing. Rejects with its error, a TlsFault, or null: the other side has gone. */
  readonly ready: Promise<void>;
  readonly #under: FastConn;
  readonly #state: TlsState;
  readonly #inspect: Inspect;
  #settle!: { resolve(): void; reject(error: unknown): void };
  #isShaken = false;

  /** `rest`: what has arrived already of the handshake. */
  constructor(under: FastConn, state: TlsState, inspect: Inspect, rest: Uint8Array) {
    this.#under = under;
    this.#state = state;
    this.#inspect = inspect;
    this.ready = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
    under.handler = this;
    this.#shake();
    // Its data comes in a later turn, when somebody listens.
    if (rest.length > 0) this.onData(rest, 0, rest.length);
    under.resume();
  }

  onData(buffer: Uint8Array, start: number, end: number): void {
    for (let from = start; from < end && !this.closed; from += TLS_BYTES)
      this.#take(buffer, from, Math.min(end, from + TLS_BYTES));
  }

  #take(buffer: Uint8Array, start: number, end: number): void {
    const state = this.#state;
    state.take(buffer, start, end);
    if (!this.#isShaken) this.#shake();
    if (!this.#isShaken) return;
    let opened: number;
    try {
      opened = state.open();
    } finally {
      this.#sendUnsent();
    }
    if (opened > 0) this.handler.onData(OPENED, 0, opened);
    if (state.end !== null) this.#finish(state.end.fault);
  }

  #shake(): void {
    const isDone = this.#state.shake();
    this.#sendUnsent();
    if (this.#state.end !== null) {
      this.#settle.reject(this.#state.end.fault);
      this.#under.end(ALERT_MS);
      return;
    }
    if (!isDone) return;
    this.#isShaken = true;
    try {
      this.tls = this.#inspect(this.#state);
      this.#settle.resolve();
    } catch (error) {
      this.#settle.reject(error);
    }
  }

  #sendUnsent(): void {
    for (let size = this.#state.unsent(); size > 0; size = this.#state.unsent()) this.#under.write(SEALED, 0, size);
  }

  onDrain(): void {
    this.handler.onDrain();
  }

  onClose(error: Error | null): void {
    this.#state.free();
    this.#finish(error);
  }

  #finish(error: Error | null): void {
    const { handler } = this;
    this.handler = DISCARD;
    this.#settle.reject(error);
    this.#under.destroy();
    handler.onClose(error);
  }

  write(buffer: Uint8Array, start: number, end: number): boolean {
    if (this.closed || !this.#isShaken) return true;
    for (let from = start; from < end; from += TLS_BYTES) {
      const size = this.#state.seal(buffer, from, Math.min(end, from + TLS_BYTES));
      if (size > 0) this.#under.write(SEALED, 0, size);
      if (size === 0 || size === SEALED.length) this.#sendUnsent();
      if (size === 0) {
        this.destroy(this.#state.end?.fault ?? undefined);
        return true;
      }
    }
    return !this.full;
  }

  end(lingerMs = LINGER_MS): void {
    if (this.closed) return;
    if (this.#isShaken) {
      this.#state.close();
      this.#sendUnsent();
    }
    this.#under.end(lingerMs);
  }

  destroy(error?: Error): void {
    this.#under.destroy(error);
  }

  gather(): void {
    this.#under.gather();
  }

  pause(): void {
    this.#under.pause();
  }

  resume(): void {
    this.#under.resume();
  }

  hold(held: boolean): void {
    this.#under.hold(held);
  }

  get queued(): number {
    return this.#under.queued;
  }

  get full(): boolean {
    return this.#under.full;
  }

  get closed(): boolean {
    return this.#under.closed;
  }

  get remote(): Address {
    return this.#under.remote;
  }

  get local(): Address {
    return this.#under.local;
  }

  get fd(): number {
    return this.#under.fd;
  }
}
