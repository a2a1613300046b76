/**
 * Questions at the two ends of a hold: may this one queue, may the entry come back by this handle, has its life ended?
 * No effects, but for a note that a pool is no longer too large.
 */
import type { Entry } from './entry.ts';
import { StaleEntryError } from './errors.ts';
import type { Pool } from './pool.ts';
import { comesTooLate } from './shed.ts';
import { type CloseReason, EntryState, type Refusal } from './states.ts';
import type { Waiter } from './waiter.ts';

/** Throws StaleEntryError unless the entry is held by the holder with this generation. */
export function assertHeld<T>(pool: Pool<T>, entry: Entry<T>, generation: number): void {
  if (entry.generation !== generation || entry.state !== EntryState.Linked)
    throw new StaleEntryError(pool.name, entry.id, generation, entry.generation);
}

/** Why the entry must not be handed out again, or null. Asked at every release. */
export function whyRetire<T>(pool: Pool<T>, entry: Entry<T>): CloseReason | null {
  if (entry.retiring !== null) return entry.retiring;
  if (pool.mode === 'closed' || (pool.mode === 'draining' && pool.queue.length === 0)) return 'drained';
  if (pool.policy.maxUses > 0 && entry.uses >= pool.policy.maxUses) return 'max uses';
  if (entry.expiresAt <= pool.env.now()) return 'lifetime over';
  return pool.mayBeTooLarge && isTooLarge(pool) ? 'resized' : null;
}

/** Has the pool more entries than it may have now? */
function isTooLarge<T>(pool: Pool<T>): boolean {
  const { maxSize, reserveSize } = pool.policy;
  pool.mayBeTooLarge = maxSize > 0 && pool.size - pool.count(EntryState.Closing) > maxSize + reserveSize;
  return pool.mayBeTooLarge;
}

/** Why a newcomer that can't be served at once must not queue either, or null. */
export function whyRefuse<T>(pool: Pool<T>, waiter: Waiter<T>): Refusal | null {
  if (pool.mode === 'closed' || pool.mode === 'draining') return 'pool closed';
  const { maxWaiters, shed } = pool.policy;
  if (maxWaiters > 0 && pool.queue.length >= maxWaiters) return 'queue full';
  return shed === true && comesTooLate(pool, waiter) ? 'shed' : null;
}

/** Behind others, in a pool that is full and has nothing free, a newcomer can neither be served nor be dialled for: nobody need look. */
export function changesNothing<T>(pool: Pool<T>, newcomer: Waiter<T>): boolean {
  const { maxSize, reserveSize } = pool.policy;
  const isFull = maxSize > 0 && pool.size >= maxSize + reserveSize && pool.count(EntryState.Idle) === 0;
  return isFull && pool.set === null && pool.queue.head !== newcomer;
}

/** Of two reasons to close a held entry when it comes back: the first, but what ends with a RESUME or waits for its holder gives way. */
export function stronger(first: CloseReason | null, second: CloseReason): CloseReason {
  return first === null || first === 'paused' || (first === 'drained' && second !== 'paused') ? second : first;
}

/** Must what is held come back now, if it can be made to? A pause and a shutdown wait for the holder. */
export function isCondemned<T>({ retiring }: Entry<T>): boolean {
  return retiring !== null && retiring !== 'paused' && retiring !== 'drained';
}
