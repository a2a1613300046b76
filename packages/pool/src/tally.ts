/** The library's own counters, beside the core's. Plain numbers; whoever reports reads them. */
import { Histogram } from './histogram.ts';

export class Tally {
  acquires = 0;
  queries = 0;
  queryErrors = 0;
  checks = 0;
  checksFailed = 0;
  resets = 0;
  resetsFailed = 0;
  cancels = 0;
  evictions = 0;
  leaks = 0;
  reclaimed = 0;
  deadlocks = 0;
  staleHandles = 0;
  clockJumps = 0;
  retries = 0;
  readonly dialMs = new Histogram();
  readonly waitMs = new Histogram();
  readonly useMs = new Histogram();
}
