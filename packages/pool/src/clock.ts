/**
 * The pool's time: milliseconds that never go back, read once an operation. Owns the detection of clock jumps: when wall
 * time moved further than monotonic time, the process was frozen or the machine slept, and its connections aged without
 * it. Knows no pool.
 */
import { performance } from 'node:perf_hooks';

/** Wall time may run ahead of monotonic time by this much, and a timer be late by it, before the process counts as having stood still. */
export const JUMP_MS = 1_000;

export interface TimeSource {
  wall(): number;
  monotonic(): number;
}

const SYSTEM: TimeSource = { wall: () => Date.now(), monotonic: () => performance.now() };

export class Clock {
  /** As of the last `refresh`. */
  now: number;
  /** Called with the milliseconds that were slept through, before anything else uses the new time. */
  onJump: ((ms: number) => void) | null = null;
  readonly #source: TimeSource;
  #wall: number;
  #monotonic: number;
  /** `now` when both clocks were last read together. */
  #base: number;

  constructor(source: TimeSource = SYSTEM) {
    this.#source = source;
    this.#wall = source.wall();
    this.#monotonic = source.monotonic();
    this.now = this.#monotonic;
    this.#base = this.now;
  }

  /** Reads the clock. Wall time on the short way, for it is one cheap call; both after a pause or a step back. */
  refresh(): number {
    const wall = this.#source.wall();
    const passed = wall - this.#wall;
    if (passed >= 0 && passed <= JUMP_MS) {
      this.#wall = wall;
      return (this.now += passed);
    }
    return this.#settle(wall, passed);
  }

  /** A timer set for `at` has fired: it is not earlier than that, whatever the rounding of clocks, or a wall clock that stands, says. */
  atLeast(at: number): void {
    if (this.refresh() < at) this.#settle(this.#source.wall(), 0);
    if (this.now < at && at - this.now < 2) this.now = at;
  }

  #settle(wall: number, passed: number): number {
    const monotonic = this.#source.monotonic();
    // What passed by the monotonic clock since both were read together, less what wall time has added meanwhile.
    const truth = Math.max(0, monotonic - this.#monotonic - (this.now - this.#base));
    const slept = passed - truth;
    this.#wall = wall;
    this.#monotonic = monotonic;
    const jumped = slept > JUMP_MS;
    this.now += jumped ? passed : truth;
    this.#base = this.now;
    if (jumped) this.onJump?.(slept);
    return this.now;
  }
}
