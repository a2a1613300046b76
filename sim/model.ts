/**
 * What must hold, kept by an account of its own: it hears every hand-out, release, dial and close, and asks the pool only
 * to compare. A breach throws, with the moment it was found at.
 */
import { type Entry, EntryState, type Limit, type Pool, type Waiter } from '@sluice/core';

export class Breach extends Error {}

export interface Conn {
  readonly id: number;
  alive: boolean;
}

/** Far above what all pools together may have. */
const MAX_DIALS_AT_ONCE = 500;

type P = Pool<Conn>;
type E = Entry<Conn>;
type W = Waiter<Conn>;

export class Model {
  readonly #holders = new Map<E, string>();
  readonly #live = new Map<P, Set<E>>();
  readonly #waiting = new Map<P, W[]>();
  readonly #now: () => number;
  #dialledAt = Number.NaN;
  #dialsNow = 0;

  constructor(now: () => number) {
    this.#now = now;
  }

  require(holds: boolean, what: string): void {
    if (!holds) throw new Breach(`at ${this.#now().toFixed(3)} ms: ${what}`);
  }

  /** A dial begins: every limit must have had room for it. */
  dialled(entry: E): void {
    const { pool } = entry;
    this.#dialsNow = this.#now() === this.#dialledAt ? this.#dialsNow + 1 : 1;
    this.#dialledAt = this.#now();
    this.require(
      this.#dialsNow <= MAX_DIALS_AT_ONCE,
      `${this.#dialsNow} dials in one moment: they go round in a circle`,
    );
    this.#of(this.#live, pool, () => new Set<E>()).add(entry);
    const { maxSize, reserveSize } = pool.policy;
    const live = this.#live.get(pool)!.size;
    if (maxSize > 0)
      this.require(
        live <= maxSize + reserveSize,
        `${pool.name} has ${live} entries, ${maxSize}+${reserveSize} allowed`,
      );
    for (const limit of pool.limits) {
      const used = this.#usedOf(limit);
      this.require(limit.max === 0 || used <= limit.max, `${limit.name}: ${used} of ${limit.max}`);
    }
    this.require(pool.mode !== 'closed', `${pool.name} dialled after it was closed`);
  }

  gone(entry: E): void {
    this.require(this.#live.get(entry.pool)?.delete(entry) === true, `entry ${entry.id} ended twice`);
  }

  asked(pool: P, waiter: W): void {
    this.#queue(pool).push(waiter);
  }

  /** An entry was handed out: at once to a newcomer (`waiter` null), or to a waiter. */
  handedOut(entry: E, holder: string, waiter: W | null): void {
    const { pool } = entry;
    const queue = this.#queue(pool);
    if (waiter === null) this.require(queue.length === 0, `${holder} passed ${queue.length} waiters of ${pool.name}`);
    else {
      const index = queue.indexOf(waiter);
      this.require(index >= 0, `${holder} was served without waiting, or twice`);
      const passed = queue.findIndex(
        (other, i) => other.priority > waiter.priority || (i < index && other.priority === waiter.priority),
      );
      this.require(passed < 0, `${holder} passed a waiter before it in ${pool.name}`);
      queue.splice(index, 1);
    }
    this.require(
      !this.#holders.has(entry),
      `entry ${entry.id} has two holders: ${this.#holders.get(entry)} and ${holder}`,
    );
    this.require(entry.state === EntryState.Linked, `entry ${entry.id} handed out in state ${entry.state}`);
    this.require(this.#now() < entry.expiresAt, `entry ${entry.id} handed out past its life`);
    this.require(pool.mode === 'running' || pool.mode === 'draining', `${pool.name} handed out while ${pool.mode}`);
    this.#holders.set(entry, holder);
  }

  givenBack(entry: E, holder: string): void {
    this.require(this.#holders.get(entry) === holder, `${holder} gave back what it did not hold`);
    this.#holders.delete(entry);
  }

  /** The connection died under its holder. */
  lostByHolder(entry: E): void {
    this.#holders.delete(entry);
  }

  /** A waiter ended without an entry. */
  waiterEnded(pool: P, waiter: W, how: string): void {
    const queue = this.#queue(pool);
    const index = queue.indexOf(waiter);
    this.require(index >= 0, `a waiter of ${pool.name} ended twice (${how})`);
    queue.splice(index, 1);
  }

  /** Compares the account with what the pools say of themselves. */
  audit(pools: Iterable<P>): void {
    let blocked = 0;
    let set: P['set'] = null;
    for (const pool of pools) {
      set = pool.set;
      if (pool.adder.blockedOn !== null) blocked++;
      const live = this.#live.get(pool)?.size ?? 0;
      this.require(pool.size === live, `${pool.name} counts ${pool.size} entries, there are ${live}`);
      this.require(
        pool.queue.length === this.#queue(pool).length,
        `${pool.name} counts ${pool.queue.length} waiters, there are ${this.#queue(pool).length}`,
      );
      for (const entry of pool.entries())
        this.require(
          (entry.state === EntryState.Linked) === this.#holders.has(entry),
          `entry ${entry.id}: state ${entry.state}, holder ${this.#holders.get(entry)}`,
        );
      for (const limit of pool.limits)
        this.require(
          limit.used === this.#usedOf(limit),
          `${limit.name} counts ${limit.used}, there are ${this.#usedOf(limit)}`,
        );
      const idleFit = [...pool.lists[EntryState.Idle]!].length > 0;
      if (pool.mode === 'running' && pool.queue.length > 0)
        this.require(
          !idleFit || pool.count(EntryState.Checking) > 0,
          `${pool.name}: ${pool.queue.length} wait while an entry is idle`,
        );
    }
    if (set !== null)
      this.require(set.blocked === blocked, `set counts ${set.blocked} blocked pools, there are ${blocked}`);
  }

  waiters(pool: P): number {
    return this.#queue(pool).length;
  }

  #usedOf(limit: Limit): number {
    let used = 0;
    for (const [pool, live] of this.#live) if (pool.limits.includes(limit)) used += live.size;
    return used;
  }

  #queue(pool: P): W[] {
    return this.#of(this.#waiting, pool, () => []);
  }

  #of<K, V>(map: Map<K, V>, key: K, make: () => V): V {
    let value = map.get(key);
    if (value === undefined) {
      value = make();
      map.set(key, value);
    }
    return value;
  }
}
