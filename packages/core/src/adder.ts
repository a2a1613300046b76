/**
 * When to dial: the one place that opens entries, for waiters and for the minimum. Owns backoff and the number of dials
 * at once; callers of the pool never dial. After a failure one dial at a time probes the database, and each success makes room for
 * one more, as in TCP's slow start: 1, 2, 4 … a round trip apart. So a restart never meets a herd.
 */
import type { Entry } from './entry.ts';
import { LATE_MS, lateIn } from './late.ts';
import type { Limit } from './limit.ts';
import type { Pool } from './pool.ts';
import { EntryState } from './states.ts';

/** Younger than this, a connection that was lost unused says something about the database. */
const USELESS_MS = 1_000;

const ALWAYS = Number.NEGATIVE_INFINITY;
const NEVER = Number.POSITIVE_INFINITY;

export class Adder<T> {
  readonly #pool: Pool<T>;
  /** Failed dials in a row. */
  failures = 0;
  lastError: unknown = null;
  lastFailedAt = ALWAYS;
  /** No dial before this time. */
  nextDialAt = ALWAYS;
  /** No dial for the minimum alone before this time. */
  nextFillAt = ALWAYS;
  /** The shared limit that keeps this pool from dialling for a waiter, or null. */
  blockedOn: Limit | null = null;
  /** When it is to `grow` at the latest, whatever the clock has said since: -Infinity before the first time, Infinity when time alone changes nothing. */
  dueAt = ALWAYS;
  #window = 0;
  /** Rounds of failed dials in a row. */
  #pauses = 0;

  constructor(pool: Pool<T>) {
    this.#pool = pool;
  }

  succeeded(): void {
    this.failures = 0;
    this.lastError = null;
    this.nextDialAt = ALWAYS;
    this.#pauses = 0;
    if (this.#window > 0) this.#window++;
    if (this.#window >= this.#pool.policy.maxDials) this.#window = 0;
  }

  /** `begunAt`: when the dial began. Those that were under way together when the first of them failed tell of one thing, and make one pause. */
  failed(error: unknown, begunAt: number): void {
    const { retryMinMs, retryMaxMs } = this.#pool.policy;
    const { env } = this.#pool;
    this.failures++;
    if (begunAt > this.lastFailedAt) this.#pauses++;
    this.lastError = error;
    this.lastFailedAt = env.now();
    this.#window = 1;
    const pause = Math.min(retryMaxMs, retryMinMs * 2 ** Math.min(Math.max(this.#pauses - 1, 0), 30));
    this.nextDialAt = this.lastFailedAt + pause * (1 - 0.5 * env.random());
  }

  /** A connection that is lost at once, unused, says that the server does not keep what it lets in: ahead of need no other is dialled for a while. */
  lost(entry: Entry<T>): void {
    const now = this.#pool.env.now();
    const isUseless = entry.uses === 0 && entry.state !== EntryState.Opening && now - entry.lastUsedAt < USELESS_MS;
    if (isUseless) this.nextFillAt = now + this.#pool.policy.retryMaxMs;
  }

  /** Forgets the failures: the next need dials at once (a new address, credentials, an operator's command). */
  forgive(): void {
    this.failures = 0;
    this.#pauses = 0;
    this.#window = 0;
    this.nextDialAt = this.nextFillAt = ALWAYS;
  }

  /** Waiters for whom nothing is under way yet. */
  get wanted(): number {
    return this.#pool.queue.length - this.#supply();
  }

  /** Opens as many entries as are needed and allowed. */
  grow(): void {
    const pool = this.#pool;
    this.#unblock();
    this.dueAt = NEVER;
    for (;;) {
      if (pool.mode !== 'running' && !(pool.mode === 'draining' && pool.queue.length > 0)) return;
      const forWaiter = this.wanted > 0;
      // Those who count on an entry now may not do so for long.
      if (!forWaiter && pool.queue.length > 0) this.dueAt = this.#lateAt();
      // A minimum takes no room that somebody waits for.
      if (!forWaiter && (!this.#belowMin() || pool.set?.isWaitedFor(pool.limits) === true)) return;
      if (pool.count(EntryState.Opening) >= (this.#window || pool.policy.maxDials)) return;
      const mayDialAt = forWaiter ? this.nextDialAt : Math.max(this.nextDialAt, this.nextFillAt);
      const roomAt = this.#roomAt(forWaiter);
      const at = Math.max(mayDialAt, roomAt);
      if (pool.env.now() < at) {
        this.dueAt = Math.min(this.dueAt, at);
        return;
      }
      const full = pool.limits.find((limit) => limit.full);
      if (full !== undefined) {
        if (forWaiter) this.#block(full);
        return;
      }
      if (roomAt !== ALWAYS) pool.stats.reserveDials++;
      // Opened at once: it is given out first, and then it shows who still waits, here and in pools beside this one.
      if (pool.open().state !== EntryState.Opening) return;
    }
  }

  #belowMin(): boolean {
    const pool = this.#pool;
    const { minSize, minIdle = 0, maxSize, fillMin } = pool.policy;
    if (fillMin === false || pool.mode !== 'running') return false;
    const size = pool.size - pool.count(EntryState.Closing);
    if (size < minSize || minIdle === 0) return size < minSize;
    const spare = pool.count(EntryState.Idle) + this.#underWay() - pool.queue.length;
    return spare < minIdle && (maxSize <= 0 || size < maxSize);
  }

  /** Entries that nobody holds and that are not idle yet. */
  #underWay(): number {
    const pool = this.#pool;
    return pool.count(EntryState.Opening) + pool.count(EntryState.Checking) + pool.count(EntryState.Resetting);
  }

  /**
   * Entries that will be free soon without a dial. Where pools share limits those that are late count, too: what is wanted there must not
   * change by time alone, since it decides whose turn it is.
   */
  #supply(): number {
    const { lists, set, env } = this.#pool;
    if (set !== null) return this.#underWay();
    const now = env.now();
    return this.#underWay() - lateIn(lists[EntryState.Checking]!, now) - lateIn(lists[EntryState.Resetting]!, now);
  }

  /** When the next of those counted on will be late. */
  #lateAt(): number {
    const { env, lists, set } = this.#pool;
    if (set !== null) return NEVER;
    const since = env.now() - LATE_MS;
    let at = NEVER;
    for (const state of [EntryState.Checking, EntryState.Resetting])
      for (const { stateSince } of lists[state]!) {
        if (stateSince <= since) continue;
        at = Math.min(at, stateSince + LATE_MS);
        break;
      }
    return at;
  }

  /** From when there is a place: always, or once the oldest has waited for one of the reserve, or not before one is free. */
  #roomAt(forWaiter: boolean): number {
    const pool = this.#pool;
    const { maxSize, reserveSize, reserveDelayMs } = pool.policy;
    const { size } = pool;
    if (maxSize <= 0 || size < maxSize) return ALWAYS;
    const { oldest } = pool.queue;
    return forWaiter && size < maxSize + reserveSize && oldest !== null ? oldest.since + reserveDelayMs : NEVER;
  }

  #block(limit: Limit): void {
    this.blockedOn = limit;
    const set = this.#pool.set;
    if (set === null) return;
    set.blocked++;
    set.evictFor(limit, this.#pool);
  }

  #unblock(): void {
    if (this.blockedOn === null) return;
    this.blockedOn = null;
    if (this.#pool.set !== null) this.#pool.set.blocked--;
  }
}
