/** @sluice/pool: node-postgres' Pool with what the best pools know. */
import pg from 'pg';

export { CHANNELS } from './channels.ts';
export type {
  AcquireOptions,
  CloseReason,
  HookClient,
  HostSpec,
  LeakReport,
  PoolOptions,
  PoolOptions as PoolConfig,
  QueryLimits,
  RequestInfo,
  SessionAttrs,
} from './contract.ts';
export {
  AcquireAborted,
  AuthenticationFailed,
  BadOption,
  DatabaseDown,
  type Holder,
  NoSuitableHost,
  POOL_ERROR_CODES,
  PoolClosed,
  PoolDeadlock,
  PoolError,
  type PoolErrorCode,
  PoolExhausted,
  type PoolNumbers,
  QueryCancelled,
  StaleHandle,
  TransactionAborted,
} from './errors.ts';
export { BUCKETS_MS, type HistogramSnapshot } from './histogram.ts';
export { Lease, type QueryMethod } from './lease.ts';
export { Pool, type PoolEvents, type QueryExtras } from './pool.ts';
export type { RetryOptions } from './retry.ts';
export type { PoolStatistics } from './stats.ts';
export { Transaction, type TransactionOptions } from './transaction.ts';

/** node-postgres' other exports, so that `import { Client, Pool, types } from '@sluice/pool'` works as from 'pg'. */
export const { Client, types, defaults, DatabaseError, escapeIdentifier, escapeLiteral } = pg;
