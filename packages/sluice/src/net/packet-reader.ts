/**
 * Whole messages, one promise each: for logins, which are linear. The relay does not use it. Bounded: a message over the
 * limit is an error before it is read.
 */
import { HEADER_BYTES, lengthAt, ProtocolError } from '@sluice/wire';
import type { Conn, ConnHandler } from './conn.ts';

export interface Packet {
  /** Type byte; 0 for messages without one (startup). */
  readonly type: number;
  readonly body: Uint8Array;
}

/** The connection ended while a message was awaited. */
export class ConnectionEnded extends Error {
  constructor(cause: Error | null) {
    super(cause === null ? 'connection closed by the other side' : cause.message, cause === null ? {} : { cause });
    this.name = 'ConnectionEnded';
  }
}

/** What is awaited: a message with a type byte, one without, or any byte at all. */
type Kind = 'typed' | 'untyped' | 'byte';

interface Awaited {
  kind: Kind;
  resolve(packet: Packet): void;
  reject(error: Error): void;
}

const NOTHING = new Uint8Array(0);

export class PacketReader implements ConnHandler {
  /** Largest message accepted, in bytes. */
  limit: number;
  /** What the other side is owed: whoever sends it something next sends this first, in one piece with it. */
  owed: Uint8Array = NOTHING;
  #pending: Buffer = Buffer.alloc(0);
  #awaited: Awaited | null = null;
  #ended: Error | null = null;
  #onEnd: ((error: Error) => void) | null = null;
  readonly #conn: Conn;

  constructor(conn: Conn, limit: number) {
    this.limit = limit;
    this.#conn = conn;
    conn.handler = this;
  }

  /** The next message with a type byte. Rejects with ConnectionEnded or ProtocolError. */
  next(): Promise<Packet> {
    return this.#await('typed');
  }

  /** The next message without a type byte: the first of a connection. */
  startup(): Promise<Packet> {
    return this.#await('untyped');
  }

  /** The next byte, by itself; it is read (`take`) or left for the next message. */
  async byte(take: boolean): Promise<number> {
    await this.#await('byte');
    const byte = this.#pending[0]!;
    if (take) this.#pending = this.#pending.subarray(1);
    return byte;
  }

  /** Something has arrived that was not asked for yet. */
  get buffered(): number {
    return this.#pending.length;
  }

  /** Called once when the connection ends, also while nothing is awaited. */
  onEnd(listener: (error: Error) => void): void {
    if (this.#ended !== null) listener(this.#ended);
    else this.#onEnd = listener;
  }

  /** Ends the reader; the connection is for another handler. Returns what has arrived beyond the last message. */
  detach(): Buffer {
    const rest = this.#pending;
    this.#pending = Buffer.alloc(0);
    this.#onEnd = null;
    return rest;
  }

  onData(buffer: Buffer, start: number, end: number): void {
    this.#pending =
      this.#pending.length === 0
        ? Buffer.from(buffer.subarray(start, end))
        : Buffer.concat([this.#pending, buffer.subarray(start, end)]);
    this.#deliver();
    if (this.#pending.length > this.limit + 65_536) this.#conn.pause();
  }

  onDrain(): void {}

  onClose(error: Error | null): void {
    this.#ended = new ConnectionEnded(error);
    const awaited = this.#awaited;
    this.#awaited = null;
    awaited?.reject(this.#ended);
    this.#onEnd?.(this.#ended);
  }

  #await(kind: Kind): Promise<Packet> {
    if (this.#awaited !== null) throw new Error('bug: two readers wait on one connection');
    return new Promise((resolve, reject) => {
      this.#awaited = { kind, resolve, reject };
      this.#deliver();
      if (this.#awaited !== null && this.#ended !== null) {
        this.#awaited = null;
        reject(this.#ended);
      }
    });
  }

  #deliver(): void {
    const awaited = this.#awaited;
    if (awaited === null) return;
    const data = this.#pending;
    if (awaited.kind === 'byte') {
      if (data.length === 0) return;
      this.#awaited = null;
      awaited.resolve({ type: 0, body: data });
      return;
    }
    const typed = awaited.kind === 'typed';
    const header = typed ? HEADER_BYTES : 4;
    if (data.length < header) return;
    const length = typed ? lengthAt(data, 0) : data.readInt32BE(0);
    const size = typed ? length + 1 : length;
    if (size < header || size > this.limit) {
      this.#awaited = null;
      awaited.reject(new ProtocolError(`message of ${size} bytes (accepted here: ${header} to ${this.limit})`));
      return;
    }
    if (data.length < size) return;
    this.#pending = data.subarray(size);
    this.#awaited = null;
    this.#conn.resume();
    awaited.resolve({ type: typed ? data[0]! : 0, body: data.subarray(header, size) });
  }
}
