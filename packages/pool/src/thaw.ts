/**
 * The process stood still: frozen, asleep, stopped, or busy with something else for long. Connections aged meanwhile; those who hold
 * or wait for one did not. Owns what the pool makes of it; that wall time has jumped is the clock's finding.
 */
import { EntryState } from '@sluice/core';
import { emitSafely } from './announce.ts';
import { channels } from './channels.ts';
import { JUMP_MS } from './clock.ts';
import type { Engine } from './engine.ts';
import type { Ticket } from './ticket.ts';

/** What who waits gets on top. */
export const GRACE_MS = 100;

/**
 * Reads the clock. A timer that is late (the one that has just rung, or else the one that is set) tells that the process stood still,
 * though its clocks went on: for how long nobody knows, but at least for that.
 */
export function readClock(engine: Engine, rungLateMs?: number): number {
  const { clockJumps } = engine.tally;
  const now = engine.clock.refresh();
  const lateMs = rungLateMs ?? (now - engine.alarm.at > JUMP_MS ? engine.alarm.lateMs : 0);
  if (lateMs > JUMP_MS && clockJumps === engine.tally.clockJumps) {
    excuse(engine, lateMs);
    thawed(engine, lateMs);
  }
  return now;
}

/** It stood still for `ms` milliseconds. */
export function thawed(engine: Engine, ms: number): void {
  const { core, alarm, clock } = engine;
  engine.tally.clockJumps++;
  for (const entry of core.lists[EntryState.Idle]!) entry.provenAt = Number.NEGATIVE_INFINITY;
  for (const waiter of core.queue) if (!(waiter as Ticket).untilDate) waiter.deadline += ms;
  for (const entry of core.lists[EntryState.Linked]!) entry.value!.sleptMs += ms;
  engine.deadlocks.thawed();
  // Timers have slept, too.
  alarm.stop();
  alarm.noLaterThan(engine.nextWake(), clock.now);
  if (channels.clockJump.hasSubscribers) channels.clockJump.publish({ pool: engine.name, ms });
  emitSafely(engine.events, 'clockJump', ms);
}

/**
 * What came for those who wait while the process stood still has not been read yet, and nobody knows how much time a holder has had of
 * his own. Once, so that a process which often stands still keeps its limits.
 */
function excuse({ core, clock }: Engine, lateMs: number): void {
  for (const waiter of core.queue) {
    const ticket = waiter as Ticket;
    if (!ticket.excused) ticket.deadline += GRACE_MS;
    ticket.excused = true;
  }
  for (const entry of core.lists[EntryState.Linked]!) {
    const conn = entry.value!;
    if (!conn.excused) conn.sleptMs = clock.now - entry.stateSince - lateMs;
    conn.excused = true;
  }
}
