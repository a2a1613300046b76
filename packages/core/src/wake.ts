/**
 * When the pool next has something to do by the clock: for owners that set one precise timer instead of ticking
 * coarsely. Reads a pool, changes nothing.
 */
import { LATE_MS } from './late.ts';
import type { Pool } from './pool.ts';
import { EntryState } from './states.ts';

/** Environment milliseconds of the next deadline that `tick` would act on; Infinity: nothing is due, ever. */
export function nextWake<T>(pool: Pool<T>): number {
  return Math.min(nextDeadline(pool), pool.adder.dueAt, nextForIdle(pool), nextCheck(pool));
}

/** When so many checks have taken long that another one is begun for who waits. */
function nextCheck<T>({ queue, lists, mode }: Pool<T>): number {
  const checks = lists[EntryState.Checking]!;
  const mayServe = mode === 'running' || mode === 'draining';
  if (!mayServe || queue.length === 0 || lists[EntryState.Idle]!.length === 0) return Number.POSITIVE_INFINITY;
  let toBeLate = checks.length - queue.length;
  for (const { stateSince } of checks) if (toBeLate-- === 0) return stateSince + LATE_MS;
  return Number.POSITIVE_INFINITY;
}

function nextDeadline<T>({ queue }: Pool<T>): number {
  let at = Number.POSITIVE_INFINITY;
  for (const waiter of queue) if (waiter.deadline < at) at = waiter.deadline;
  return at;
}

function nextForIdle<T>(pool: Pool<T>): number {
  const { idleTimeoutMs, minSize, minIdle = 0, maxSize, reserveSize } = pool.policy;
  const size = pool.size - pool.count(EntryState.Closing);
  const shrinks = idleTimeoutMs > 0 && size > minSize && pool.count(EntryState.Idle) > minIdle;
  const tooMany = maxSize > 0 && size > maxSize + reserveSize;
  let at = Number.POSITIVE_INFINITY;
  for (const entry of pool.lists[EntryState.Idle]!) {
    if (tooMany) return pool.env.now();
    if (entry.expiresAt < at) at = entry.expiresAt;
    if (shrinks && entry.lastUsedAt + idleTimeoutMs < at) at = entry.lastUsedAt + idleTimeoutMs;
  }
  return at;
}
