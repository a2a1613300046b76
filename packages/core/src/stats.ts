/** Counters of one pool since its start. Plain numbers, written by the pool, read by whoever reports. */
import { CLOSE_REASONS, type CloseReason, REFUSALS, type Refusal } from './states.ts';

export class PoolStats {
  /** Dials begun, finished and failed. */
  dials = 0;
  opened = 0;
  openFailed = 0;
  /** Entries handed out, at once or after waiting. */
  handouts = 0;
  /** Requests that had to wait and were served, and the milliseconds they waited, in sum and at most. */
  waits = 0;
  waitedMs = 0;
  maxWaitMs = 0;
  /** Dials taken from the reserve. */
  reserveDials = 0;
  readonly closed: Record<CloseReason, number> = zeroes(CLOSE_REASONS);
  readonly refused: Record<Refusal, number> = zeroes(REFUSALS);

  noteWait(waitedMs: number): void {
    this.waits++;
    this.waitedMs += waitedMs;
    if (waitedMs > this.maxWaitMs) this.maxWaitMs = waitedMs;
  }
}

function zeroes<K extends string>(keys: readonly K[]): Record<K, number> {
  return Object.fromEntries(keys.map((key) => [key, 0])) as Record<K, number>;
}
