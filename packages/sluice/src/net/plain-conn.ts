/** Any duplex stream the ordinary way: TLS sockets, and every socket on runtimes without the fast way. */
import type { Socket } from 'node:net';
import { type Address, type Conn, type ConnHandler, DISCARD, LINGER_MS, type TlsFacts } from './conn.ts';
import { addressOf, type RawSocket, type Surrendered, surrendered } from './fast-conn.ts';
import { ReadGate } from './read-gate.ts';
import { makeWay } from './turn-end.ts';

export class PlainConn implements Conn {
  handler: ConnHandler;
  queued = 0;
  closed = false;
  /** On TLS: null until the handshake is done. */
  tls: TlsFacts | null = null;
  readonly #socket: Socket;
  readonly #reading: ReadGate;
  readonly #unixPort: number;
  #over = false;
  #local: Address | null = null;
  #remote: Address | null = null;

  constructor(socket: Socket, handler: ConnHandler, unixPort: number) {
    this.handler = handler;
    this.#socket = socket;
    this.#reading = new ReadGate(socket);
    this.#unixPort = unixPort;
    socket.on('data', (chunk: Buffer) => {
      makeWay();
      if (!this.closed) this.handler.onData(chunk, 0, chunk.length);
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
    return (this.#socket as RawSocket)._handle?.fd ?? -1;
  }

  write(buffer: Uint8Array, start: number, end: number): boolean {
    if (this.closed) return true;
    makeWay();
    const copy = Buffer.from(buffer.subarray(start, end));
    this.queued += copy.length;
    const taken = this.#socket.write(copy, (error) => {
      this.queued -= copy.length;
      if (!error && this.queued === 0 && !this.closed) this.handler.onDrain();
    });
    return taken;
  }

  gather(): void {}

  pause(): void {
    this.#reading.pause();
  }

  resume(): void {
    this.#reading.resume();
  }

  hold(held: boolean): void {
    this.#reading.hold(held);
  }

  end(lingerMs = LINGER_MS): void {
    if (this.closed) return;
    this.closed = true;
    this.#socket.end();
    this.#socket.resume();
    setTimeout(() => this.#socket.destroy(), lingerMs).unref();
  }

  destroy(error?: Error): void {
    this.closed = true;
    this.#socket.destroy(error);
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
