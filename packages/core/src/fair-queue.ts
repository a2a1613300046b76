/**
 * The queue with a policy: strict priorities, weighted turns between tenants inside a priority, and places that only
 * high priorities may take. Owns the order; knows the pool only as a number of places in use.
 */
import { List } from './list.ts';
import type { WaitQueue } from './queue.ts';
import type { Waiter } from './waiter.ts';

/** What the reserved places are measured by. */
export interface Capacity {
  /** Entries held now. */
  held(): number;
  /** Entries that may be held at once; 0: no bound, nothing is reserved. */
  max(): number;
}

export interface FairQueueOptions {
  /** Share of a tenant's turns; a tenant not named has weight 1. Above 0. */
  weights?: ReadonlyMap<string, number>;
  /** Places kept free for waiters of `reservedFrom` and above. */
  reserved?: number;
  reservedFrom?: number;
  capacity?: Capacity;
}

/** A tenant's line inside one priority. `pass` is its virtual time: who has had least of its share is next. */
class Lane<T> {
  readonly tenant: string;
  readonly waiters: List<Waiter<T>>;
  pass: number;

  constructor(tenant: string, pass: number) {
    this.tenant = tenant;
    this.waiters = new List<Waiter<T>>(`waiting ${tenant}`);
    this.pass = pass;
  }
}

class Level<T> {
  readonly priority: number;
  /** Lanes with waiters only; a tenant that comes back starts at the present turn, so idling saves nothing up. */
  readonly lanes = new Map<string, Lane<T>>();
  turn = 0;

  constructor(priority: number) {
    this.priority = priority;
  }

  get next(): Lane<T> | null {
    let next: Lane<T> | null = null;
    for (const lane of this.lanes.values()) if (next === null || lane.pass < next.pass) next = lane;
    return next;
  }
}

export class FairQueue<T> implements WaitQueue<T> {
  readonly #weights: ReadonlyMap<string, number>;
  readonly #reserved: number;
  readonly #reservedFrom: number;
  readonly #capacity: Capacity | null;
  /** Highest priority first; levels without waiters are dropped. */
  readonly #levels: Level<T>[] = [];
  #length = 0;
  /** The lane of the waiter removed last, so that `served` finds it even when it has run empty. */
  #last: Lane<T> | null = null;

  constructor(options: FairQueueOptions = {}) {
    this.#weights = options.weights ?? new Map();
    this.#reserved = options.reserved ?? 0;
    this.#reservedFrom = options.reservedFrom ?? 1;
    this.#capacity = options.capacity ?? null;
  }

  get length(): number {
    return this.#length;
  }

  get head(): Waiter<T> | null {
    const level = this.#levels[0];
    if (level === undefined || !this.#mayTake(level.priority)) return null;
    return level.next!.waiters.head;
  }

  get oldest(): Waiter<T> | null {
    let oldest: Waiter<T> | null = null;
    for (const level of this.#levels)
      for (const lane of level.lanes.values()) {
        const first = lane.waiters.head!;
        if (oldest === null || first.since < oldest.since) oldest = first;
      }
    return oldest;
  }

  push(waiter: Waiter<T>): void {
    const level = this.#level(waiter.priority);
    let lane = level.lanes.get(waiter.tenant);
    if (lane === undefined) {
      lane = new Lane<T>(waiter.tenant, level.turn + this.#stride(waiter.tenant));
      level.lanes.set(waiter.tenant, lane);
    }
    lane.waiters.push(waiter);
    this.#length++;
  }

  remove(waiter: Waiter<T>): void {
    const level = this.#levels.find((each) => each.priority === waiter.priority);
    const lane = level?.lanes.get(waiter.tenant);
    if (level === undefined || lane === undefined) throw new Error('bug: waiter removed from a queue it is not in');
    lane.waiters.remove(waiter);
    this.#length--;
    this.#last = lane;
    if (lane.waiters.length > 0) return;
    level.lanes.delete(waiter.tenant);
    if (level.lanes.size === 0) this.#levels.splice(this.#levels.indexOf(level), 1);
  }

  admits(waiter: Waiter<T>): boolean {
    return this.#mayTake(waiter.priority);
  }

  ahead(waiter: Waiter<T>): number {
    let count = 0;
    for (const level of this.#levels) {
      if (level.priority < waiter.priority) break;
      for (const lane of level.lanes.values())
        count += level.priority > waiter.priority ? lane.waiters.length : this.#aheadInLane(lane, level, waiter);
    }
    return count;
  }

  /** Charges the turn to the tenant whose waiter was removed last. */
  served(waiter: Waiter<T>): void {
    const lane = this.#last;
    if (lane === null || lane.tenant !== waiter.tenant) return;
    const level = this.#levels.find((each) => each.priority === waiter.priority);
    if (level !== undefined) level.turn = Math.max(level.turn, lane.pass);
    lane.pass += this.#stride(waiter.tenant);
  }

  *[Symbol.iterator](): IterableIterator<Waiter<T>> {
    for (const level of [...this.#levels]) for (const lane of [...level.lanes.values()]) yield* lane.waiters;
  }

  /** Turns that another tenant gets before a newcomer of `waiter`'s tenant is reached. */
  #aheadInLane(lane: Lane<T>, level: Level<T>, waiter: Waiter<T>): number {
    if (lane.tenant === waiter.tenant) return lane.waiters.length;
    const own = level.lanes.get(waiter.tenant);
    const stride = this.#stride(waiter.tenant);
    const reachedAt = own === undefined ? level.turn + stride : own.pass + stride * own.waiters.length;
    const turns = Math.ceil(Math.max(0, reachedAt - lane.pass) / this.#stride(lane.tenant));
    return Math.min(lane.waiters.length, turns);
  }

  #stride(tenant: string): number {
    return 1 / (this.#weights.get(tenant) ?? 1);
  }

  #mayTake(priority: number): boolean {
    if (this.#reserved === 0 || this.#capacity === null || priority >= this.#reservedFrom) return true;
    const max = this.#capacity.max();
    return max === 0 || this.#capacity.held() < max - this.#reserved;
  }

  #level(priority: number): Level<T> {
    let at = 0;
    while (at < this.#levels.length && this.#levels[at]!.priority > priority) at++;
    const found = this.#levels[at];
    if (found !== undefined && found.priority === priority) return found;
    const level = new Level<T>(priority);
    this.#levels.splice(at, 0, level);
    return level;
  }
}
