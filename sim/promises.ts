/**
 * What a pool promises of single entries and refusals: uses, checks, eviction, suspension, shedding. Kept by an account of its
 * own that hears every hand-out and return; says what was broken, or null.
 */
import type { Entry, Pool, Refusal, Waiter } from '@sluice/core';
import type { Conn } from './model.ts';

type P = Pool<Conn>;
type E = Entry<Conn>;

interface Past {
  uses: number;
  /** When it was last known to be alive. */
  provenAt: number;
  /** It has been opened or checked since it was last given back. */
  checked: boolean;
  handedAt: number;
  evicted: boolean;
}

export class Promises {
  readonly #now: () => number;
  readonly #past = new Map<E, Past>();
  readonly #suspended = new Set<P>();
  /** The longest hold of a pool so far: no mean is above it. */
  readonly #longest = new Map<P, number>();

  constructor(now: () => number) {
    this.#now = now;
  }

  /** It was opened, or a check found it alive. */
  proven(entry: E): void {
    const past = this.#past.get(entry);
    if (past === undefined)
      this.#past.set(entry, { uses: 0, provenAt: this.#now(), checked: true, handedAt: 0, evicted: false });
    else {
      past.provenAt = this.#now();
      past.checked = true;
    }
  }

  evicted(entries: Iterable<E>): void {
    for (const entry of entries) {
      const past = this.#past.get(entry);
      if (past !== undefined) past.evicted = true;
    }
  }

  suspended(pool: P): void {
    this.#suspended.add(pool);
  }

  resumed(pool: P): void {
    this.#suspended.delete(pool);
  }

  handedOut(entry: E): string | null {
    const { pool } = entry;
    const past = this.#past.get(entry);
    if (past === undefined) return 'was handed out before it was opened';
    const { maxUses, checkDelayMs } = pool.policy;
    past.uses++;
    past.handedAt = this.#now();
    if (maxUses > 0 && past.uses > maxUses) return `was handed out ${past.uses} times, ${maxUses} allowed`;
    if (past.evicted) return 'was handed out after it had been evicted';
    if (this.#suspended.has(pool)) return 'was handed out by a suspended pool';
    if (checkDelayMs === 0 && !past.checked) return 'was handed out without a check';
    const age = this.#now() - past.provenAt;
    return age > checkDelayMs ? `was handed out ${age.toFixed(2)} ms after it was last known to be alive` : null;
  }

  givenBack(entry: E): void {
    const past = this.#past.get(entry)!;
    past.provenAt = this.#now();
    past.checked = false;
    const held = this.#now() - past.handedAt;
    this.#longest.set(entry.pool, Math.max(held, this.#longest.get(entry.pool) ?? 0));
  }

  gone(entry: E): void {
    this.#past.delete(entry);
  }

  /** `others`: those who waited when this one asked. */
  refused(pool: P, waiter: Waiter<Conn>, reason: Refusal, others: number): string | null {
    const { maxWaiters, maxSize, reserveSize, shed } = pool.policy;
    const now = this.#now();
    if (reason === 'queue full') return others >= maxWaiters && maxWaiters > 0 ? null : `refused behind ${others}`;
    if (reason === 'timeout') return waiter.deadline <= now ? null : 'refused before its deadline';
    if (reason !== 'shed') return null;
    if (shed !== true || waiter.deadline === Number.POSITIVE_INFINITY) return 'shed though it has time for ever';
    if (pool.size < maxSize) return 'shed though there is room';
    const latest = now + ((others + 1) * (this.#longest.get(pool) ?? 0)) / (maxSize + reserveSize);
    return latest < waiter.deadline ? 'shed though it would have been served in time' : null;
  }
}
