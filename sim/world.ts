/** One simulated schedule: pools, a database that fails in every way it can, clients and operators, all from one seed. */
import {
  DEFAULT_POLICY,
  type Entry,
  EntryState,
  FairQueue,
  FifoQueue,
  Limit,
  nextWake,
  Pool,
  type PoolPolicy,
  PoolSet,
  StaleEntryError,
  Waiter,
} from '@sluice/core';
import { VirtualClock } from './clock.ts';
import { FIRST_COME, type Rules } from './line.ts';
import { type Conn, Model } from './model.ts';
import { Random } from './random.ts';

/** What schedules have done: moves as "from>to", refusals and closes by their reason. */
export type Moves = Set<string>;

const TENANTS = ['', 'gold', 'silver'];
const TICK_MS = 100;
const ACTIVE_MS = 20_000;
const CALM_MS = 60_000;
/** Many times what the busiest schedule takes: more is a circle. */
const MAX_STEPS = 500_000;

export class World {
  readonly clock = new VirtualClock();
  readonly random: Random;
  readonly model = new Model(() => this.clock.now);
  readonly pools: Pool<Conn>[] = [];
  readonly set = new PoolSet<Conn>();
  readonly trace: string[] = [];
  #connIds = 0;
  #clientIds = 0;
  #moved = 0;
  #databaseUp = true;
  #calm = false;
  readonly #limits: Limit[];
  readonly #moves: Moves;

  constructor(seed: number, moves: Moves) {
    this.random = new Random(seed);
    this.#moves = moves;
    const { random } = this;
    this.set.onMove = (from, to) => {
      this.#moved++;
      moves.add(`${from}>${to}`);
    };
    this.#limits = [new Limit('shared', random.chance(0.6) ? random.int(1, 6) : 0)];
    const count = random.int(1, 3);
    for (let i = 0; i < count; i++) this.pools.push(this.#makePool(i));
  }

  /** Runs the schedule to its end. Throws a Breach. */
  run(): void {
    const { clock, random } = this;
    const tick = () => {
      for (const pool of this.set.pools) this.#tick(pool);
      if (clock.now < ACTIVE_MS + CALM_MS) clock.after(TICK_MS, tick);
    };
    clock.after(TICK_MS, tick);
    for (let i = random.int(2, 14); i > 0; i--) clock.after(random.next() * 500, () => this.#client());
    clock.after(random.next() * 3_000, () => this.#operate());
    clock.after(ACTIVE_MS, () => this.#calmDown());
    for (let steps = 0; clock.step(); steps++) {
      this.model.require(steps < MAX_STEPS, `no end after ${MAX_STEPS} steps`);
      this.model.audit(this.pools);
    }
    for (const { stats } of this.pools)
      for (const [reason, count] of [...Object.entries(stats.refused), ...Object.entries(stats.closed)])
        if (count > 0) this.#moves.add(reason);
    for (const pool of this.pools)
      this.model.require(
        this.model.waiters(pool) === 0,
        `${pool.name}: ${this.model.waiters(pool)} still wait a minute after all is well`,
      );
  }

  /**
   * An owner may wake the pool by its own word instead of every so often: what it finds to do then, it must have announced.
   * Not so what a pool beside it leaves room for.
   */
  #tick(pool: Pool<Conn>): void {
    const at = nextWake(pool);
    const before = this.#deeds(pool);
    pool.tick();
    this.model.require(
      at <= this.clock.now || this.#deeds(pool) === before || pool.limits.some(({ max }) => max > 0),
      `${pool.name} had something to do, but asked to be woken at ${at}`,
    );
  }

  /** Everything the pool has done so far, in one number. */
  #deeds({ stats }: Pool<Conn>): number {
    let deeds = this.#moved + stats.dials + stats.handouts;
    for (const count of Object.values(stats.refused)) deeds += count;
    return deeds;
  }

  #note(what: string): void {
    this.trace.push(`${this.clock.now.toFixed(2)} ${what}`);
  }

  #makePool(index: number): Pool<Conn> {
    const { random } = this;
    const policy: PoolPolicy = {
      ...DEFAULT_POLICY,
      maxSize: random.int(1, 5),
      minSize: random.chance(0.3) ? random.int(1, 3) : 0,
      minIdle: random.chance(0.2) ? random.int(1, 3) : 0,
      reserveSize: random.chance(0.3) ? random.int(1, 2) : 0,
      reserveDelayMs: random.int(1, 2_000),
      idleTimeoutMs: random.chance(0.5) ? random.int(200, 5_000) : 0,
      lifetimeMs: random.chance(0.5) ? random.int(300, 8_000) : 0,
      maxUses: random.chance(0.2) ? random.int(1, 5) : 0,
      checkDelayMs: random.pick([0, 50, 1_000, Number.POSITIVE_INFINITY]),
      order: random.pick(['lifo', 'fifo']),
      maxWaiters: random.chance(0.2) ? random.int(1, 4) : 0,
      shed: random.chance(0.2),
      maxDials: random.int(1, 4),
      retryMinMs: 50,
      retryMaxMs: 1_000,
    };
    const port = {
      open: (entry: Entry<Conn>) => this.#open(entry),
      check: (entry: Entry<Conn>) => this.#answer(entry, EntryState.Checking, (ok) => entry.pool.checked(entry, ok)),
      reset: (entry: Entry<Conn>) => this.#answer(entry, EntryState.Resetting, (ok) => entry.pool.resetDone(entry, ok)),
      close: (entry: Entry<Conn>) => this.#close(entry),
    };
    const env = { now: () => this.clock.now, random: () => random.next() };
    const rules = this.#rules(policy);
    // Places are reserved in a library's pool, which shares no limit.
    const limits = rules.reserved > 0 ? [] : this.#limits;
    const capacity = {
      held: () => pool.count(EntryState.Linked),
      max: () => (pool.policy.maxSize === 0 ? 0 : pool.policy.maxSize + pool.policy.reserveSize),
    };
    const queue =
      rules === FIRST_COME
        ? new FifoQueue<Conn>()
        : new FairQueue<Conn>({ ...rules, weights: rules.weights!, capacity });
    const pool: Pool<Conn> = new Pool<Conn>({ name: `pool ${index}`, policy, port, env, limits, queue, set: this.set });
    this.model.rule(pool, rules);
    return pool;
  }

  /** First come first served, or turns by weight, with places for a priority or without. */
  #rules(policy: PoolPolicy): Rules {
    const { random } = this;
    if (random.chance(0.5)) return FIRST_COME;
    const weights = new Map([
      ['gold', random.pick([1, 2, 4])],
      ['silver', random.pick([0.5, 1, 3])],
    ]);
    const reserved = random.chance(0.5) ? random.int(0, policy.maxSize + policy.reserveSize - 1) : 0;
    return { weights, reserved, reservedFrom: 1 };
  }

  // The database.

  #open(entry: Entry<Conn>): void {
    this.model.dialled(entry);
    const finish = () => {
      if (entry.state !== EntryState.Opening) return;
      if (!this.#databaseUp || (!this.#calm && this.random.chance(0.05))) {
        this.model.gone(entry);
        entry.pool.openFailed(entry, new Error('refused'));
        return;
      }
      entry.value = { id: ++this.#connIds, alive: true };
      this.model.promises.proven(entry);
      entry.pool.opened(entry);
    };
    if (this.random.chance(0.1)) finish();
    else this.clock.after(this.random.next() * 60, finish);
  }

  /** Check and reset: at once or later, well or badly, or never, until the connection is given up. */
  #answer(entry: Entry<Conn>, state: EntryState, tell: (ok: boolean) => void): void {
    const { generation } = entry;
    const answer = () => {
      if (entry.state !== state || entry.generation !== generation) return;
      const well = entry.value!.alive && (this.#calm || !this.random.chance(0.1));
      if (well && state === EntryState.Checking) this.model.promises.proven(entry);
      tell(well);
    };
    if (this.random.chance(0.2)) answer();
    else if (!this.#calm && this.random.chance(0.03)) this.clock.after(3_000, () => this.#die(entry));
    else this.clock.after(this.random.next() * 20, answer);
  }

  #close(entry: Entry<Conn>): void {
    const closed = () => {
      if (entry.state !== EntryState.Closing) return;
      this.model.gone(entry);
      entry.pool.closed(entry);
    };
    if (this.random.chance(0.3)) closed();
    else this.clock.after(this.random.next() * 30, closed);
  }

  #die(entry: Entry<Conn>): void {
    if (entry.state >= EntryState.Closing || entry.state === EntryState.Opening) return;
    this.#note(`entry ${entry.id} dies in state ${entry.state}`);
    if (entry.value !== null) entry.value.alive = false;
    this.model.lostByHolder(entry);
    this.model.gone(entry);
    entry.pool.lost(entry);
  }

  // Clients.

  #client(): void {
    const { random, clock } = this;
    const name = `client ${++this.#clientIds}`;
    const pool = random.pick(this.pools);
    const waiter = new Waiter<Conn>({
      served: (entry) => {
        this.model.handedOut(entry, name, waiter, 'waited');
        this.#hold(name, pool, entry, waiter);
      },
      refused: (reason) => {
        this.model.waiterEnded(pool, waiter, reason);
        this.#note(`${name} refused: ${reason}`);
        this.#again(name, pool, waiter);
      },
    });
    clock.after(0, () => this.#ask(name, pool, waiter));
  }

  #ask(name: string, pool: Pool<Conn>, waiter: Waiter<Conn>): void {
    const { random, clock, model } = this;
    waiter.deadline = !this.#calm && random.chance(0.5) ? clock.now + random.int(1, 3_000) : Number.POSITIVE_INFINITY;
    waiter.priority = random.chance(0.1) ? random.int(0, 2) : 0;
    waiter.tenant = random.pick(TENANTS);
    model.asked(pool, waiter);
    waiter.since = -1;
    const entry = pool.acquire(waiter);
    if (entry === null) model.answered(waiter, null);
    // Queued for a moment, it took its turn among those that were there.
    if (entry !== null && waiter.since >= 0) {
      model.handedOut(entry, name, waiter, 'waited');
      model.answered(waiter, entry);
      this.#hold(name, pool, entry, waiter);
    } else if (entry !== null) {
      model.waiterEnded(pool, waiter, 'served at once');
      model.handedOut(entry, name, waiter, 'at once');
      model.answered(waiter, entry);
      this.#hold(name, pool, entry, waiter);
    } else if (waiter.waiting && !this.#calm && random.chance(0.1))
      clock.after(random.next() * 500, () => {
        if (!pool.cancel(waiter)) return;
        model.waiterEnded(pool, waiter, 'cancelled');
        this.#again(name, pool, waiter);
      });
  }

  #hold(name: string, pool: Pool<Conn>, entry: Entry<Conn>, waiter: Waiter<Conn>): void {
    const { random, clock } = this;
    const { generation } = entry;
    if (!this.#calm && random.chance(0.01)) clock.after(random.next() * 50, () => this.#dieHeld(entry, generation));
    const back = () => {
      if (entry.generation === generation && entry.state === EntryState.Linked)
        this.#giveBack(name, pool, entry, generation);
      if (random.chance(0.02)) this.#misuse(pool, entry, generation);
      this.#again(name, pool, waiter);
    };
    if (random.chance(0.05)) back();
    else clock.after(random.next() * (random.chance(0.05) ? 2_000 : 30), back);
  }

  #dieHeld(entry: Entry<Conn>, generation: number): void {
    if (entry.generation === generation && entry.state === EntryState.Linked) this.#die(entry);
  }

  #giveBack(name: string, pool: Pool<Conn>, entry: Entry<Conn>, generation: number): void {
    const { random, clock } = this;
    this.model.givenBack(entry, name);
    const way = random.next();
    if (way < 0.05) pool.discard(entry, generation, 'dirty');
    else if (way < 0.2) pool.release(entry, generation, 'reset');
    else if (way < 0.25) {
      pool.release(entry, generation, 'cancels');
      const as = random.chance(0.5) ? 'reset' : 'clean';
      clock.after(random.next() * 20, () => pool.cancelsLanded(entry, as));
    } else pool.release(entry, generation);
  }

  /** A stale handle must be refused, whoever holds the entry now. */
  #misuse(pool: Pool<Conn>, entry: Entry<Conn>, generation: number): void {
    try {
      pool.release(entry, generation);
    } catch (error) {
      if (error instanceof StaleEntryError) return;
      throw error;
    }
    this.model.require(false, `entry ${entry.id} was released with a stale handle`);
  }

  #again(name: string, pool: Pool<Conn>, waiter: Waiter<Conn>): void {
    if (this.clock.now > ACTIVE_MS + 2_000 || this.random.chance(0.02) || pool.mode === 'closed') return;
    this.clock.after(this.random.next() * 40, () => this.#ask(name, pool, waiter));
  }

  // Operators.

  #operate(): void {
    if (this.#calm) return;
    const { random, clock } = this;
    const pool = random.pick(this.pools);
    const deeds: (() => void)[] = [
      () => {
        this.#databaseUp = false;
        for (const each of this.pools)
          for (const entry of [...each.entries()]) if (random.chance(0.8)) this.#die(entry);
        clock.after(random.next() * 3_000, () => {
          this.#databaseUp = true;
        });
      },
      () => {
        if (pool.mode !== 'running') return;
        this.model.promises.suspended(pool);
        pool.pause(random.chance(0.5));
        clock.after(random.next() * 1_500, () => this.#resume(pool));
      },
      () => {
        this.model.promises.evicted(pool.entries());
        pool.retireAll('retired');
      },
      () => this.#resize(pool),
      () => {
        for (const entry of [...pool.lists[EntryState.Idle]!]) pool.check(entry);
      },
      () => {
        for (const entry of [...pool.entries()]) if (random.chance(0.3)) this.#die(entry);
      },
      () => {
        if (this.pools.length < 2 || !random.chance(0.2)) return;
        // Its end serves those who wait, suspended or not.
        this.model.promises.resumed(pool);
        pool.drain();
      },
      () => {
        if (this.pools.length > 1 && random.chance(0.2)) pool.shut();
      },
    ];
    const deed = random.int(0, deeds.length - 1);
    this.#note(`operator does ${deed} to ${pool.name}`);
    deeds[deed]!();
    clock.after(random.next() * 2_500, () => this.#operate());
  }

  #resize(pool: Pool<Conn>): void {
    const { random } = this;
    const reserveSize = random.int(0, 2);
    // As the library does it: a size below the reserved places is refused.
    const least = Math.max(1, this.model.reserved(pool) + 1 - reserveSize);
    pool.setPolicy({ ...pool.policy, maxSize: random.int(least, Math.max(6, least)), reserveSize });
  }

  #resume(pool: Pool<Conn>): void {
    this.model.promises.resumed(pool);
    pool.resume();
  }

  #calmDown(): void {
    this.#calm = true;
    this.#databaseUp = true;
    for (const pool of this.pools) this.#resume(pool);
  }
}
