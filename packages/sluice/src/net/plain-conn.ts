/**
 * Any socket the ordinary way: TLS, and everything on runtimes without the fast way. On Node TLS is read past the stream once the handshake
 * is done, into one buffer for all connections; what it has read of several records comes even to one that was paused by
 * the first, and is kept until it is resumed.
 */
import type { Socket } from 'node:net';
import { type Address, addressOf, type Conn, type ConnHandler, DISCARD, LINGER_MS, type TlsFacts } from './conn.ts';
import { coldRead } from './hot-loop.ts';
import { ReadGate } from './read-gate.ts';
import { fastConnsWork, type RawSocket, readStraight } from './straight-read.ts';
import { type Surrendered, surrendered } from './surrender.ts';
import { makeWay } from './turn-end.ts';

const SHARED = Buffer.allocUnsafeSlow(65_536);
/** A stream takes every write a little later: only more than this means that the other side does not read. */
const QUEUED_BYTES = 65_536;

export class PlainConn implements Conn {
  handler: ConnHandler;
  queued = 0;
  closed = false;
  /** On TLS: null until the handshake is done. */
  tls: TlsFacts | null = null;
  readonly #socket: RawSocket;
  readonly #reading: ReadGate;
  readonly #unixPort: number;
  #over = false;
  /** Somebody was told to stop. */
  #wasFull = false;
  /** Reading past the stream: what came while it was paused. Null: by the stream. */
  #straight: Buffer[] | null = null;
  /** The end has come, and goes by the stream. */
  #ending = false;
  #local: Address | null = null;
  #remote: Address | null = null;

  constructor(socket: Socket, handler: ConnHandler, unixPort: number) {
    this.handler = handler;
    this.#socket = socket as RawSocket;
    this.#reading = new ReadGate({ setReading: (on) => (on ? socket.resume() : socket.pause()) });
    this.#unixPort = unixPort;
    socket.on('data', (chunk: Buffer) => {
      coldRead();
      if (!this.closed) this.handler.onData(chunk, 0, chunk.length);
      if (this.tls !== null && this.#straight === null && !this.#ending) this.#readStraight();
    });
    socket.on('end', () => this.#finish(null));
    socket.on('error', (error) => this.#finish(error));
    socket.on('close', () => this.#finish(null));
  }

  /**
   * For TLS: gives the socket up, `rest` pushed back into it; this connection is closed without a call of `onClose`. What
   * is still queued leaves first, in plain: TLS writes through the same stream.
   */
  surrender(rest: Uint8Array): Surrendered | null {
    if (this.closed || this.tls !== null) return null;
    this.closed = true;
    this.#over = true;
    this.handler = DISCARD;
    return surrendered(this.#socket, rest, this.#unixPort);
  }

  get remote(): Address {
    this.#remote ??= addressOf(this.#socket.remoteAddress, this.#socket.remotePort, this.#unixPort);
    return this.#remote;
  }

  get local(): Address {
    this.#local ??= addressOf(this.#socket.localAddress, this.#socket.localPort, this.#unixPort);
    return this.#local;
  }

  get fd(): number {
    return this.#socket._handle?.fd ?? -1;
  }

  write(buffer: Uint8Array, start: number, end: number): boolean {
    if (this.closed) return true;
    makeWay();
    const copy = Buffer.from(buffer.subarray(start, end));
    this.queued += copy.length;
    this.#socket.write(copy, (error) => {
      this.queued -= copy.length;
      if (this.queued > 0 || !this.#wasFull) return;
      this.#wasFull = false;
      if (!error && !this.closed) this.handler.onDrain();
    });
    if (this.full) this.#wasFull = true;
    return !this.full;
  }

  get full(): boolean {
    return this.queued > QUEUED_BYTES;
  }

  gather(): void {}

  pause(): void {
    this.#reading.pause();
    this.#follow();
  }

  resume(): void {
    this.#reading.resume();
    this.#follow();
  }

  hold(held: boolean): void {
    this.#reading.hold(held);
    this.#follow();
  }

  end(lingerMs = LINGER_MS): void {
    if (this.closed) return;
    this.closed = true;
    this.#socket.end();
    this.#socket.resume();
    if (this.#straight !== null) this.#deliver();
    setTimeout(() => this.#socket.destroy(), lingerMs).unref();
  }

  destroy(error?: Error): void {
    this.closed = true;
    this.#socket.destroy(error);
  }

  /** What the stream has taken in already must come by it first. */
  #readStraight(): void {
    const handle = this.#socket._handle;
    if (!fastConnsWork || handle === null || this.#socket.readableLength > 0 || !this.#reading.open) return;
    if (!handle.useUserBuffer || !handle.readStart || !handle.readStop) return;
    const kept: Buffer[] = [];
    const arrived = (read: number) => {
      if (this.closed) return;
      if (this.#reading.open && kept.length === 0) this.handler.onData(SHARED, 0, read);
      else kept.push(Buffer.from(SHARED.subarray(0, read)));
    };
    // Node must be told at once: it looks at what the process's last read has come to. So what was kept goes back to it first.
    const ended = (tellNode: () => void) => {
      this.#straight = null;
      this.#ending = true;
      if (!this.closed) for (const chunk of kept) this.#socket.push(chunk);
      kept.length = 0;
      tellNode();
    };
    if (readStraight(handle, arrived, ended) === null) return;
    handle.useUserBuffer(SHARED);
    this.#straight = kept;
  }

  /** The handle reads as the gate says. */
  #follow(): void {
    if (this.#straight === null) return;
    if (!this.#reading.open) this.#socket._handle?.readStop?.();
    // Not at once: whoever resumes it is in the middle of something.
    else process.nextTick(() => this.#deliver());
  }

  #deliver(): void {
    const kept = this.#straight;
    if (kept === null) return;
    if (this.closed) kept.length = 0;
    while (kept.length > 0 && this.#reading.open) {
      const chunk = kept.shift()!;
      if (!this.closed) this.handler.onData(chunk, 0, chunk.length);
    }
    if (kept.length > 0) return;
    if (this.closed || this.#reading.open) this.#socket._handle?.readStart?.();
  }

  #finish(error: Error | null): void {
    if (this.#over) return;
    this.#over = true;
    this.closed = true;
    const { handler } = this;
    this.handler = DISCARD;
    this.#socket.destroy();
    handler.onClose(error);
  }
}
