/**
 * The counters of every database as they were one and two periods ago (stats_period): averages are taken over the last
 * whole period and what has passed of the present one, as PgBouncer takes them.
 */
import { addTraffic, averages, NO_TRAFFIC, type Traffic, type TrafficCounts } from './traffic.ts';

export class Periods {
  #older = new Map<string, TrafficCounts>();
  #newer = new Map<string, TrafficCounts>();
  #olderAt: number;
  #newerAt: number;

  constructor(now: number) {
    this.#olderAt = now;
    this.#newerAt = now;
  }

  /** When the present period began. */
  get begunAt(): number {
    return this.#newerAt;
  }

  /** Ends a period: returns the averages over it, of all databases together. */
  turn(now: number, traffic: Iterable<readonly [string, Traffic]>): TrafficCounts {
    this.#older = this.#newer;
    this.#olderAt = this.#newerAt;
    this.#newer = new Map([...traffic].map(([name, counts]) => [name, { ...counts }]));
    this.#newerAt = now;
    const sum = (counts: Map<string, TrafficCounts>) => [...counts.values()].reduce(addTraffic, NO_TRAFFIC);
    return averages(sum(this.#newer), sum(this.#older), now - this.#olderAt);
  }

  /** Of one database, up to now. */
  averages(name: string, counts: TrafficCounts, now: number): TrafficCounts {
    return averages(counts, this.#older.get(name) ?? NO_TRAFFIC, now - this.#olderAt);
  }

  /** Of all databases together, up to now. */
  totals(counts: TrafficCounts, now: number): TrafficCounts {
    const before = [...this.#older.values()].reduce(addTraffic, NO_TRAFFIC);
    return averages(counts, before, now - this.#olderAt);
  }
}
