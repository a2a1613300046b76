/**
 * The end of a turn of the event loop, and small writes that leave together there, in the order in which they came: what a turn
 * has for clients reaches them at once, so that a program with many connections wakes up once for many answers, and servers get
 * their next work first. Owns the bytes until then; whose they are is the connection's.
 */

import { performance } from 'node:perf_hooks';

/** A connection that has bytes here. */
export interface Late {
  /** Sends them. Must not throw. */
  sendLate(): void;
}

function nothing(): void {}

/** What is to be done when the turn ends, in order: the first `ends`. Not emptied by its length, which costs a call of the runtime. */
const ENDS: (() => void)[] = [];
let ends = 0;
let endedByHand = false;

/** Calls `end`, which must not throw, once, when what the event loop has for this turn is done. */
export function atTurnEnd(end: () => void): void {
  ENDS[ends++] = end;
  if (ends === 1 && !endedByHand) setImmediate(endTurn);
}

/** The turn ends now. */
export function endTurn(): void {
  for (let i = 0; i < ends; i++) {
    ENDS[i]!();
    ENDS[i] = nothing;
  }
  ends = 0;
  timeIsRead = false;
}

/** While `byHand`, turns end only by `endTurn`: somebody takes several in one of Node's. */
export function endTurnsByHand(byHand: boolean): void {
  endedByHand = byHand;
  timeIsRead = false;
  if (!byHand && ends > 0) setImmediate(endTurn);
}

let timeIsRead = false;
let time = 0;

/** Milliseconds as of `performance.now`, read at the first call in a turn: a reading costs as much as a small message. */
export function timeOfTurn(): number {
  if (timeIsRead) return time;
  timeIsRead = true;
  if (!endedByHand) atTurnEnd(nothing);
  time = performance.now();
  return time;
}

let libuvIsDue = false;

/** Something was begun that libuv has to see to (a read, a write that waits, a dial): who takes turns by hand makes way for it. */
export function makeWay(): void {
  libuvIsDue = true;
}

export function libuvDue(): boolean {
  return libuvIsDue;
}

/** Whether somebody asked to `makeWay` since the last call. */
export function wayAsked(): boolean {
  const asked = libuvIsDue;
  libuvIsDue = false;
  return asked;
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
  if (count === 0) atTurnEnd(sendAll);
  WAITING[count++] = conn;
  return append(buffer, start, end);
}

/** Adds to bytes that end at `to`. False: something else came in between, or there is no room. */
export function addLate(to: number, buffer: Uint8Array, start: number, end: number): boolean {
  if (to !== used || used + end - start > ARENA.length) return false;
  append(buffer, start, end);
  return true;
}

/** Where they are; the same buffer always. */
export function lateBytes(): Buffer {
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
