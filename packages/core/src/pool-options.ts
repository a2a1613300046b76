/** What a pool is made of, and how entries come back to it. Types only. */
import type { Limit } from './limit.ts';
import type { PoolEnvironment, PoolPolicy } from './policy.ts';
import type { PoolSet } from './pool-set.ts';
import type { PoolPort } from './port.ts';
import type { WaitQueue } from './queue.ts';

/** How an entry comes back: fit for the next holder, in need of a reset, or with cancel requests still on their way. */
export type ReleaseAs = 'clean' | 'reset' | 'cancels';

export interface PoolOptions<T> {
  name: string;
  policy: PoolPolicy;
  port: PoolPort<T>;
  env: PoolEnvironment;
  /** Ceilings shared with other pools; they must belong to the same set. */
  limits?: readonly Limit[];
  set?: PoolSet<T>;
  queue?: WaitQueue<T>;
}
