/**
 * What must hold, kept by an account of its own: it hears every hand-out, release, dial and close, and asks the pool only
 * to compare. A breach throws, with the moment it was found at.
 */
import { type Entry, EntryState, FAIRNESS_MS, type Limit, type Pool, type Refusal, type Waiter } from '@sluice/core';
import { FIRST_COME, Line, type Rules } from './line.ts';
import { Promises } from './promises.ts';

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
  readonly #lines = new Map<P, Line>();
  readonly #rules = new Map<P, Rules>();
  /** When each asked; the account does not go by what the pool writes down. */
  /** In the middle of asking; and the one of these who must have been served already. */
  #asking: W | null = null;
  #presumed: W | null = null;
  readonly #askedAt = new Map<W, number>();
  readonly promises: Promises;
  readonly #now: () => number;
  #dialledAt = Number.NaN;
  #dialsNow = 0;

  constructor(now: () => number) {
    this.#now = now;
    this.promises = new Promises(now);
  }

  /** How a pool has to order its waiters; before it is used. */
  rule(pool: P, rules: Rules): void {
    this.#rules.set(pool, rules);
  }

  /** Places that the pool keeps for a priority. */
  reserved(pool: P): number {
    return this.#rules.get(pool)?.reserved ?? 0;
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
    this.#passedOver(pool);
  }

  /** Room under a shared limit goes to whoever has waited longest for it, if he can take it. */
  #passedOver(pool: P): void {
    const own = this.#oldest(pool);
    for (const other of pool.set?.pools ?? []) {
      const { blockedOn, nextDialAt } = other.adder;
      if (other === pool || blockedOn === null || !pool.limits.includes(blockedOn)) continue;
      const could = other.mode === 'running' && this.#now() >= nextDialAt && other.count(EntryState.Opening) === 0;
      this.require(
        !could || own <= this.#oldest(other),
        `${pool.name} dialled, but ${other.name} has waited longer for room under ${blockedOn.name}`,
      );
    }
  }

  #oldest(pool: P): number {
    let oldest = Number.POSITIVE_INFINITY;
    for (const waiter of this.#line(pool).waiting) oldest = Math.min(oldest, this.#askedAt.get(waiter)!);
    return oldest;
  }

  gone(entry: E): void {
    this.promises.gone(entry);
    this.require(this.#live.get(entry.pool)?.delete(entry) === true, `entry ${entry.id} ended twice`);
  }

  asked(pool: P, waiter: W): void {
    this.#asking = waiter;
    this.#askedAt.set(waiter, this.#now());
    this.#line(pool).join(waiter);
  }

  /** An entry was handed out: at once to a newcomer, or to a waiter. */
  handedOut(entry: E, holder: string, waiter: W, how: 'at once' | 'waited'): void {
    const { pool } = entry;
    const line = this.#line(pool);
    if (how === 'at once') {
      this.require(!line.eligible, `${holder} passed ${line.waiting.length} waiters of ${pool.name}`);
      this.require(line.admits(waiter.priority), `${holder} took a reserved place of ${pool.name}`);
    } else {
      this.#yielded(pool, waiter);
      const wrong = waiter === this.#presumed ? null : this.#serve(line, waiter);
      this.require(wrong === null, `${holder} ${wrong} in ${pool.name}`);
    }
    const broken = this.promises.handedOut(entry);
    this.require(broken === null, `entry ${entry.id} of ${pool.name} ${broken}`);
    this.require(
      !this.#holders.has(entry),
      `entry ${entry.id} has two holders: ${this.#holders.get(entry)} and ${holder}`,
    );
    this.require(entry.state === EntryState.Linked, `entry ${entry.id} handed out in state ${entry.state}`);
    this.require(this.#now() < entry.expiresAt, `entry ${entry.id} handed out past its life`);
    this.require(pool.mode === 'running' || pool.mode === 'draining', `${pool.name} handed out while ${pool.mode}`);
    this.#holders.set(entry, holder);
  }

  /** Who is asking at this moment may have been given an entry before this waiter, and says so when the call returns. */
  #serve(line: Line, waiter: W): string | null {
    const wrong = line.serve(waiter);
    const asking = this.#asking;
    if (wrong === null || asking === null || asking === waiter || !line.waiting.includes(asking)) return wrong;
    if (line.serve(asking) !== null) return wrong;
    this.#presumed = asking;
    return line.serve(waiter);
  }

  /** The call of `acquire` has returned. */
  answered(waiter: W, entry: E | null): void {
    this.require(this.#presumed !== waiter || entry !== null, 'somebody was passed who came before');
    this.#asking = null;
    this.#presumed = null;
  }

  givenBack(entry: E, holder: string): void {
    this.require(this.#holders.get(entry) === holder, `${holder} gave back what it did not hold`);
    this.#holders.delete(entry);
    this.promises.givenBack(entry);
  }

  /** The connection died under its holder. */
  lostByHolder(entry: E): void {
    this.#holders.delete(entry);
  }

  /** A waiter ended without an entry, or found one free as he came ('served at once'). */
  waiterEnded(pool: P, waiter: W, how: Refusal | 'served at once'): void {
    this.require(this.#line(pool).leave(waiter), `a waiter of ${pool.name} ended twice (${how})`);
    if (how === 'served at once') return;
    const wrong = this.promises.refused(pool, waiter, how, this.#line(pool).waiting.length);
    this.require(wrong === null, `${pool.name}: a waiter was ${wrong} (${how})`);
  }

  /** A pool whose waiters are much younger than those of a neighbour it keeps from dialling leaves them its place. */
  #yielded(pool: P, waiter: W): void {
    const since = this.#askedAt.get(waiter)! - FAIRNESS_MS;
    for (const other of pool.set?.pools ?? []) {
      const { blockedOn } = other.adder;
      if (other === pool || blockedOn === null || !blockedOn.full || !pool.limits.includes(blockedOn)) continue;
      if (other.adder.wanted <= 0) continue;
      this.require(
        this.#oldest(other) >= Math.min(since, this.#oldest(pool) - FAIRNESS_MS) || this.#closing(blockedOn) > 0,
        `${pool.name} kept a place that ${other.name} has waited for much longer`,
      );
    }
  }

  #closing(limit: Limit): number {
    let closing = 0;
    for (const pool of this.#live.keys()) if (pool.limits.includes(limit)) closing += pool.count(EntryState.Closing);
    return closing;
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
        pool.queue.length === this.waiters(pool),
        `${pool.name} counts ${pool.queue.length} waiters, there are ${this.waiters(pool)}`,
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
      if (pool.mode === 'running' && this.#line(pool).eligible)
        this.require(
          !idleFit || pool.count(EntryState.Checking) > 0,
          `${pool.name}: ${pool.queue.length} wait while an entry is idle`,
        );
    }
    if (set !== null)
      this.require(set.blocked === blocked, `set counts ${set.blocked} blocked pools, there are ${blocked}`);
  }

  waiters(pool: P): number {
    return this.#line(pool).waiting.length;
  }

  #usedOf(limit: Limit): number {
    let used = 0;
    for (const [pool, live] of this.#live) if (pool.limits.includes(limit)) used += live.size;
    return used;
  }

  #line(pool: P): Line {
    const places = () => {
      const { maxSize, reserveSize } = pool.policy;
      let held = 0;
      for (const entry of this.#holders.keys()) if (entry.pool === pool) held++;
      return { held, max: maxSize === 0 ? 0 : maxSize + reserveSize };
    };
    return this.#of(this.#lines, pool, () => new Line(this.#rules.get(pool) ?? FIRST_COME, places));
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
