/**
 * Requests that can never be served: every connection is held by somebody who waits for this pool himself. Owns the
 * question and the error; who waits in which scope is scope.ts's.
 *
 * A holder counts as stuck when a request made inside his scope waits and his connection runs no query. Of a transaction or a `use` that
 * is sure, for its own connection: its function ends when all it waits for has. (A request that is made in it and deliberately not
 * awaited looks the same; begin such a flow outside of it.) Of other connections the holder may be doing something else meanwhile,
 * so there everything must also have stood still for a while.
 */
import { EntryState } from '@sluice/core';
import type { Conn } from './conn.ts';
import type { Engine } from './engine.ts';
import { PoolDeadlock } from './errors.ts';
import { isBusy } from './raw-client.ts';
import { beginWait, currentScope, endWait, type Scope } from './scope.ts';
import type { Ticket } from './ticket.ts';
import { capture, framesOf } from './trace.ts';

/** How long nobody may have done anything before what is not sure is believed. */
const STILL_MS = 1_000;

export class Deadlocks {
  readonly #engine: Engine;
  /** Clock milliseconds at which what is not sure is to be looked at again; Infinity: there is nothing of the kind. */
  #believedAt = Number.POSITIVE_INFINITY;
  /** Whose query has to end before it is looked again. */
  #awaited: Conn | null = null;
  /** Since when the process has not stood still itself. */
  #awakeSince = Number.NEGATIVE_INFINITY;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  nextWake(): number {
    return this.#believedAt;
  }

  /** The process has stood still: that nobody did anything meanwhile means nothing. */
  thawed(): void {
    this.#awakeSince = this.#engine.clock.now;
    if (this.#believedAt !== Number.POSITIVE_INFINITY) this.#believedAt = this.#awakeSince + STILL_MS;
  }

  /** A request was queued: does it close the circle? Then it is turned away at once. */
  began(ticket: Ticket): void {
    const scope = currentScope(this.#engine);
    if (scope === null) return;
    ticket.scope = scope;
    ticket.trace ??= capture();
    ticket.counted = true;
    beginWait(scope, ticket.trace, this.#engine.clock.now);
    this.breakUp();
  }

  ended(ticket: Ticket): void {
    if (!ticket.counted) return;
    ticket.counted = false;
    endWait(ticket.scope!);
  }

  /** Looks again: a holder whose query was still running may have come to wait since. */
  look(): void {
    this.#engine.clock.refresh();
    this.breakUp();
  }

  /**
   * Is there a circle, now that somebody waits, holds or has given back? Then the last request that came of those that are part of it
   * is refused. Who holds nothing is no part: to refuse him would not open it.
   */
  breakUp(): void {
    this.#believedAt = Number.POSITIVE_INFINITY;
    const { core } = this.#engine;
    if (core.queue.length === 0 || !this.#stuck()) return;
    const holding = new Set<Scope>();
    for (const entry of core.lists[EntryState.Linked]!) holding.add(entry.value!.scope!);
    let newest: Ticket | null = null;
    for (const waiter of core.queue) {
      const ticket = waiter as Ticket;
      if (!ticket.counted || !isWithin(ticket.scope, holding)) continue;
      if (newest === null || ticket.since >= newest.since) newest = ticket;
    }
    if (newest === null) return;
    this.#refuse(newest);
    // Its holder may wait for others, too.
    setImmediate(() => this.look());
  }

  #stuck(): boolean {
    const { core } = this.#engine;
    const linked = core.lists[EntryState.Linked]!;
    const { maxSize, reserveSize } = core.policy;
    const kept = this.#keptFromAll();
    if (linked.length === 0 || linked.length < maxSize + reserveSize - kept) return false;
    if (kept === 0 && core.size !== linked.length) return false;
    let busy: Conn | null = null;
    let believedAt = this.#awakeSince + STILL_MS;
    for (const entry of linked) {
      const conn = entry.value!;
      const { scope } = conn;
      if (scope === null || scope.waiting === 0) return false;
      // Of a connection that has failed nothing comes any more.
      if (conn.broken === null && isBusy(conn.client)) busy = conn;
      if (!conn.certain)
        believedAt = Math.max(believedAt, STILL_MS + Math.max(entry.stateSince, conn.lastAt, scope.waitSince));
    }
    if (busy !== null) this.#lookAfter(busy);
    else if (believedAt <= this.#engine.clock.now) return true;
    else {
      this.#believedAt = believedAt;
      this.#engine.wake(believedAt);
    }
    return false;
  }

  #lookAfter(busy: Conn): void {
    if (this.#awaited === busy) return;
    this.#awaited = busy;
    busy.whenReady(() => {
      if (this.#awaited === busy) this.#awaited = null;
      setImmediate(() => this.look());
    });
  }

  /** Reserved places, if nobody who waits may take them. */
  #keptFromAll(): number {
    const { settings, core } = this.#engine;
    if (settings.reservedSlots === 0) return 0;
    // Those of the highest priority come first.
    for (const { priority } of core.queue) return priority >= settings.reservedPriority ? 0 : settings.reservedSlots;
    return 0;
  }

  #refuse(ticket: Ticket): void {
    const engine = this.#engine;
    engine.tally.deadlocks++;
    const stacks: string[] = [];
    for (const entry of engine.core.lists[EntryState.Linked]!) {
      const conn = entry.value!;
      stacks.push(
        `pid ${conn.client.processID ?? '?'}, last query: ${conn.lastSql || '(none)'}\n  acquired at\n${framesOf(conn.trace) || '    (not recorded)'}\n` +
          `  its holder waits at\n${framesOf(conn.scope!.waitTrace)}`,
      );
    }
    const kept = this.#keptFromAll();
    const message =
      `deadlock in pool "${engine.name}": all ${stacks.length} connections${kept > 0 ? ` but the ${kept} of reservedSlots` : ''} are held by code that itself waits for this pool, so none would ever come back. ` +
      'Use the connection you hold for the inner work (pass it on, or nest tx.transaction), or raise max above the number of flows that nest.';
    engine.turnAway(ticket, new PoolDeadlock(`${message}\n${stacks.join('\n')}`, stacks), 'cancelled');
  }
}

function isWithin(scope: Scope | null, scopes: ReadonlySet<Scope>): boolean {
  for (let at = scope; at !== null; at = at.parent) if (scopes.has(at)) return true;
  return false;
}
