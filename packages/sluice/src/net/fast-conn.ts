/**
 * Plain TCP and Unix sockets on Node, the fast way: all sockets read into one shared buffer, and writes go straight to the descriptor, so a
 * relayed message costs one read and one write and is never copied. Where the kernel takes less, the rest is copied and queued in the socket.
 *
 * It leans on things that Node does not document: `_handle.fd`, and that `_handle` becomes null in the same step that closes the descriptor.
 * The second is what keeps bytes from a descriptor that was closed and given to somebody else, so `write` looks at it every time.
 * `fastConnsWork` says whether the runtime has them. A third is done without where it is not there: `_handle.onread`, which is called for
 * each read, and `_handle.bytesRead`, which has then been added to. With it an accepted connection is a handle only, and under load not
 * even that (bare-handle.ts): Node's socket around it is made where there is need of one, for what waits to be written and for the end.
 */
import type { Socket } from 'node:net';
import { BareHandle } from './bare-handle.ts';
import { type Address, addressOf, type Conn, type ConnHandler, DISCARD, LINGER_MS, type TlsFacts } from './conn.ts';
import type { Watched } from './hot-loop.ts';
import { socketFor } from './node-socket.ts';
import { ReadGate } from './read-gate.ts';
import { findLoop, HOT, HOT_SHARED, hotAt, READ_BYTES, SHARED, send } from './shared-bytes.ts';
import {
  canHearReads,
  hearReads,
  type OnRead,
  type RawSocket,
  readStraight,
  type SocketHandle,
} from './straight-read.ts';
import { type Surrendered, surrendered } from './surrender.ts';
import { addLate, keepLate, LATE_BYTES, type Late, lateBytes, makeWay } from './turn-end.ts';

/** So long what was said before is waited for when nothing can be written any more. */
const BROKEN_MS = 500;

export class FastConn implements Conn, Late, Watched {
  handler: ConnHandler;
  queued = 0;
  closed = false;
  readonly tls: TlsFacts | null = null;
  /** Null: there was no need of one yet. */
  #socket: RawSocket | null;
  readonly #reading: ReadGate;
  /** Null: it is closed. */
  #handle: SocketHandle | null;
  readonly #fd: number;
  #over = false;
  /** Nothing can be written any more, and the end is still to be read. */
  #broken: Error | null = null;
  #gathers = false;
  /** Where its bytes are that leave at the end of the turn; -1: there are none. */
  #lateFrom = -1;
  #lateTo = 0;
  #local: Address | null = null;
  #remote: Address | null = null;
  readonly #unixPort: number;
  /** Node's own way of hearing of a read; null: it is used. */
  #nodesOnRead: OnRead | null = null;
  #coldReads = 0;
  #isHot = false;

  /** For accepted connections. `unixPort` is the port a Unix socket stands for; -1 on TCP. */
  static accepted(handle: SocketHandle, handler: ConnHandler, unixPort: number): FastConn {
    const conn = new FastConn(null, handle, handler, unixPort);
    conn.#hearReads(handle);
    return conn;
  }

  /** For connections accepted under load: hot from the beginning, with a handle of Node's only from where there is need of one. */
  static bare(handle: BareHandle, handler: ConnHandler, unixPort: number): FastConn {
    const conn = new FastConn(null, handle, handler, unixPort);
    conn.#isHot = HOT?.heat(handle.fd, conn) ?? false;
    if (!conn.#isHot) conn.#settle();
    return conn;
  }

  /** For a connection that exists as a descriptor: another process has passed it on, or the C library has accepted it. */
  static adopted(fd: number, handler: ConnHandler, unixPort: number): FastConn {
    let conn: FastConn | null = null;
    const socket = socketFor({ fd, readable: true, writable: true }, (n) => conn!.#arrived(n));
    if (unixPort < 0) socket.setNoDelay(true);
    conn = new FastConn(socket, socket._handle, handler, unixPort);
    socket.read(0);
    return conn;
  }

  /** The `onread` for `net.connect`, and what makes the connection of it once it is there. */
  static dialling(): { onread: { buffer: Buffer; callback: (n: number) => boolean }; adopt: Adopt } {
    let conn: FastConn | null = null;
    makeWay();
    return {
      onread: { buffer: SHARED, callback: (n) => conn!.#arrived(n) },
      adopt: (socket, handler, unixPort) => {
        conn = new FastConn(socket as RawSocket, (socket as RawSocket)._handle, handler, unixPort);
        return conn;
      },
    };
  }

  private constructor(socket: RawSocket | null, handle: SocketHandle | null, handler: ConnHandler, unixPort: number) {
    this.handler = handler;
    this.#socket = socket;
    this.#reading = new ReadGate(this);
    this.#handle = handle;
    this.#fd = handle?.fd ?? -1;
    this.#unixPort = unixPort;
    findLoop();
    if (!(handle instanceof BareHandle)) makeWay();
    if (socket !== null) this.#attend(socket);
  }

  #hearReads(handle: SocketHandle): void {
    if (!canHearReads(handle)) {
      this.#needSocket().read(0);
      return;
    }
    handle.useUserBuffer!(SHARED);
    hearReads(
      handle,
      (read) => this.#readCold(read),
      // The end, or an error: Node's socket knows how to take it.
      (chunk) => {
        this.#needSocket();
        this.#nodesOnRead?.call(handle, chunk);
      },
    );
    this.setReading(true);
  }

  /** A handle of Node's in place of the bare descriptor, which is cold. */
  #settle(): void {
    if (!(this.#handle instanceof BareHandle)) return;
    makeWay();
    try {
      this.#handle = this.#handle.settled();
      this.#hearReads(this.#handle);
    } catch (error) {
      this.closed = true;
      this.#close(error as Error);
    }
  }

  #attend(socket: RawSocket): void {
    if (this.#handle !== null) this.#nodesOnRead = readStraight(this.#handle, (read) => this.#readCold(read));
    socket.on('end', () => this.#finish(null));
    socket.on('error', (error) => this.#finish(error));
    socket.on('close', () => this.#finish(null));
  }

  /** Reads what may have come with the connection (TCP_DEFER_ACCEPT). */
  begin(): void {
    if (this.#isHot) this.readable();
  }

  /** Node's socket, around the handle as it is. */
  #needSocket(): RawSocket {
    if (this.#socket !== null) return this.#socket;
    this.#socket = socketFor({ handle: this.#handle }, (n) => this.#arrived(n));
    this.#attend(this.#socket);
    return this.#socket;
  }

  /** Is the descriptor still this connection's? */
  #isOpen(): boolean {
    return this.#handle !== null && (this.#socket === null || this.#socket._handle === this.#handle);
  }

  #close(error?: Error): void {
    if (this.#socket !== null) {
      this.#socket.destroy(error);
      return;
    }
    const handle = this.#handle;
    if (handle === null) return;
    this.#handle = null;
    handle.onread = () => {};
    handle.close();
    process.nextTick(() => this.#finish(error ?? null));
  }

  #readCold(read: number): void {
    this.#arrived(read);
    if (HOT?.wants(++this.#coldReads) && this.#handle !== null) this.#heat(this.#handle);
  }

  #heat(handle: SocketHandle): void {
    if (this.closed || this.#isHot || this.queued > 0 || !this.#reading.open || !this.#isOpen()) return;
    if (handle.readStop === undefined || handle.readStart === undefined) return;
    this.#isHot = HOT!.heat(this.#fd, this);
    if (this.#isHot) handle.readStop();
  }

  /** Before anything that gives the descriptor away or wants it read no more. */
  cool(): void {
    if (!this.#isHot) return;
    this.#leaveLoop();
    makeWay();
    if (this.#handle instanceof BareHandle) this.#settle();
    else if (this.#isOpen()) this.#handle!.readStart!();
  }

  /** Before anything that closes the descriptor. */
  #leaveLoop(): void {
    if (!this.#isHot) return;
    this.#isHot = false;
    HOT!.forget(this.#fd, this);
  }

  readable(): void {
    if (!this.#isOpen()) {
      this.#leaveLoop();
      return;
    }
    let read: number;
    try {
      read = HOT!.receive(this.#fd, hotAt, READ_BYTES);
    } catch (error) {
      this.#finish(error as Error);
      return;
    }
    if (read > 0) this.handler.onData(HOT_SHARED, 0, read);
    // At once: nobody may be served by what has ended, or counted with it.
    else if (read === 0) this.#finish(null);
  }

  /** For TLS: gives the socket up, `rest` pushed back into it; this connection is closed without a call of `onClose`. */
  surrender(rest: Uint8Array): Surrendered | null {
    this.sendLate();
    if (this.closed || this.queued > 0 || !this.#isOpen()) return null;
    this.cool();
    const socket = this.#needSocket();
    this.closed = true;
    this.#over = true;
    this.handler = DISCARD;
    if (this.#nodesOnRead !== null) this.#handle!.onread = this.#nodesOnRead;
    return surrendered(socket, rest, this.#unixPort);
  }

  /** Closes the descriptor here without ending the connection, which another process has now. `onClose` does not follow. */
  letGo(): void {
    this.sendLate();
    this.#leaveLoop();
    this.closed = true;
    this.#over = true;
    this.handler = DISCARD;
    this.#close();
  }

  get remote(): Address {
    this.#remote ??= this.#addressBy('getpeername');
    return this.#remote;
  }

  get local(): Address {
    this.#local ??= this.#addressBy('getsockname');
    return this.#local;
  }

  #addressBy(call: 'getpeername' | 'getsockname'): Address {
    const name: { address?: string; port?: number } = {};
    if (this.#unixPort < 0 && this.#isOpen()) this.#handle![call]?.(name);
    return addressOf(name.address, name.port, this.#unixPort);
  }

  /** The descriptor, for socket options and for handing it to another process; -1 when closed. */
  get fd(): number {
    return this.#isOpen() ? this.#fd : -1;
  }

  get full(): boolean {
    return this.queued > 0;
  }

  gather(): void {
    this.#gathers = true;
  }

  write(buffer: Uint8Array, start: number, end: number): boolean {
    if (this.closed || this.#broken !== null) return true;
    if (this.#lateFrom >= 0) {
      if (end - start <= LATE_BYTES && addLate(this.#lateTo, buffer, start, end)) {
        this.#lateTo += end - start;
        return true;
      }
      this.sendLate();
    }
    if (!this.#gathers || this.queued > 0 || end - start > LATE_BYTES) return this.#write(buffer, start, end);
    this.#lateFrom = keepLate(this, buffer, start, end);
    this.#lateTo = this.#lateFrom + end - start;
    return true;
  }

  sendLate(): void {
    if (this.#lateFrom < 0) return;
    const from = this.#lateFrom;
    this.#lateFrom = -1;
    this.#write(lateBytes(), from, this.#lateTo);
  }

  #write(buffer: Uint8Array, start: number, end: number): boolean {
    if (this.closed || this.#broken !== null) return true;
    if (this.queued > 0) return this.#enqueue(buffer, start, end);
    if (!this.#isOpen()) return true;
    let written = 0;
    try {
      written = send(this.#fd, buffer, start, end);
    } catch (error) {
      this.#break(error as NodeJS.ErrnoException);
      return true;
    }
    return written === end - start || this.#enqueue(buffer, start + written, end);
  }

  pause(): void {
    this.cool();
    this.#reading.pause();
  }

  /** For its gate. */
  setReading(on: boolean): void {
    if (this.#socket !== null) {
      if (on) this.#socket.resume();
      else this.#socket.pause();
    } else if (this.#handle !== null && !(this.#handle instanceof BareHandle) && this.#handle.reading !== on) {
      this.#handle.reading = on;
      if (on) this.#handle.readStart!();
      else this.#handle.readStop!();
    }
  }

  resume(): void {
    this.#reading.resume();
  }

  hold(held: boolean): void {
    this.cool();
    this.#reading.hold(held);
  }

  end(lingerMs = LINGER_MS): void {
    if (this.closed) return;
    this.sendLate();
    this.cool();
    this.closed = true;
    const socket = this.#needSocket();
    socket.end();
    socket.resume();
    setTimeout(() => socket.destroy(), lingerMs).unref();
  }

  destroy(error?: Error): void {
    this.sendLate();
    this.#leaveLoop();
    this.closed = true;
    this.#close(error);
  }

  #arrived(n: number): boolean {
    if (!this.closed) this.handler.onData(SHARED, 0, n);
    return true;
  }

  #enqueue(buffer: Uint8Array, start: number, end: number): boolean {
    // From here on a failed write may close the descriptor.
    this.cool();
    makeWay();
    const rest = Buffer.from(buffer.subarray(start, end));
    this.queued += rest.length;
    this.#needSocket().write(rest, (error) => {
      this.queued -= rest.length;
      if (!error && this.queued === 0 && !this.closed) this.handler.onDrain();
    });
    return false;
  }

  /**
   * A write failed. Where the other side is gone, what it has said before is still to be read (PostgreSQL says why), and behind it is the end.
   * Otherwise the close is reported from a fresh stack, since the writer is in the middle of something.
   */
  #break(error: NodeJS.ErrnoException): void {
    this.cool();
    if (this.#reading.open && (error.code === 'EPIPE' || error.code === 'ECONNRESET')) {
      this.#broken = error;
      // A peer that has only stopped to read does not end by itself.
      setTimeout(() => this.#finish(error), BROKEN_MS).unref();
      return;
    }
    this.closed = true;
    this.#close(error);
  }

  #finish(error: Error | null): void {
    if (this.#over) return;
    this.#leaveLoop();
    this.#over = true;
    this.closed = true;
    const { handler } = this;
    this.handler = DISCARD;
    this.#close();
    handler.onClose(error ?? this.#broken);
  }
}

export type Adopt = (socket: Socket, handler: ConnHandler, unixPort: number) => Conn;
