/**
 * The pool's engine: the core with its clock, alarm, queue and port, and requests going in and connections coming back.
 * Owns hand-out and return; the public faces (pool.ts, lease.ts, transaction.ts) are thin over it.
 */

import { EventEmitter } from 'node:events';
import {
  Pool as Core,
  type Entry,
  EntryState,
  FairQueue,
  FifoQueue,
  nextWake,
  type Refusal,
  type Waiter,
  type WaitQueue,
} from '@sluice/core';
import { Alarm } from './alarm.ts';
import { emitSafely, isHeard } from './announce.ts';
import { channels } from './channels.ts';
import { Clock } from './clock.ts';
import type { Conn } from './conn.ts';
import type { AcquireOptions, PoolOptions } from './contract.ts';
import { Deadlocks } from './deadlocks.ts';
import type { DialOptions } from './dial.ts';
import { dialFailed } from './dial-failed.ts';
import { AcquireAborted, StaleHandle } from './errors.ts';
import { Hosts } from './hosts.ts';
import { Keepalive } from './keepalive.ts';
import { Leaks } from './leaks.ts';
import { readPolicy, readSettings, type Settings } from './options.ts';
import { ClientPort } from './port.ts';
import { Queries } from './queries.ts';
import { isBusy, isSpent, type RawClient, type RawClientClass } from './raw-client.ts';
import { errorOf } from './refusals.ts';
import { currentScope, isInScope } from './scope.ts';
import { onAbort } from './signals.ts';
import { Tally } from './tally.ts';
import { readClock, thawed } from './thaw.ts';
import { Ticket } from './ticket.ts';
import { capture } from './trace.ts';

/** Ended tickets kept for reuse: as many requests as may wait without an allocation. */
const SPARE_TICKETS = 8_192;

/** Hears what becomes of dials. */
export interface PoolWatcher {
  opened(): void;
  dialFailed(error: unknown): void;
  ended(): void;
}

const itself = (_engine: Engine, conn: Conn): Conn => conn;

/** Of a pool that ends: what is being opened and nobody waits for. */
function closeUnwanted(core: Core<Conn>): void {
  if (core.queue.length > 0) return;
  for (const entry of [...core.lists[EntryState.Opening]!]) core.close(entry, 'drained');
}

export class Engine {
  readonly name: string;
  readonly options: PoolOptions;
  readonly settings: Settings;
  readonly events: EventEmitter;
  /** Rejections of its listeners are told by 'error': Node decides when an emitter is made. */
  readonly capturesRejections = EventEmitter.captureRejections;
  readonly clock = new Clock();
  readonly alarm: Alarm;
  readonly core: Core<Conn>;
  readonly port: ClientPort;
  readonly queries: Queries;
  readonly leaks: Leaks;
  readonly keepalive: Keepalive;
  readonly deadlocks: Deadlocks;
  readonly tally = new Tally();
  /** The minimum that was asked for; the policy's is 1 at least while somebody waits for the pool to be warm. */
  minAsked: number;
  readonly dialOptions: DialOptions;
  /** Does anything of the application's run between getting a connection and giving it out? */
  readonly hasHandoutHooks: boolean;
  /** Clock milliseconds at which a connection last came back, or was opened. */
  returnedAt = Number.NEGATIVE_INFINITY;
  /** Called when the last connection of an ending pool is gone. */
  onEmpty: (() => void) | null = null;
  /** Who waits for the pool to be warm. */
  readonly watchers = new Set<PoolWatcher>();
  /** Tickets that have ended, for the next requests. */
  readonly #spare: Ticket[] = [];
  readonly #owner = {
    served: (entry: Entry<Conn>, waiter: Waiter<Conn>) => this.#served(entry, waiter as Ticket),
    refused: (reason: Refusal, waiter: Waiter<Conn>) => this.#refused(reason, waiter as Ticket),
  };

  constructor(events: EventEmitter, options: PoolOptions, Client: RawClientClass) {
    this.events = events;
    this.options = options;
    this.settings = readSettings(options);
    this.hasHandoutHooks = options.verify !== undefined || options.prepare !== undefined;
    this.name = this.settings.name;
    this.alarm = new Alarm((at, lateMs) => this.#ring(at, lateMs), !this.settings.allowExitOnIdle);
    this.port = new ClientPort(this);
    this.queries = new Queries(this);
    this.leaks = new Leaks(this);
    this.keepalive = new Keepalive(this);
    this.deadlocks = new Deadlocks(this);
    const { dialTimeoutMs: timeoutMs } = this.settings;
    this.dialOptions = { options, Client, hosts: new Hosts(options), credentials: {}, timeoutMs };
    this.core = new Core<Conn>({
      name: this.name,
      policy: readPolicy(options),
      port: this.port,
      env: { now: () => this.clock.now, random: this.settings.random },
      queue: this.#makeQueue(),
    });
    this.minAsked = this.core.policy.minSize;
    this.clock.onJump = (ms) => thawed(this, ms);
    // After the constructor, so that listeners of 'connect' are there.
    if (this.core.policy.minSize > 0 || this.core.policy.minIdle) queueMicrotask(() => this.tick());
  }

  #makeQueue(): WaitQueue<Conn> {
    const { reservedSlots, reservedPriority, tenantWeights } = this.settings;
    if (reservedSlots === 0 && tenantWeights.size === 0) return new FifoQueue<Conn>();
    return new FairQueue<Conn>({
      weights: tenantWeights,
      reserved: reservedSlots,
      reservedFrom: reservedPriority,
      capacity: {
        held: () => this.core.count(EntryState.Linked),
        max: () => this.core.policy.maxSize + this.core.policy.reserveSize,
      },
    });
  }

  log(message: string): void {
    this.options.log?.(message);
  }

  get wantsPrimary(): boolean {
    const { attrs } = this.dialOptions.hosts;
    return attrs === 'primary' || attrs === 'read-write';
  }

  get ending(): boolean {
    return this.core.mode === 'draining' || this.core.mode === 'closed';
  }

  // Requests.

  /** A connection at once, or the ticket that waits for one, or has ended (`error`). */
  request(options: AcquireOptions | undefined): Conn | Ticket {
    const now = readClock(this);
    const ticket = this.#spare.pop() ?? new Ticket(this.#owner, itself);
    const patience = this.settings.connectionTimeoutMs;
    ticket.patienceMs = patience;
    ticket.deadline = patience > 0 ? now + patience : Number.POSITIVE_INFINITY;
    if (options !== undefined) ticket.apply(options, now);
    if (ticket.untilDate && ticket.deadline <= now) {
      ticket.since = now;
      this.#refused('timeout', ticket);
      return ticket;
    }
    if (this.settings.leakMs > 0 || isInScope()) ticket.trace = capture();
    const entry = this.core.acquire(ticket) ?? ticket.entry;
    if (entry !== null) {
      const conn = this.#hand(entry, ticket);
      this.#done(ticket);
      return conn;
    }
    if (ticket.waiting) this.#queued(ticket, options?.signal ?? undefined);
    return ticket;
  }

  /** A connection that is free this moment, or null; never waits and never dials. */
  takeFree(): Conn | null {
    this.clock.refresh();
    const got = this.request({ timeoutMillis: 0 });
    if (!(got instanceof Ticket)) return got;
    this.core.cancel(got);
    this.deadlocks.ended(got);
    return null;
  }

  #queued(ticket: Ticket, signal: AbortSignal | undefined): void {
    this.wake(Math.min(ticket.deadline, this.core.adder.dueAt));
    if (signal !== undefined) {
      const abort = () => {
        this.clock.refresh();
        this.turnAway(ticket, new AcquireAborted(signal.reason), 'cancelled');
      };
      if (signal.aborted) {
        abort();
        return;
      }
      ticket.stopListening = onAbort(signal, abort);
    }
    if (this.settings.deadlocks !== false) this.deadlocks.began(ticket);
  }

  #served(entry: Entry<Conn>, ticket: Ticket): void {
    ticket.entry = entry;
    if (ticket.resolve === null) return;
    this.deadlocks.ended(ticket);
    ticket.unhook();
    this.tally.waitMs.note(this.clock.now - ticket.since);
    const { resolve, shape } = ticket;
    const conn = this.#hand(entry, ticket);
    this.#done(ticket);
    resolve(shape(this, conn));
    if (conn.scope !== null) this.deadlocks.breakUp();
  }

  #done(ticket: Ticket): void {
    if (this.settings.allowExitOnIdle) this.alarm.keepAlive(this.core.queue.length > 0);
    ticket.clear();
    if (this.#spare.length < SPARE_TICKETS) this.#spare.push(ticket);
  }

  #refused(reason: Refusal, ticket: Ticket): void {
    this.deadlocks.ended(ticket);
    this.fail(ticket, errorOf(this, reason, ticket));
  }

  /** It is out of the queue, and ends with this. */
  fail(ticket: Ticket, error: unknown): void {
    ticket.unhook();
    ticket.error = error;
    if (channels.refused.hasSubscribers) channels.refused.publish({ pool: this.name, error });
    ticket.reject?.(error);
    if (this.ending) this.wake();
  }

  /** Ends a waiting request with an error of the caller's making. */
  turnAway(ticket: Ticket, error: unknown, reason: Refusal): void {
    if (!this.core.cancel(ticket, reason)) return;
    this.deadlocks.ended(ticket);
    this.fail(ticket, error);
  }

  /** The entry is this request's from here on. */
  #hand(entry: Entry<Conn>, ticket: Ticket): Conn {
    const conn = entry.value!;
    conn.generation = entry.generation;
    conn.tenant = ticket.tenant;
    conn.priority = ticket.priority;
    // Who has waited is served in the context of whoever gave back.
    const scope = ticket.resolve === null && this.settings.deadlocks !== false ? currentScope(this) : null;
    conn.heldIn(ticket.scope ?? scope);
    conn.trace = ticket.trace;
    this.tally.acquires++;
    if (this.settings.allowExitOnIdle) conn.client.ref?.();
    if (this.settings.leakMs > 0) this.wake(this.clock.now + this.settings.leakMs);
    if (isHeard(this.events, 'acquire')) emitSafely(this.events, 'acquire', conn.client);
    if (channels.acquire.hasSubscribers) {
      const waitMs = ticket.resolve === null ? 0 : this.clock.now - ticket.since;
      channels.acquire.publish({ pool: this.name, client: conn.client, waitMs });
    }
    return conn;
  }

  /** Throws StaleHandle when the handle was given back before. `error`: true or an error closes the connection. */
  release(conn: Conn, generation: number, error?: unknown): void {
    const { entry, client } = conn;
    if (entry.generation !== generation || entry.state !== EntryState.Linked) {
      this.tally.staleHandles++;
      throw new StaleHandle('Release called on client which has already been released to the pool.');
    }
    const now = this.clock.refresh();
    this.returnedAt = now;
    client._poolUseCount = entry.uses;
    if (conn.leakReported) this.leaks.cameBack(conn);
    conn.fresh = false;
    if (isHeard(this.events, 'release')) emitSafely(this.events, 'release', error, client);
    this.forfeit(conn);
    this.#giveBack(conn, generation, error);
    // Places kept for a priority: with this one free, those that are left may all wait for one another.
    if (this.settings.reservedSlots > 0 && this.settings.deadlocks !== false) this.deadlocks.breakUp();
    const { idleTimeoutMs } = this.core.policy;
    this.wake(idleTimeoutMs > 0 ? Math.min(now + idleTimeoutMs, entry.expiresAt) : entry.expiresAt);
  }

  /** Nobody holds it any more: given back, or taken away. */
  forfeit(conn: Conn): void {
    const heldMs = this.clock.now - conn.entry.stateSince;
    this.tally.useMs.note(heldMs);
    if (channels.release.hasSubscribers) channels.release.publish({ pool: this.name, client: conn.client, heldMs });
    conn.letGo();
  }

  #giveBack(conn: Conn, generation: number, error: unknown): void {
    const { entry, client } = conn;
    const { core, settings } = this;
    if (error || conn.broken !== null || isSpent(client)) {
      core.discard(entry, generation, conn.broken !== null ? 'lost' : 'dirty');
      return;
    }
    if (conn.cancels > 0) {
      core.release(entry, generation, 'cancels');
      return;
    }
    if (core.queue.length === 0 && (settings.nullPool || this.#tooMany)) core.retire(entry, 'resized');
    // Who holds a connection for long without a word to it has not proven it.
    const provenAt = conn.watched ? conn.lastAt : undefined;
    core.release(entry, generation, this.#isClean(conn) ? 'clean' : 'reset', provenAt);
    this.nowIdle(entry);
    if (settings.keepaliveMs > 0) this.wake(this.clock.now + settings.keepaliveMs);
  }

  /** Are there connections beyond `max` (overflow, a smaller size)? */
  get #tooMany(): boolean {
    const { core } = this;
    return core.size > core.policy.maxSize && core.size - core.count(EntryState.Closing) > core.policy.maxSize;
  }

  #isClean(conn: Conn): boolean {
    if (this.options.afterRelease !== undefined || isBusy(conn.client)) return false;
    const { reset } = this.settings;
    return reset === 'none' || (reset === 'lazy' && conn.transaction === 'I' && conn.dirt === 0);
  }

  /** No cancel can reach the connection any more. */
  cancelsLanded(conn: Conn): void {
    if (conn.broken !== null) this.core.retire(conn.entry, 'lost');
    else this.core.cancelsLanded(conn.entry, 'reset');
  }

  /** After anything that may have made the entry idle. */
  nowIdle(entry: Entry<Conn>): void {
    if (entry.state !== EntryState.Idle) return;
    const isWanted = this.core.queue.length > 0 || this.watchers.size > 0;
    if (!isWanted && (this.settings.nullPool || this.#tooMany)) this.core.close(entry, 'resized');
    else if (this.settings.allowExitOnIdle) entry.value!.client.unref?.();
  }

  // Answers of the port.

  /** A dial has ended. */
  opened(entry: Entry<Conn>, error: unknown): void {
    const { core } = this;
    if (entry.state === EntryState.Closing) core.closed(entry);
    else if (entry.state === EntryState.Opening && error === null) {
      core.opened(entry);
      this.returnedAt = this.clock.now;
      for (const watcher of [...this.watchers]) watcher.opened();
      this.nowIdle(entry);
      this.wake(entry.expiresAt);
    } else if (entry.state === EntryState.Opening) dialFailed(this, entry, error);
    // Also for a pool that ends: this dial was perhaps the last thing it waited for.
    this.wake();
  }

  idleFailed(error: Error, client: RawClient): void {
    if (channels.lost.hasSubscribers) channels.lost.publish({ pool: this.name, client, error });
    (error as Error & { client?: unknown }).client = client;
    // Unlike in pg-pool an idle connection that fails does not end a process that forgot to listen.
    if (this.settings.compat || this.events.listenerCount('error') > 0) emitSafely(this.events, 'error', error, client);
  }

  /** What failed on one connection likely failed on all that are older, of the same host. */
  distrust(before: number, culprit: Conn): void {
    for (const entry of [...this.core.entries()])
      if (entry.createdAt <= before && entry.value !== null && entry !== culprit.entry)
        if (entry.value.host === culprit.host) this.core.retire(entry, 'lost');
  }

  /** Makes sure of a tick at `at`, or at the next deadline of all. */
  wake(at: number = this.nextWake()): void {
    if (this.ending) closeUnwanted(this.core);
    const over = this.ending && this.core.size === 0 && this.core.queue.length === 0;
    // Who waits is told what becomes of it, also where an idle pool lets the process end.
    if (this.settings.allowExitOnIdle) this.alarm.keepAlive(this.core.queue.length > 0);
    if (at < this.alarm.at && !over) this.alarm.noLaterThan(at, this.clock.now);
    if (over) this.onEmpty?.();
  }

  nextWake(): number {
    const { core, leaks, keepalive, deadlocks } = this;
    return Math.min(nextWake(core), leaks.nextWake(), keepalive.nextWake(), deadlocks.nextWake());
  }

  tick(): void {
    this.clock.refresh();
    this.core.tick();
    this.keepalive.look();
    this.leaks.look();
    if (this.settings.deadlocks !== false) this.deadlocks.look();
    this.wake();
  }

  #ring(at: number, lateMs: number): void {
    readClock(this, lateMs);
    this.clock.atLeast(at);
    this.tick();
  }
}
