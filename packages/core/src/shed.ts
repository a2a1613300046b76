/**
 * How long an entry is held, as a running mean, and the wait that follows from it. Owns one number, and the
 * question whether a newcomer's deadline can be met; the pool acts on it.
 */

import type { Pool } from './pool.ts';
import type { Waiter } from './waiter.ts';

/** Weight of the newest hold in the mean: about the last sixteen count. */
const NEWEST = 1 / 16;
/** Holds seen before an estimate is given; with fewer nobody is turned away. */
const ENOUGH = 8;

export class HoldEstimate {
  #meanMs = 0;
  #seen = 0;

  note(heldMs: number): void {
    this.#seen++;
    this.#meanMs += (heldMs - this.#meanMs) * (this.#seen < 1 / NEWEST ? 1 / this.#seen : NEWEST);
  }

  /** The mean hold in milliseconds; 0 before the first. */
  get meanMs(): number {
    return this.#meanMs;
  }

  /** Milliseconds until one with `ahead` others before it is served by `places` entries; 0 places: no bound, no wait. */
  expectedWaitMs(ahead: number, places: number): number {
    if (this.#seen < ENOUGH || places <= 0) return 0;
    return ((ahead + 1) * this.#meanMs) / places;
  }
}

/** Would the newcomer, by the present hold times, be served after its deadline? */
export function comesTooLate<T>(pool: Pool<T>, waiter: Waiter<T>): boolean {
  const { maxSize, reserveSize } = pool.policy;
  if (waiter.deadline === Number.POSITIVE_INFINITY || pool.size < maxSize) return false;
  const places = maxSize > 0 ? maxSize + reserveSize : 0;
  return waiter.since + pool.hold.expectedWaitMs(pool.queue.ahead(waiter), places) > waiter.deadline;
}
