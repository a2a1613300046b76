/** Why a server was closed, in PgBouncer's words where it has some: alerts match on them. */
import type { CloseReason } from '@sluice/core';

export const CLOSE_TEXTS: Readonly<Record<CloseReason, string>> = {
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
  resized: 'pool size reduced',
  drained: 'server shutting down',
  cancelled: 'cancelled',
};
