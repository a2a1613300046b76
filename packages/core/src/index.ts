/** @sluice/core: the pool core. No I/O, no clock, no PostgreSQL. */
export { Adder } from './adder.ts';
export { Entry } from './entry.ts';
export { InvariantError, StaleEntryError } from './errors.ts';
export { type Capacity, FairQueue, type FairQueueOptions } from './fair-queue.ts';
export { isTrusted } from './idle.ts';
export { isCondemned } from './life.ts';
export { Limit } from './limit.ts';
export { List, ListNode } from './list.ts';
export { DEFAULT_POLICY, type PoolEnvironment, type PoolPolicy } from './policy.ts';
export { Pool } from './pool.ts';
export type { PoolOptions, ReleaseAs } from './pool-options.ts';
export { FAIRNESS_MS, PoolSet } from './pool-set.ts';
export type { PoolPort } from './port.ts';
export { FifoQueue, type WaitQueue } from './queue.ts';
export { HoldEstimate } from './shed.ts';
export {
  ALLOWED_MOVES,
  CLOSE_REASONS,
  type CloseReason,
  ENTRY_STATE_NAMES,
  ENTRY_STATE_NOTES,
  EntryState,
  POOL_MODES,
  type PoolMode,
  REFUSALS,
  type Refusal,
} from './states.ts';
export { renderStates } from './states-doc.ts';
export { PoolStats } from './stats.ts';
export { Waiter, type WaiterOwner } from './waiter.ts';
export { nextWake } from './wake.ts';
