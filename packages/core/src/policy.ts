/** Policy as data: what a pool may do, in numbers. Owns defaults and validation; decides nothing itself. */

/** Durations in milliseconds; 0 switches a limit or a timeout off unless said otherwise. */
export interface PoolPolicy {
  /** Entries kept open even when nobody asks (PgBouncer min_pool_size). 0 and up. */
  minSize: number;
  /** Entries kept free besides those in use, as far as maxSize allows (HikariCP minimumIdle, pgxpool MinIdleConns). 0 and up, default 0. */
  minIdle?: number;
  /** Dial ahead of need to reach minSize and minIdle (default true); false: they only keep what was opened for a waiter. */
  fillMin?: boolean;
  /** Entries at most without the reserve (default_pool_size, maximumPoolSize). 0 = unlimited. */
  maxSize: number;
  /** Entries beyond maxSize once a waiter has waited reserveDelayMs (reserve_pool_size). */
  reserveSize: number;
  reserveDelayMs: number;
  /** Idle entries above minSize and minIdle close after this long (server_idle_timeout). */
  idleTimeoutMs: number;
  /** An entry older than this is closed at its next release or while idle (server_lifetime, maxLifetime). */
  lifetimeMs: number;
  /** Share of lifetimeMs, 0 to 1, by which each entry's life is shortened at random, against mass expiry. */
  lifetimeJitter: number;
  /** Hand-outs after which an entry is retired. 0 = no bound. */
  maxUses: number;
  /** An entry idle for longer is checked before it is handed out (server_check_delay). 0 = always, Infinity = never. */
  checkDelayMs: number;
  /** 'lifo' keeps few entries warm; 'fifo' spreads the use (server_round_robin). */
  order: 'lifo' | 'fifo';
  /** Waiters at most; one more is refused with 'queue full'. 0 = no bound. */
  maxWaiters: number;
  /** Refuse at once, with 'shed', whoever by the present hold times can't be served before its deadline. */
  shed?: boolean;
  /** Idle entries close to make room for another pool under a shared limit (default true). */
  evictable?: boolean;
  /** Dials under way at once, 1 and up. After a failure it is one until a dial succeeds, then doubles. */
  maxDials: number;
  /** First pause after a failed dial; doubles up to retryMaxMs, each shortened at random by up to a half. */
  retryMinMs: number;
  retryMaxMs: number;
}

export const DEFAULT_POLICY: PoolPolicy = {
  minSize: 0,
  maxSize: 20,
  reserveSize: 0,
  reserveDelayMs: 5_000,
  idleTimeoutMs: 600_000,
  lifetimeMs: 3_600_000,
  lifetimeJitter: 0.1,
  maxUses: 0,
  checkDelayMs: 30_000,
  order: 'lifo',
  maxWaiters: 0,
  shed: false,
  maxDials: 4,
  retryMinMs: 100,
  retryMaxMs: 15_000,
};

/** Time and randomness come from outside; the simulator hands in virtual ones. */
export interface PoolEnvironment {
  /** Milliseconds that never go back. */
  now(): number;
  /** Uniform in [0, 1). */
  random(): number;
}
