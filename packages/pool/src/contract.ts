/** The public types: options, requests, events, statistics. Types only. */
import type { CloseReason } from '@sluice/core';
import type * as pg from 'pg';
import type { Holder } from './errors.ts';

/** Why a connection was closed. */
export type { CloseReason };

/** A client as hooks and events get it. */
export type HookClient = pg.PoolClient;

/** One of several hosts: 'name', 'name:port', or both apart. */
export type HostSpec = string | { host: string; port?: number };

export type SessionAttrs = 'any' | 'primary' | 'standby' | 'prefer-standby' | 'read-write' | 'read-only';

/** What was asked for, as the `prepare` hook sees it. */
export interface RequestInfo {
  readonly priority: number;
  readonly tenant: string;
}

/** Everything `pg.Pool` takes, and the pool's own. Defaults and bounds: option-table.ts, docs/coming-from.md. */
export interface PoolOptions extends Omit<pg.PoolConfig, 'Client' | 'onConnect' | 'verify'> {
  poolSize?: number | undefined;
  // biome-ignore lint/suspicious/noExplicitAny: pg's own Client, native.Client and stubs share no base class
  Client?: (new (config?: any) => any) | undefined;
  verify?: ((client: HookClient, done: (error?: Error) => void) => void) | undefined;
  onConnect?: ((client: HookClient) => unknown) | undefined;
  binary?: boolean | undefined;
  replication?: string | boolean | undefined;

  compat?: 'pg-pool' | undefined;
  name?: string | undefined;
  minIdle?: number | undefined;
  maxOverflow?: number | undefined;
  nullPool?: boolean | undefined;
  maxLifetimeJitter?: number | undefined;
  keepaliveMillis?: number | undefined;
  checkAfterMillis?: number | undefined;
  checkTimeoutMillis?: number | undefined;
  checkQuery?: string | undefined;
  dialTimeoutMillis?: number | undefined;
  maxDials?: number | undefined;
  retryMinMillis?: number | undefined;
  retryMaxMillis?: number | undefined;
  whenDown?: 'fail' | 'wait' | undefined;
  initializationFailTimeoutMillis?: number | undefined;
  order?: 'lifo' | 'fifo' | undefined;
  commandTimeoutMillis?: number | undefined;
  cancelTimeoutMillis?: number | undefined;
  closeTimeoutMillis?: number | undefined;
  reset?: 'lazy' | 'full' | 'none' | undefined;
  resetTimeoutMillis?: number | undefined;
  maxWaiting?: number | undefined;
  shed?: boolean | undefined;
  tenantWeights?: Readonly<Record<string, number>> | undefined;
  reservedSlots?: number | undefined;
  reservedPriority?: number | undefined;
  leakDetectionMillis?: number | undefined;
  leakAction?: 'report' | 'reclaim' | undefined;
  deadlockDetection?: boolean | 'all' | undefined;
  evictOn?: ((error: Error & { code?: string }, client: HookClient) => boolean | undefined) | undefined;
  hosts?: readonly HostSpec[] | undefined;
  targetSessionAttrs?: SessionAttrs | undefined;
  handles?: 'client' | 'lease' | undefined;
  beforeConnect?:
    | ((config: pg.ClientConfig) => pg.ClientConfig | undefined | Promise<pg.ClientConfig | undefined> | undefined)
    | undefined;
  afterConnect?: ((client: HookClient) => unknown) | undefined;
  prepare?: ((client: HookClient, request: RequestInfo) => unknown) | undefined;
  afterRelease?: ((client: HookClient) => unknown) | undefined;
  beforeClose?: ((client: HookClient, reason: CloseReason) => unknown) | undefined;
  random?: (() => number) | undefined;
}

/** How one connection is asked for. */
export interface AcquireOptions {
  /**
   * Gives up waiting, dialling included: AcquireAborted. It holds for the handle's queries too: they are cancelled at the server
   * (QueryCancelled), and a transaction is rolled back. What a cancel, or a COMMIT under way, has come to is waited for a tenth of a
   * second; without an answer by then it is not known, which the error says. For the waiting alone there is `timeoutMillis`.
   */
  signal?: AbortSignal | undefined;
  /** The same as a point in time, after which the connection is of no use: a Date, or epoch milliseconds. */
  deadline?: Date | number | undefined;
  /** Instead of `connectionTimeoutMillis` for this request; 0: no bound. The earlier of it and `deadline` counts. */
  timeoutMillis?: number | undefined;
  /** Higher is served first; default 0. */
  priority?: number | undefined;
  /** For fair turns between tenants; default ''. */
  tenant?: string | undefined;
}

/** What a query may carry besides pg's own config. */
export interface QueryLimits {
  /** Cancels the query at the server and rejects with QueryCancelled, which says whether the server has taken the cancel. */
  signal?: AbortSignal | undefined;
  /** Milliseconds; instead of `commandTimeoutMillis`. */
  timeoutMillis?: number | undefined;
}

export interface LeakReport {
  pool: string;
  /** 'held': past leakDetectionMillis. 'collected': its handle was garbage-collected. */
  kind: 'held' | 'collected';
  holder: Holder;
  reclaimed: boolean;
}

/** Of a statement on any connection: how to ask for the connection, and how long the statement may take. */
export type QueryExtras = Omit<AcquireOptions, 'timeoutMillis'> & QueryLimits;
