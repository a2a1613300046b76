/**
 * The daemon's time, in milliseconds that never go back. It is read when something happens, and for the path of a query once a turn of
 * the event loop: what is answered in a turn has been asked in one before it.
 */

import { performance } from 'node:perf_hooks';
import { timeOfTurn } from '../net/turn-end.ts';

export class Clock {
  /** As of the last `update`, or `tick`. */
  now = performance.now();

  update(): number {
    this.now = performance.now();
    return this.now;
  }

  /** The time, no older than this turn of the event loop. */
  tick(): number {
    const time = timeOfTurn();
    if (time > this.now) this.now = time;
    return this.now;
  }

  /** Wall-clock microseconds since 1970 of a moment of this clock, for SHOW views and logs. */
  static wallMicros(moment: number): number {
    return Math.round((performance.timeOrigin + moment) * 1000);
  }
}
