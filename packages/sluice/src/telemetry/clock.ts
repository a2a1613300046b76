/** The daemon's time: read once an event, so that the hot path asks nobody. Milliseconds that never go back. */

export class Clock {
  /** As of the last `update`. */
  now = performance.now();

  update(): number {
    this.now = performance.now();
    return this.now;
  }

  /** Wall-clock microseconds since 1970 of a moment of this clock, for SHOW views and logs. */
  static wallMicros(moment: number): number {
    return Math.round((performance.timeOrigin + moment) * 1000);
  }
}
