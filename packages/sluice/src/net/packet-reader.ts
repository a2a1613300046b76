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

/** As many bytes of a header that makes no sense are shown. */
const HEX_BYTES = 8;

/** A message of a length that none has. */
export class BadHeader extends ProtocolError {
  /** In PgBouncer's words, for the log: alerts match on them. */
  readonly logged: string;

  constructor(message: string, hex: string) {
    super(message);
    this.name = 'BadHeader';
    this.logged = `bad packet header: '${hex}'`;
  }
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

const NOTHING = Buffer.alloc(0);

export class PacketReader implements ConnHandler {
  /** Largest message accepted, in bytes. */
  limit: number;
  /** What the other side is owed: whoever sends it something next sends this first, in one piece with it. */
  owed: Uint8Array = NOTHING;
  #pending: Buffer = NOTHING;
  #awaited: Awaited | null = null;
  #ended: Error | null = null;
  #onEnd: ((error: Error) => void) | null = null;
  readonly #conn: Conn;

  constructor(conn: Conn, limit: number) {
    this.limit = limit;
    this.#conn = conn;
    conn.handler = this;
  }

  /** The next message with a type byte; a promise where it is not here yet. Throws or rejects with ConnectionEnded or ProtocolError. */
  next(): Packet | Promise<Packet> {
    return this.#await('typed');
  }

  /** The next message without a type byte: the first of a connection. As `next`. */
  startup(): Packet | Promise<Packet> {
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
    this.#pending = NOTHING;
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

  #await(kind: Kind): Packet | Promise<Packet> {
    if (this.#awaited !== null) throw new Error('bug: two readers wait on one connection');
    const here = this.#take(kind);
    if (here !== null) return here;
    if (this.#ended !== null) throw this.#ended;
    return new Promise((resolve, reject) => {
      this.#awaited = { kind, resolve, reject };
    });
  }

  #deliver(): void {
    const awaited = this.#awaited;
    if (awaited === null) return;
    let packet: Packet | null;
    try {
      packet = this.#take(awaited.kind);
    } catch (error) {
      this.#awaited = null;
      awaited.reject(error as ProtocolError);
      return;
    }
    if (packet === null) return;
    this.#awaited = null;
    awaited.resolve(packet);
  }

  /** What has arrived; null: not all of it has. Throws a ProtocolError. */
  #take(kind: Kind): Packet | null {
    const data = this.#pending;
    if (kind === 'byte') return data.length === 0 ? null : { type: 0, body: data };
    const typed = kind === 'typed';
    const header = typed ? HEADER_BYTES : 4;
    if (data.length < header) return null;
    const length = typed ? lengthAt(data, 0) : data.readInt32BE(0);
    const size = typed ? length + 1 : length;
    if (size < header || size > this.limit) {
      const message = `message of ${size >>> 0} bytes (accepted here: ${header} to ${this.limit})`;
      throw new BadHeader(message, data.toString('hex', 0, HEX_BYTES));
    }
    if (data.length < size) return null;
    this.#pending = data.subarray(size);
    this.#conn.resume();
    return { type: typed ? data[0]! : 0, body: data.subarray(header, size) };
  }
}
