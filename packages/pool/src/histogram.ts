/** Durations counted in fixed buckets: constant memory, no allocation a sample. Knows nothing of what it measures. */

/** Upper bounds in milliseconds; the last bucket has none. */
export const BUCKETS_MS = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000] as const;

export interface HistogramSnapshot {
  /** Samples, and their sum in milliseconds. */
  count: number;
  sumMs: number;
  /** Samples at or below each of BUCKETS_MS, cumulative. */
  cumulative: number[];
}

export class Histogram {
  count = 0;
  sumMs = 0;
  readonly #buckets = new Float64Array(BUCKETS_MS.length + 1);

  note(ms: number): void {
    this.count++;
    this.sumMs += ms;
    let at = 0;
    while (at < BUCKETS_MS.length && ms > BUCKETS_MS[at]!) at++;
    this.#buckets[at]!++;
  }

  snapshot(): HistogramSnapshot {
    let running = 0;
    const cumulative = BUCKETS_MS.map((_, at) => (running += this.#buckets[at]!));
    return { count: this.count, sumMs: this.sumMs, cumulative };
  }

  /** Upper bound of the bucket in which the share `q` of all samples lies, in milliseconds; 0 without samples. */
  quantile(q: number): number {
    const target = this.count * q;
    let running = 0;
    for (let at = 0; at < BUCKETS_MS.length; at++) {
      running += this.#buckets[at]!;
      if (running >= target) return this.count === 0 ? 0 : BUCKETS_MS[at]!;
    }
    return Number.POSITIVE_INFINITY;
  }
}
