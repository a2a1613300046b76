/**
 * Small writes that leave together at the end of the event loop's turn, in the order in which they came: what a turn has for
 * clients reaches them at once, so that a program with many connections wakes up once for many answers, and servers get their
 * next work first. Owns the bytes until then; whose they are is the connection's.
 */

/** A connection that has bytes here. */
export interface Late {
  /** Sends them. Must not throw. */
  sendLate(): void;
}

/** The largest write that is kept. */
export const LATE_BYTES = 2_048;
/** As many connections wait at most: in a long turn nobody waits for its end. */
const MOST = 64;

const ARENA = Buffer.allocUnsafeSlow(MOST * LATE_BYTES);
let used = 0;
/** The first `count` wait. */
const WAITING = new Array<Late | null>(MOST).fill(null);
let count = 0;

/** Keeps bytes, `LATE_BYTES` at most, for a connection that has none here. Returns where they begin in `lateBytes`. */
export function keepLate(conn: Late, buffer: Uint8Array, start: number, end: number): number {
  if (count === MOST || used + end - start > ARENA.length) sendAll();
  if (count === 0) setImmediate(sendAll);
  WAITING[count++] = conn;
  return append(buffer, start, end);
}

/** Adds to bytes that end at `to`. False: something else came in between, or there is no room. */
export function addLate(to: number, buffer: Uint8Array, start: number, end: number): boolean {
  if (to !== used || used + end - start > ARENA.length) return false;
  append(buffer, start, end);
  return true;
}

export function lateBytes(): Uint8Array {
  return ARENA;
}

function append(buffer: Uint8Array, start: number, end: number): number {
  const at = used;
  // Answers are short: a loop is faster than a view and a copy.
  for (let i = start; i < end; i++) ARENA[used++] = buffer[i]!;
  return at;
}

function sendAll(): void {
  for (let i = 0; i < count; i++) {
    WAITING[i]!.sendLate();
    WAITING[i] = null;
  }
  count = used = 0;
}
