/**
 * The process stood still: frozen, asleep, stopped, or busy with something else for long. Connections aged meanwhile; those who hold
 * or wait for one did not. Owns what the pool makes of it; that wall time has jumped is the clock's finding.
 */
import { EntryState } from '@sluice/core';
import { emitSafely } from './announce.ts';
import { listened, publish } from './channels.ts';
import { JUMP_MS } from './clock.ts';
import type { Engine } from './engine.ts';

/**
 * Reads the clock. What was due at `at` and has not happened tells that the process stood still, though its clocks went on: since when
 * nobody knows, but not before the clock was read last.
 */
export function readClock(engine: Engine, at: number): number {
  const { clockJumps } = engine.tally;
  const before = engine.clock.now;
  const now = engine.clock.refresh();
  if (now - at > JUMP_MS && clockJumps === engine.tally.clockJumps) thawed(engine, now - before);
  return now;
}

/** It stood still for `ms` milliseconds. */
export function thawed(engine: Engine, ms: number): void {
  const { core, alarm, clock } = engine;
  engine.tally.clockJumps++;
  for (const entry of core.lists[EntryState.Idle]!) entry.provenAt = Number.NEGATIVE_INFINITY;
  for (const waiter of core.queue) waiter.deadline += ms;
  for (const entry of core.lists[EntryState.Linked]!) entry.value!.sleptMs += ms;
  // Timers have slept, too.
  alarm.stop();
  alarm.noLaterThan(engine.nextWake(), clock.now);
  if (listened('clockJump')) publish('clockJump', { pool: engine.name, ms });
  emitSafely(engine.events, 'clockJump', ms);
}
