/** `pool.stats()`: every number the pool keeps, field by field. Reads an engine, changes nothing. */
import { type CloseReason, EntryState, type Refusal } from '@sluice/core';
import type { Engine } from './engine.ts';
import type { HistogramSnapshot } from './histogram.ts';

export interface PoolStatistics {
  /** The pool's name. */
  name: string;
  /** 'running', 'paused', 'draining' or 'closed'. */
  mode: string;
  /** Connections at most, without overflow (`max`). */
  max: number;
  /** Connections kept open (`min`). */
  min: number;
  /** Connections open or being opened; those that are closing are not counted. */
  total: number;
  /** Free and clean. */
  idle: number;
  /** In somebody's hands. */
  active: number;
  /** Being dialled. */
  opening: number;
  /** Being checked before use or for keepalive. */
  checking: number;
  /** Being reset, or kept aside until a cancel has landed. */
  resetting: number;
  /** Told to close; still counted against `max`. */
  closing: number;
  /** Requests that wait now. */
  waiting: number;
  /** Milliseconds the oldest of them has waited. */
  oldestWaitMs: number;
  /** Connections handed out since the start. */
  acquires: number;
  /** Those of them that had to wait. */
  waits: number;
  /** Milliseconds waited in all, and at most. */
  waitedMs: number;
  maxWaitMs: number;
  /** Requests that ended without a connection, by reason. */
  refused: Record<Refusal, number>;
  /** Dials begun, succeeded, failed; failed in a row now. */
  dials: number;
  opened: number;
  openFailed: number;
  failuresInARow: number;
  /** Message of the last failed dial, or null since one succeeded. */
  lastError: string | null;
  /** Dials beyond `max` (maxOverflow). */
  overflowDials: number;
  /** Connections closed, by reason. */
  closed: Record<CloseReason, number>;
  /** Queries sent through the pool's clients, and errors the server answered. */
  queries: number;
  queryErrors: number;
  /** Checks, and those that failed. */
  checks: number;
  checksFailed: number;
  /** Resets that needed SQL, and those that failed. */
  resets: number;
  resetsFailed: number;
  /** Cancel requests sent. */
  cancels: number;
  /** Connections given up for an error's SQLSTATE. */
  evictions: number;
  /** Leaks reported, and taken back. */
  leaks: number;
  reclaimed: number;
  /** Requests failed because everybody waited for everybody. */
  deadlocks: number;
  /** Uses of a handle after its release. */
  staleHandles: number;
  /** Times wall time ran ahead (freeze and thaw). */
  clockJumps: number;
  /** Transactions tried again. */
  retries: number;
  /** Durations of dials, waits and uses, in milliseconds. */
  dialMs: HistogramSnapshot;
  waitMs: HistogramSnapshot;
  useMs: HistogramSnapshot;
}

export function statsOf(engine: Engine): PoolStatistics {
  const { core, tally } = engine;
  const { stats, adder } = core;
  const closing = core.count(EntryState.Closing);
  const oldest = core.queue.oldest;
  const { dialMs, waitMs, useMs, ...counters } = tally;
  return {
    name: engine.name,
    mode: core.mode,
    max: core.policy.maxSize,
    min: core.policy.minSize,
    total: core.size - closing,
    idle: core.count(EntryState.Idle),
    active: core.count(EntryState.Linked),
    opening: core.count(EntryState.Opening),
    checking: core.count(EntryState.Checking),
    resetting: core.count(EntryState.Resetting) + core.count(EntryState.CancelWait),
    closing,
    waiting: core.queue.length,
    oldestWaitMs: oldest === null ? 0 : engine.clock.refresh() - oldest.since,
    waits: stats.waits,
    waitedMs: stats.waitedMs,
    maxWaitMs: stats.maxWaitMs,
    refused: { ...stats.refused },
    dials: stats.dials,
    opened: stats.opened,
    openFailed: stats.openFailed,
    failuresInARow: adder.failures,
    lastError: adder.lastError === null ? null : String((adder.lastError as Error).message ?? adder.lastError),
    overflowDials: stats.reserveDials,
    closed: { ...stats.closed },
    ...counters,
    dialMs: dialMs.snapshot(),
    waitMs: waitMs.snapshot(),
    useMs: useMs.snapshot(),
  };
}
