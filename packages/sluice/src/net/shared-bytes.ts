/** The memory that all plain connections read into, and where the C library finds it and whatever else is written. */
import { writeSync } from 'node:fs';
import { type HotLoop, hotLoop } from './hot-loop.ts';
import { addressIn } from './libc.ts';
import { lateBytes } from './turn-end.ts';

/** What one read brings at most. */
export const READ_BYTES = 65_536;
/** What libuv has read. */
export const SHARED = Buffer.allocUnsafeSlow(READ_BYTES);
/** What a hot read brings; it may come while what a cold one brought is still being looked at. */
export const HOT_SHARED = Buffer.allocUnsafeSlow(READ_BYTES);
/** For short writes of any other memory: cheaper to copy than to ask where it is. */
const OUT = Buffer.allocUnsafeSlow(512);
const LATE = lateBytes();
/** What TLS connections have opened: what one read brings, the beginning of a record before it, and room for one that is looked for. */
export const OPENED = Buffer.allocUnsafeSlow(READ_BYTES + 2 * 16_640);
/** What they have sealed, with its headers. */
export const SEALED = Buffer.allocUnsafeSlow(READ_BYTES + 2_048);
/** For longer pieces of any other memory. */
const STAGE = Buffer.allocUnsafeSlow(READ_BYTES);
/** Up to here they are copied there rather than sent the way that Node has, which takes any memory. */
const STAGED_BYTES = 4_096;

/** Null where connections are never hot, and before there is one. */
export let HOT: HotLoop | null = null;
/** Where `HOT_SHARED` is. */
export let hotAt = 0;
let sharedAt = 0;
let lateAt = 0;
let outAt = 0;
export let openedAt = 0;
export let sealedAt = 0;
let stageAt = 0;

export function findLoop(): void {
  HOT = hotLoop();
  if (HOT === null || sharedAt !== 0) return;
  sharedAt = addressIn(SHARED);
  hotAt = addressIn(HOT_SHARED);
  lateAt = addressIn(LATE);
  outAt = addressIn(OUT);
  openedAt = addressIn(OPENED);
  sealedAt = addressIn(SEALED);
  stageAt = addressIn(STAGE);
}

/** How many bytes the descriptor's socket has taken of these. Throws the system's error. */
export function send(fd: number, buffer: Uint8Array, start: number, end: number): number {
  const address = HOT === null ? 0 : addressOfBytes(buffer, start, end);
  if (address !== 0) return Math.max(0, HOT!.send(fd, address, end - start));
  try {
    return writeSync(fd, buffer, start, end - start);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return 0;
    throw error;
  }
}

/** Where a call to the C library finds these bytes; 0: nowhere. */
export function addressOfBytes(buffer: Uint8Array, start: number, end: number): number {
  if (buffer === HOT_SHARED) return hotAt + start;
  if (buffer === SHARED) return sharedAt + start;
  if (buffer === LATE) return lateAt + start;
  if (buffer === SEALED) return sealedAt + start;
  if (buffer === OPENED) return openedAt + start;
  if (end - start > OUT.length) return end - start > STAGED_BYTES ? 0 : stage(buffer, start, end);
  for (let i = start, to = 0; i < end; i++, to++) OUT[to] = buffer[i]!;
  return outAt;
}

/** Copies `READ_BYTES` at most to where a call to the C library finds them. */
export function stage(buffer: Uint8Array, start: number, end: number): number {
  STAGE.set(buffer.subarray(start, end));
  return stageAt;
}
