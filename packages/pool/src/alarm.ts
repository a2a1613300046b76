/** One timer for the pool's next deadline, however many there are. Owns the timer; what is due is the callback's affair. */

import { performance } from 'node:perf_hooks';
import { LONGEST_MS } from './timers.ts';

export class Alarm {
  /** Clock milliseconds for which it is set; Infinity: not set. */
  at = Number.POSITIVE_INFINITY;
  readonly #ring: (at: number, lateMs: number) => void;
  #timer: NodeJS.Timeout | null = null;
  /** When it is to ring, by the clock of timers. */
  #due = 0;
  #keepsAlive: boolean;

  /** `keepsAlive`: the process does not end while it is set. */
  constructor(ring: (at: number, lateMs: number) => void, keepsAlive: boolean) {
    this.#ring = ring;
    this.#keepsAlive = keepsAlive;
  }

  /** Milliseconds by which it is late, though it is set: the process has not run. */
  get lateMs(): number {
    return this.#timer === null ? 0 : Math.max(0, performance.now() - this.#due);
  }

  keepAlive(keepsAlive: boolean): void {
    if (keepsAlive === this.#keepsAlive) return;
    this.#keepsAlive = keepsAlive;
    if (keepsAlive) this.#timer?.ref();
    else this.#timer?.unref();
  }

  /** Rings at `when` or before; an earlier setting stands. */
  noLaterThan(when: number, now: number): void {
    const at = Math.max(when, now);
    if (at >= this.at) return;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.at = at;
    // A later deadline is reached in steps.
    const delay = Math.min(LONGEST_MS, Math.max(1, Math.ceil(at - now)));
    this.#due = performance.now() + delay;
    this.#timer = setTimeout(() => {
      const { lateMs } = this;
      this.#timer = null;
      this.at = Number.POSITIVE_INFINITY;
      this.#ring(at, lateMs);
    }, delay);
    if (!this.#keepsAlive) this.#timer.unref();
  }

  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.at = Number.POSITIVE_INFINITY;
  }
}
