/**
 * Pools that share limits. Owns what no single pool can decide: who gets room that became free, whose idle entry makes
 * room for another pool's waiter, and that a busy pool does not starve a full-up neighbour for ever.
 */
import type { Entry } from './entry.ts';
import type { Limit } from './limit.ts';
import type { Pool } from './pool.ts';
import { EntryState } from './states.ts';

/** A neighbour's waiter older than this by comparison takes the freed place even of a pool with waiters of its own. */
export const FAIRNESS_MS = 250;

interface Postponed<T> {
  until: Pool<T>;
  limits: readonly Limit[];
  leaver: Pool<T>;
}

export class PoolSet<T> {
  readonly pools = new Set<Pool<T>>();
  /** Pools that have a waiter but are kept from dialling by a shared limit. Zero keeps `release` fast. */
  blocked = 0;
  /** Room that became free while the pool that comes first was in the middle of serving. */
  readonly #postponed: Postponed<T>[] = [];
  /** Told of every move of every entry; for the simulator's coverage. */
  onMove: ((from: EntryState, to: EntryState) => void) | null = null;

  /** Forgets a pool that was shut; what it still closes is counted against its limits until it is closed. */
  remove(pool: Pool<T>): void {
    // Nobody waits in it any more, so it is not blocked any more.
    pool.adder.grow();
    this.pools.delete(pool);
  }

  /**
   * Room under these limits, left by `leaver`: the blocked pools and the leaver itself try again, the one whose waiter is
   * oldest first. Were the leaver always first, a place that it gave up for an older neighbour would come back to it, for ever.
   */
  capacityFreed(limits: readonly Limit[], leaver: Pool<T>): void {
    if (this.blocked === 0) {
      leaver.serve();
      return;
    }
    const candidates = [...this.pools].filter((pool) => {
      const { blockedOn } = pool.adder;
      return pool !== leaver && blockedOn !== null && limits.includes(blockedOn);
    });
    candidates.push(leaver);
    candidates.sort((a, b) => oldestSince(a) - oldestSince(b));
    for (const pool of candidates) {
      pool.serve();
      if (!pool.serving) continue;
      // It takes its turn when it is done with what it is doing; who comes after it has to wait for that.
      this.#postponed.push({ until: pool, limits, leaver });
      return;
    }
  }

  /** A pool is done serving: those who had to wait for that have their turn. */
  caughtUp(pool: Pool<T>): void {
    for (let at = this.#postponed.findIndex(({ until }) => until === pool); at >= 0; ) {
      const [{ limits, leaver }] = this.#postponed.splice(at, 1) as [Postponed<T>];
      this.capacityFreed(limits, leaver);
      at = this.#postponed.findIndex(({ until }) => until === pool);
    }
  }

  /** Does a waiter of any pool wait for room under one of these limits? */
  isWaitedFor(limits: readonly Limit[]): boolean {
    if (this.blocked === 0) return false;
    for (const { adder } of this.pools) if (adder.blockedOn !== null && limits.includes(adder.blockedOn)) return true;
    return false;
  }

  /** Closes the longest unused idle entry of another pool under the limit, unless enough closing ones will free room. */
  evictFor(limit: Limit, asker: Pool<T>): void {
    let victim: Entry<T> | null = null;
    for (const pool of this.pools) {
      if (!pool.limits.includes(limit)) continue;
      if (pool.count(EntryState.Closing) > 0) return;
      if (pool === asker || pool.policy.evictable === false || usesItself(pool, asker)) continue;
      const idle = pool.lists[EntryState.Idle]!.head;
      if (idle !== null && (victim === null || idle.lastUsedAt < victim.lastUsedAt)) victim = idle;
    }
    if (victim === null) return;
    const { pool } = victim;
    const before = pool.serving;
    // Who waits in that pool is not served meanwhile: he would take the room that is being made.
    pool.serving = true;
    pool.close(victim, 'evicted');
    pool.serving = before;
    if (!before) this.caughtUp(pool);
  }

  /**
   * Must an entry that just became free in `pool` close to make room for a blocked neighbour? Yes when `pool` has no
   * waiter, or when the neighbour's has waited longer by FAIRNESS_MS.
   */
  mustYield(pool: Pool<T>): boolean {
    if (pool.policy.evictable === false) return false;
    const own = pool.queue.oldest === null ? Number.POSITIVE_INFINITY : oldestSince(pool) - FAIRNESS_MS;
    for (const other of this.pools) {
      const { blockedOn } = other.adder;
      if (other === pool || blockedOn === null || !blockedOn.full || !pool.limits.includes(blockedOn)) continue;
      if (oldestSince(other) < own && this.#closingUnder(blockedOn) < other.adder.wanted) return true;
    }
    return false;
  }

  /** Places that are about to become free: who waits for one needs no second. */
  #closingUnder(limit: Limit): number {
    let closing = 0;
    for (const pool of this.pools) if (pool.limits.includes(limit)) closing += pool.count(EntryState.Closing);
    return closing;
  }

  tick(): void {
    for (const pool of this.pools) pool.tick();
  }
}

/** Is every idle entry about to be checked for a waiter of the pool's own who has waited longer than the asker's? */
function usesItself<T>(pool: Pool<T>, asker: Pool<T>): boolean {
  if (pool.mode !== 'running' || pool.queue.head === null) return false;
  return pool.count(EntryState.Idle) <= pool.adder.wanted && oldestSince(pool) < oldestSince(asker);
}

function oldestSince<T>(pool: Pool<T>): number {
  return pool.queue.oldest?.since ?? Number.POSITIVE_INFINITY;
}
