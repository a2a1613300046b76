/** Which of a pool's idle entries comes next, and which must be checked before. Decides by the policy; owns nothing. */
import type { Entry } from './entry.ts';
import { lateIn } from './late.ts';
import type { Pool } from './pool.ts';
import { type CloseReason, EntryState } from './states.ts';

/** The idle entry to hand out next; closes those past their life on the way. Null: none, or it needs a check. */
export function fitIdle<T>(pool: Pool<T>): Entry<T> | null {
  for (let entry = nextIdle(pool); entry !== null; entry = nextIdle(pool)) {
    const now = pool.env.now();
    if (now < entry.expiresAt) {
      return isTrusted(pool, entry, now) || entry === pool.justChecked ? entry : null;
    }
    pool.close(entry, 'lifetime over');
  }
  return null;
}

/** Was it proven to be alive so short a time ago that it is handed out without a check? */
export function isTrusted<T>({ policy }: Pool<T>, { provenAt }: Entry<T>, now: number): boolean {
  // Those of which nothing is known any more (a thaw) are checked however long others are trusted.
  if (policy.checkDelayMs === 0 || provenAt === Number.NEGATIVE_INFINITY) return false;
  return now - provenAt <= policy.checkDelayMs;
}

/** May it go from who gives it back straight to who waits? Not where nothing is handed out without a check. */
export function goesStraight<T>(pool: Pool<T>, entry: Entry<T>): boolean {
  return entry.state === EntryState.Linked && isTrusted(pool, entry, pool.env.now());
}

/** Begins a check for a waiter that none is under way for yet, or one that takes long. False when there is nothing to check. */
export function startCheck<T>(pool: Pool<T>): boolean {
  const entry = nextIdle(pool);
  if (entry === null) return false;
  const countedOn = pool.count(EntryState.Checking) - lateIn(pool.lists[EntryState.Checking]!, pool.env.now());
  return countedOn < pool.queue.length && pool.check(entry);
}

/** What was checked for somebody just now is his, whosever turn it is: by the time it comes round, it would have to be checked again. */
function nextIdle<T>(pool: Pool<T>): Entry<T> | null {
  if (pool.justChecked?.state === EntryState.Idle) return pool.justChecked;
  const idle = pool.lists[EntryState.Idle]!;
  return pool.policy.order === 'lifo' ? idle.tail : idle.head;
}

/** Closes every idle entry. */
export function closeIdle<T>(pool: Pool<T>, reason: CloseReason): void {
  for (const entry of [...pool.lists[EntryState.Idle]!]) pool.close(entry, reason);
}
