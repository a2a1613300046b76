/**
 * When the pool next has something to do by the clock: for owners that set one precise timer instead of ticking
 * coarsely. Reads a pool, changes nothing.
 */
import type { Pool } from './pool.ts';
import { EntryState } from './states.ts';

/** Environment milliseconds of the next deadline that `tick` would act on; Infinity: nothing is due, ever. */
export function nextWake<T>(pool: Pool<T>): number {
  return Math.min(nextForWaiters(pool), nextDial(pool), nextForIdle(pool));
}

function nextForWaiters<T>(pool: Pool<T>): number {
  const { queue, policy } = pool;
  if (queue.length === 0) return Number.POSITIVE_INFINITY;
  let at = Number.POSITIVE_INFINITY;
  for (const waiter of queue) if (waiter.deadline < at) at = waiter.deadline;
  const size = pool.size;
  if (policy.maxSize > 0 && size >= policy.maxSize && size < policy.maxSize + policy.reserveSize) {
    const reserveAt = queue.oldest!.since + policy.reserveDelayMs;
    if (reserveAt > pool.env.now()) at = Math.min(at, reserveAt);
  }
  return at;
}

function nextDial<T>(pool: Pool<T>): number {
  const { minSize, fillMin } = pool.policy;
  const running = pool.mode === 'running';
  const forWaiter = pool.queue.length > 0 && (running || pool.mode === 'draining');
  const forMin = running && fillMin !== false && pool.size < minSize;
  if (!forWaiter && !forMin) return Number.POSITIVE_INFINITY;
  const at = pool.adder.mayDialAt(forWaiter);
  return at > pool.env.now() ? at : Number.POSITIVE_INFINITY;
}

function nextForIdle<T>(pool: Pool<T>): number {
  const { idleTimeoutMs, minSize, maxSize, reserveSize } = pool.policy;
  const size = pool.size - pool.count(EntryState.Closing);
  const shrinks = idleTimeoutMs > 0 && size > minSize;
  const tooMany = maxSize > 0 && size > maxSize + reserveSize;
  let at = Number.POSITIVE_INFINITY;
  for (const entry of pool.lists[EntryState.Idle]!) {
    if (tooMany) return pool.env.now();
    if (entry.expiresAt < at) at = entry.expiresAt;
    if (shrinks && entry.lastUsedAt + idleTimeoutMs < at) at = entry.lastUsedAt + idleTimeoutMs;
  }
  return at;
}
