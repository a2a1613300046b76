/** What a pool asks of whoever owns the real connections: the daemon's servers, the library's clients, the simulator. */
import type { Entry } from './entry.ts';
import type { CloseReason } from './states.ts';

/**
 * Each call is answered later, or at once, by the pool method named. A call never throws: trouble is an answer too.
 */
export interface PoolPort<T> {
  /** Dial and log in; set `entry.value`. Answer: `opened`, or `openFailed` when nothing is left to close. */
  open(entry: Entry<T>): void;
  /** Is it alive? Answer: `checked`. */
  check(entry: Entry<T>): void;
  /** Make it clean. Answer: `resetDone`. */
  reset(entry: Entry<T>): void;
  /** Close it, in whatever state it is. Answer: `closed`, once the place that it took at the database is free. */
  close(entry: Entry<T>, reason: CloseReason): void;
}
