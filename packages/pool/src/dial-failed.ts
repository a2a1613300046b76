/** Who hears of a dial that failed. Owns the choice; the next dial is the core's. */
import { type Entry, EntryState } from '@sluice/core';
import { emitSafely } from './announce.ts';
import { channels } from './channels.ts';
import type { Conn } from './conn.ts';
import type { Engine } from './engine.ts';
import { ConfigNotMade } from './errors.ts';
import { dialError } from './refusals.ts';
import type { Ticket } from './ticket.ts';

/** When no connection has come back for so long, those who would wait for ever do not wait for one. */
const STILL_MS = 1_000;

/**
 * With compat the first who waits is told, as if the dial had been its own; else all, when no connection is left, and those who
 * have set no limit where those that are left are kept. They leave the queue before the core looks for whom to dial next, and
 * hear after it has.
 */
export function dialFailed(engine: Engine, entry: Entry<Conn>, error: unknown): void {
  const { core, settings } = engine;
  const { now } = engine.clock;
  if (channels.openFailed.hasSubscribers)
    channels.openFailed.publish({ pool: engine.name, error, failures: core.adder.failures + 1 });
  const leaving: Ticket[] = [];
  const isLast = core.size - core.count(EntryState.Closing) === 1;
  const isStill = now - engine.returnedAt >= STILL_MS;
  for (const waiter of settings.compat || settings.whenDown === 'fail' ? [...core.queue] : []) {
    const endless = waiter.deadline === Number.POSITIVE_INFINITY && now - waiter.since >= STILL_MS;
    const concerned = settings.compat
      ? leaving.length === 0 && waiter.since <= entry.createdAt
      : isLast || (isStill && endless);
    if (concerned && core.cancel(waiter, 'open failed')) leaving.push(waiter as Ticket);
  }
  core.openFailed(entry, error);
  for (const ticket of leaving) {
    engine.deadlocks.ended(ticket);
    engine.fail(ticket, dialError(engine, error, Math.round(now - ticket.since)));
  }
  for (const watcher of [...engine.watchers]) watcher.dialFailed(error);
  emitSafely(engine.events, 'reconnectFailed', error instanceof ConfigNotMade ? error.cause : error);
}
