/**
 * What a client has sent and must wait with, until it has a server or until answers have come. Nearly always that is one short query:
 * those lie in rooms that are used again and again, so that waiting makes no garbage.
 */
import { terminate } from '@sluice/wire';
import { BACKLOG_BYTES } from './bounds.ts';
import { exchangeEnd } from './glance.ts';

const TERMINATE = Buffer.from(terminate());
const ROOM_BYTES = 1_024;
/** As many rooms are kept for later as a busy daemon has clients that wait at one time. */
const MOST_ROOMS = 1_024;
/** Those that are free: the first `free`. Its length stays as it is, since an array that shrinks and grows costs calls of the runtime. */
const ROOMS = new Array<Buffer | null>(MOST_ROOMS).fill(null);
let free = 0;

export class Backlog {
  /** The bytes from `from` to `to`; null: nothing waits. */
  bytes: Buffer | null = null;
  from = 0;
  to = 0;

  get isFull(): boolean {
    return this.bytes !== null && this.to - this.from >= BACKLOG_BYTES;
  }

  /** The client has said goodbye in order. */
  get endsInTerminate(): boolean {
    const { bytes, from, to } = this;
    return (
      bytes !== null && to - from >= TERMINATE.length && TERMINATE.equals(bytes.subarray(to - TERMINATE.length, to))
    );
  }

  /** Copies bytes that wait behind those that are here. */
  add(buffer: Uint8Array, start: number, end: number): void {
    const bytes = this.#roomFor(end - start);
    if (end - start > ROOM_BYTES) bytes.set(buffer.subarray(start, end), this.to);
    else for (let at = start, to = this.to; at < end; at++, to++) bytes[to] = buffer[at]!;
    this.to += end - start;
  }

  /** Waits with a part of bytes that were `release`d and are nobody else's; they are not copied. */
  adopt(bytes: Buffer, from: number, to: number): void {
    this.bytes = bytes;
    this.from = from;
    this.to = to;
  }

  /** Nothing waits any more; what did is the caller's, who calls `leave` when it is done with. */
  release(): void {
    this.bytes = null;
  }

  /** Takes the first exchange out, if it is all there. */
  dropExchange(): boolean {
    const { bytes, from, to } = this;
    const end = bytes === null ? -1 : exchangeEnd(bytes.subarray(from, to));
    if (end < 0) return false;
    if (from + end < to) this.from += end;
    else this.clear();
    return true;
  }

  clear(): void {
    const { bytes } = this;
    this.bytes = null;
    if (bytes !== null) leave(bytes);
  }

  #roomFor(more: number): Buffer {
    const { bytes, from, to } = this;
    if (bytes === null) {
      const first = allocate(more);
      this.adopt(first, 0, 0);
      return first;
    }
    if (to + more <= bytes.length) return bytes;
    // By what waits, not by what has been there: much may go through while a little always waits.
    const used = to - from;
    const next = allocate(Math.max(used + more, 2 * used));
    next.set(bytes.subarray(from, to));
    this.adopt(next, 0, used);
    leave(bytes);
    return next;
  }
}

function allocate(size: number): Buffer {
  if (size > ROOM_BYTES) return Buffer.allocUnsafeSlow(size);
  return free > 0 ? ROOMS[--free]! : Buffer.allocUnsafeSlow(ROOM_BYTES);
}

/** Bytes in a room change as soon as it has been left: no part of them may be kept. */
export function isRoom(bytes: Buffer): boolean {
  return bytes.length === ROOM_BYTES;
}

/** What was released is done with. */
export function leave(bytes: Buffer): void {
  if (isRoom(bytes) && free < MOST_ROOMS) ROOMS[free++] = bytes;
}
