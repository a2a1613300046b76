/** @sluice/pool: node-postgres' Pool with what the best pools know, and all of pg's other exports by their names. */

/** The rest of pg's types. What is exported by name above goes before. */
export type * from 'pg';
export { CHANNELS } from './channels.ts';
export type {
  AcquireOptions,
  CloseReason,
  HookClient,
  HostSpec,
  LeakReport,
  PoolOptions,
  PoolOptions as PoolConfig,
  QueryExtras,
  QueryLimits,
  RequestInfo,
  SessionAttrs,
} from './contract.ts';
export {
  Client,
  Connection,
  DatabaseError,
  default,
  defaults,
  escapeIdentifier,
  escapeLiteral,
  Query,
  Result,
  TypeOverrides,
  types,
} from './drop-in.ts';
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
export { Pool, type PoolEvents } from './pool.ts';
export type { RetryOptions } from './retry.ts';
export type { PoolStatistics } from './stats.ts';
export { Transaction, type TransactionOptions } from './transaction.ts';
