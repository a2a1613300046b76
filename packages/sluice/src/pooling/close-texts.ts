/** Why a server was closed, in PgBouncer's words where it has some: alerts match on them. */
import type { CloseReason, Entry } from '@sluice/core';

const TEXTS: Readonly<Record<CloseReason, string>> = {
  'open failed': 'login failed',
  'lifetime over': 'server lifetime over',
  'idle timeout': 'server idle timeout',
  'max uses': 'server lifetime over',
  evicted: 'evicted',
  'check failed': 'test query failed',
  'reset failed': 'reset query failed',
  dirty: 'client disconnect while server was not ready',
  lost: 'server conn crashed?',
  retired: 'database configuration changed',
  paused: 'pause mode',
  resized: 'too many servers in the pool',
  drained: 'server shutting down',
  cancelled: 'cancelled',
};

/** `ended`: why its pool was closed, where that has a reason of its own. */
export function whyClosed({ retiring }: Entry<unknown>, reason: CloseReason, ended: string | null): string {
  if (reason === 'drained' && ended !== null) return ended;
  // Condemned in its client's hands, and come back.
  return reason === 'retired' && retiring === 'retired' ? 'close_needed' : TEXTS[reason];
}
