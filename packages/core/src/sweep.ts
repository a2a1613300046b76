/** Closes idle entries that are past their life, too many, or unused for too long. Called by the pool's tick. */
import type { Pool } from './pool.ts';
import { type CloseReason, EntryState } from './states.ts';

export function sweepIdle<T>(pool: Pool<T>, now: number): void {
  const { idleTimeoutMs, minSize, minIdle = 0, maxSize, reserveSize } = pool.policy;
  const ceiling = maxSize > 0 ? maxSize + reserveSize : Number.POSITIVE_INFINITY;
  let size = pool.size - pool.count(EntryState.Closing);
  let free = pool.count(EntryState.Idle);
  for (const entry of [...pool.lists[EntryState.Idle]!]) {
    if (entry.state !== EntryState.Idle) continue;
    let reason: CloseReason | null = null;
    if (entry.expiresAt <= now) reason = 'lifetime over';
    else if (size > ceiling) reason = 'resized';
    else if (idleTimeoutMs > 0 && now - entry.lastUsedAt >= idleTimeoutMs && size > minSize && free > minIdle)
      reason = 'idle timeout';
    if (reason === null) continue;
    size--;
    free--;
    pool.close(entry, reason);
  }
}
