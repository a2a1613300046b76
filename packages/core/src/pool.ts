/**
 * The pool: entries, waiters, limits and their lifecycle. Synchronous; every method decides, moves, then notifies.
 * Knows no PostgreSQL, no sockets, no clock of its own. Session, transaction and statement mode differ only in when
 * `release` is called, so no branch for them stands here. When to dial is in adder.ts.
 */
import { Adder } from './adder.ts';
import { Entry } from './entry.ts';
import { InvariantError } from './errors.ts';
import { closeIdle, fitIdle, goesStraight, startCheck } from './idle.ts';
import { assertHeld, changesNothing, stronger, whyRefuse, whyRetire } from './life.ts';
import type { Limit } from './limit.ts';
import { List } from './list.ts';
import type { PoolEnvironment, PoolPolicy } from './policy.ts';
import type { PoolOptions, ReleaseAs } from './pool-options.ts';
import type { PoolSet } from './pool-set.ts';
import type { PoolPort } from './port.ts';
import { FifoQueue, type WaitQueue } from './queue.ts';
import { HoldEstimate } from './shed.ts';
import { type CloseReason, ENTRY_STATE_NAMES, EntryState, MOVE_BITS, type PoolMode, type Refusal } from './states.ts';
import { PoolStats } from './stats.ts';
import { sweepIdle } from './sweep.ts';
import type { Waiter } from './waiter.ts';

export class Pool<T> {
  readonly name: string;
  readonly port: PoolPort<T>;
  readonly env: PoolEnvironment;
  readonly limits: readonly Limit[];
  readonly set: PoolSet<T> | null;
  readonly queue: WaitQueue<T>;
  readonly stats = new PoolStats();
  readonly adder: Adder<T>;
  /** How long entries are held, for shedding; kept only while the policy sheds. */
  readonly hold = new HoldEstimate();
  policy: PoolPolicy;
  mode: PoolMode = 'running';
  /** Entries by state; their lengths are the counts. Closed entries stand in none. */
  readonly lists: readonly List<Entry<T>>[];
  /** Entries in every state but closed: what the limits count. */
  size = 0;
  /** In the middle of `serve`: what asks for it now is served after. */
  serving = false;
  /** A new policy may have made it too large: looked at as entries come back. */
  mayBeTooLarge = false;
  /** Checked for those who wait, and not given to one of them yet. */
  justChecked: Entry<T> | null = null;
  /** The waiter in whose `acquire` the queue is being served, and what it was given. */
  #asking: Waiter<T> | null = null;
  #given: Entry<T> | null = null;
  #again = false;

  constructor(options: PoolOptions<T>) {
    this.name = options.name;
    this.policy = options.policy;
    this.port = options.port;
    this.env = options.env;
    this.limits = options.limits ?? [];
    this.set = options.set ?? null;
    this.queue = options.queue ?? new FifoQueue<T>();
    this.lists = ENTRY_STATE_NAMES.slice(0, EntryState.Closed).map((name) => new List<Entry<T>>(name));
    this.adder = new Adder<T>(this);
    this.set?.pools.add(this);
  }

  /** Entries in a state. */
  count(state: EntryState): number {
    return state === EntryState.Closed ? 0 : this.lists[state]!.length;
  }

  /** Every entry, in no promised order. */
  *entries(): IterableIterator<Entry<T>> {
    for (const list of this.lists) yield* list;
  }

  /**
   * An entry at once, or null: then the waiter is queued, or was refused, and its owner hears exactly once.
   * Nobody passes a waiter: with a queue, a newcomer joins its end.
   */
  acquire(waiter: Waiter<T>): Entry<T> | null {
    if (waiter.waiting) throw new InvariantError(`pool "${this.name}": a waiter that is queued asked again`);
    if (this.mode === 'running' && this.queue.length === 0 && !this.serving && this.queue.admits(waiter)) {
      const entry = fitIdle(this);
      if (entry !== null) {
        this.#link(entry);
        if (this.policy.minIdle) this.adder.grow();
        return entry;
      }
    }
    waiter.since = this.env.now();
    const refusal = whyRefuse(this, waiter);
    if (refusal !== null) return this.#refuse(waiter, refusal);
    this.queue.push(waiter);
    if (changesNothing(this, waiter)) return null;
    if (!this.serving) this.#asking = waiter;
    this.serve();
    const entry = this.#asking === waiter ? this.#given : null;
    if (this.#asking === waiter) this.#asking = this.#given = null;
    return entry;
  }

  /** Takes a waiter out of the queue; its owner is not called. False when it was not waiting. */
  cancel(waiter: Waiter<T>, reason: Refusal = 'cancelled'): boolean {
    if (!waiter.waiting) return false;
    this.queue.remove(waiter);
    this.stats.refused[reason]++;
    if (this.mode === 'draining') this.serve();
    return true;
  }

  /** Refuses everybody who waits (the database refused us for good, the pool was closed). */
  refuseAll(reason: Refusal): void {
    const waiting = [...this.queue];
    for (const waiter of waiting) this.queue.remove(waiter);
    for (const waiter of waiting) this.#refuse(waiter, reason);
  }

  /** Gives an entry back that has answered at `provenAt`. Throws StaleEntryError when the generation is not the one that was handed out. */
  release(entry: Entry<T>, generation: number, as: ReleaseAs = 'clean', provenAt = this.env.now()): void {
    assertHeld(this, entry, generation);
    entry.generation++;
    entry.lastUsedAt = this.env.now();
    entry.provenAt = provenAt;
    if (this.policy.shed) this.hold.note(entry.lastUsedAt - entry.stateSince);
    const reason = as === 'clean' ? null : whyRetire(this, entry);
    if (reason !== null) this.close(entry, reason);
    else if (as === 'clean') this.#free(entry);
    else {
      if (as === 'cancels') this.#move(entry, EntryState.CancelWait);
      else this.#startReset(entry);
      // It is held no more: one who may not take a reserved place may have become eligible for an entry that is idle.
      if (this.queue.length > 0) this.serve();
    }
  }

  /** Gives an entry back that must not be used again. */
  discard(entry: Entry<T>, generation: number, reason: CloseReason): void {
    assertHeld(this, entry, generation);
    entry.generation++;
    this.close(entry, reason);
  }

  /** Closes at the next release, or now when nobody holds it. */
  retire(entry: Entry<T>, reason: CloseReason): void {
    if (entry.state === EntryState.Linked) entry.retiring = stronger(entry.retiring, reason);
    else if (entry.state < EntryState.Closing) this.close(entry, reason);
  }

  /** Retires every entry that exists now (PgBouncer's RECONNECT, HikariCP's soft evict). */
  retireAll(reason: CloseReason): void {
    const before = this.serving;
    // Nobody is served meanwhile: he might get one of those that are about to close.
    this.serving = true;
    for (const entry of [...this.entries()]) this.retire(entry, reason);
    this.serving = before;
    this.serve();
  }

  /** Tells the port to close; the entry stays counted until `closed`. For entries that nobody holds any more. */
  close(entry: Entry<T>, reason: CloseReason): void {
    if (entry.state >= EntryState.Closing) return;
    this.#end(entry, reason);
    this.port.close(entry, reason);
    if (this.queue.length > 0 || this.policy.minSize > 0 || this.policy.minIdle) this.serve();
  }

  // Answers of the port.

  opened(entry: Entry<T>): void {
    if (entry.state !== EntryState.Opening) return;
    this.stats.opened++;
    this.adder.succeeded();
    const { lifetimeMs, lifetimeJitter } = this.policy;
    const now = this.env.now();
    if (lifetimeMs > 0) entry.expiresAt = now + lifetimeMs * (1 - lifetimeJitter * this.env.random());
    entry.lastUsedAt = entry.provenAt = now;
    this.justChecked = entry;
    this.#free(entry);
    this.serve(); // only so many are dialled at once: more may be wanted, though nobody waits
  }

  /** The dial failed and left nothing to close. `error` is kept as the adder's `lastError`. */
  openFailed(entry: Entry<T>, error: unknown): void {
    if (entry.state !== EntryState.Opening) return;
    this.stats.openFailed++;
    this.adder.failed(error, entry.createdAt);
    this.lost(entry, 'open failed');
  }

  checked(entry: Entry<T>, alive: boolean): void {
    if (entry.state !== EntryState.Checking) return;
    entry.provenAt = this.env.now();
    if (alive) {
      this.justChecked = entry;
      this.#free(entry);
      if (!this.serving) this.justChecked = null;
    } else this.close(entry, 'check failed');
  }

  resetDone(entry: Entry<T>, clean: boolean): void {
    if (entry.state !== EntryState.Resetting) return;
    if (clean) this.#free(entry);
    else this.close(entry, 'reset failed');
  }

  /** No cancel request can reach the entry any more. */
  cancelsLanded(entry: Entry<T>, as: 'clean' | 'reset'): void {
    if (entry.state !== EntryState.CancelWait) return;
    const reason = whyRetire(this, entry);
    if (reason !== null) this.close(entry, reason);
    else if (as === 'reset') this.#startReset(entry);
    else this.#free(entry);
  }

  /** The connection is gone, by itself or by the port's doing; a holder's handle is stale from here on. */
  lost(entry: Entry<T>, reason: CloseReason = 'lost'): void {
    if (entry.state >= EntryState.Closing) return;
    entry.generation++;
    this.#end(entry, reason);
    this.closed(entry);
  }

  /** The place at the database is free again. */
  closed(entry: Entry<T>): void {
    if (entry.state !== EntryState.Closing) return;
    this.#move(entry, EntryState.Closed);
    for (const limit of this.limits) limit.used--;
    if (this.set === null) this.serve();
    else this.set.capacityFreed(this.limits, this);
  }

  /** Hands nothing out until `resume`. With `closeIdle` free entries close, now and as they come back (PAUSE). */
  pause(closeIdle: boolean): void {
    if (this.mode !== 'running') return;
    this.mode = 'paused';
    if (closeIdle) this.retireAll('paused');
  }

  resume(): void {
    if (this.mode !== 'paused') return;
    this.mode = 'running';
    for (const entry of this.lists[EntryState.Linked]!) if (entry.retiring === 'paused') entry.retiring = null;
    this.serve();
  }

  /** Refuses new requests, serves those queued, closes entries as they come back. */
  drain(): void {
    if (this.mode === 'closed') return;
    this.mode = 'draining';
    this.serve();
  }

  /** Refuses everybody, closes what is free now and what is held at its release. */
  shut(): void {
    if (this.mode === 'closed') return;
    this.mode = 'closed';
    this.refuseAll('pool closed');
    this.retireAll('drained');
  }

  setPolicy(policy: PoolPolicy): void {
    this.policy = policy;
    this.mayBeTooLarge = true;
    this.serve();
  }

  /** The coarse clock: deadlines, idle timeouts, lifetimes, the reserve, retries, the minimum. */
  tick(): void {
    const now = this.env.now();
    // The owner of one may take out others.
    for (const waiter of [...this.queue]) {
      if (!waiter.waiting || waiter.deadline > now) continue;
      this.queue.remove(waiter);
      this.#refuse(waiter, 'timeout');
    }
    sweepIdle(this, now);
    this.serve();
  }

  /** Serves the head of the queue with whatever is free, then lets the adder dial. Re-entrant calls run after. */
  serve(): void {
    this.#again = true;
    if (this.serving) return;
    this.serving = true;
    try {
      while (this.#again) {
        this.#again = false;
        this.#serveQueue();
        if (this.mode === 'draining' && this.queue.length === 0) closeIdle(this, 'drained');
        this.adder.grow();
      }
    } finally {
      this.serving = false;
      this.justChecked = null;
    }
    this.set?.caughtUp(this);
  }

  #serveQueue(): void {
    if (this.mode !== 'running' && this.mode !== 'draining') return;
    for (let waiter = this.queue.head; waiter !== null; waiter = this.queue.head) {
      const entry = fitIdle(this);
      if (entry !== null) this.#handOver(entry, waiter);
      else if (!startCheck(this)) return;
    }
  }

  #handOver(entry: Entry<T>, waiter: Waiter<T>): void {
    this.queue.remove(waiter);
    this.#link(entry);
    this.queue.served(waiter);
    // Who is asking at this moment gets it as the answer: its owner is called only when it has been told to wait.
    if (waiter === this.#asking) this.#given = entry;
    else {
      this.stats.noteWait(this.env.now() - waiter.since);
      waiter.owner.served(entry, waiter);
    }
  }

  /** Has an idle entry checked now (keepalive, an operator, a thaw). False when it is not idle. */
  check(entry: Entry<T>): boolean {
    if (entry.state !== EntryState.Idle) return false;
    this.#move(entry, EntryState.Checking);
    this.port.check(entry);
    return true;
  }

  #startReset(entry: Entry<T>): void {
    this.#move(entry, EntryState.Resetting);
    this.port.reset(entry);
  }

  #link(entry: Entry<T>): void {
    this.#move(entry, EntryState.Linked);
    if (this.justChecked === entry) this.justChecked = null;
    entry.generation++;
    entry.uses++;
    this.stats.handouts++;
  }

  /** The entry is fit for the next holder: the head of the queue, or nobody. */
  #free(entry: Entry<T>): void {
    const reason = whyRetire(this, entry);
    if (reason !== null) {
      this.close(entry, reason);
      return;
    }
    const waiter = this.queue.head;
    if (this.set !== null && this.set.blocked > 0 && this.set.mustYield(this)) {
      this.#move(entry, EntryState.Idle);
      this.close(entry, 'evicted');
    } else if (waiter !== null && this.mode !== 'paused' && !this.serving && goesStraight(this, entry)) {
      this.#handOver(entry, waiter);
    } else {
      this.#move(entry, EntryState.Idle);
      if (this.queue.length > 0) this.serve();
    }
  }

  #refuse(waiter: Waiter<T>, reason: Refusal): null {
    this.stats.refused[reason]++;
    waiter.owner.refused(reason, waiter);
    return null;
  }

  #end(entry: Entry<T>, reason: CloseReason): void {
    if (reason === 'lost') this.adder.lost(entry);
    entry.closeReason = reason;
    this.stats.closed[reason]++;
    this.#move(entry, EntryState.Closing);
  }

  /** Begins the life of an entry: counted, then dialled. Only the adder calls it. */
  open(): Entry<T> {
    const entry = new Entry<T>(this, this.env.now());
    for (const limit of this.limits) {
      if (limit.full) throw new InvariantError(`limit "${limit.name}" of ${limit.max} exceeded by pool "${this.name}"`);
      limit.used++;
    }
    this.lists[EntryState.Opening]!.push(entry);
    this.size++;
    this.stats.dials++;
    this.port.open(entry);
    return entry;
  }

  /** The one mover: checks the table, changes list, state and timestamp. */
  #move(entry: Entry<T>, to: EntryState): void {
    const from = entry.state;
    if ((MOVE_BITS[from]! & (1 << to)) === 0)
      throw new InvariantError(
        `pool "${this.name}": entry ${entry.id} may not go from ${ENTRY_STATE_NAMES[from]} to ${ENTRY_STATE_NAMES[to]}`,
      );
    this.lists[from]!.remove(entry);
    entry.state = to;
    entry.stateSince = this.env.now();
    if (to === EntryState.Closed) this.size--;
    else this.lists[to]!.push(entry);
    this.set?.onMove?.(from, to);
  }
}
