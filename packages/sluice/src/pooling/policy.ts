/** From configuration to a pool's policy: which setting wins, and what PgBouncer's zeros mean to the core. */
import type { PoolPolicy } from '@sluice/core';
import type { PoolingMode } from '../client/home.ts';
import type { Config, DatabaseConfig, UserConfig } from '../config/index.ts';

/** Dials of one pool at once. A login costs the database a process; four at a time fill a pool of 20 in five round trips. */
const MAX_DIALS = 4;
const RETRY_MIN_MS = 100;

export function poolPolicy(config: Config, database: DatabaseConfig, user: UserConfig | undefined): PoolPolicy {
  const { global } = config;
  const maxSize = user?.poolSize ?? database.poolSize ?? global.defaultPoolSize;
  return {
    maxSize,
    minSize: clampSize(database.minPoolSize ?? global.minPoolSize, maxSize),
    reserveSize:
      global.reservePoolTimeoutMs > 0
        ? (user?.reservePoolSize ?? database.reservePoolSize ?? global.reservePoolSize)
        : 0,
    reserveDelayMs: global.reservePoolTimeoutMs,
    idleTimeoutMs: global.serverIdleTimeoutMs,
    lifetimeMs: database.serverLifetimeMs ?? global.serverLifetimeMs,
    lifetimeJitter: global.serverLifetimeJitterPercent / 100,
    maxUses: (database.serverLifetimeMs ?? global.serverLifetimeMs) === 0 ? 1 : 0,
    checkDelayMs: checkDelay(config),
    order: global.serverRoundRobin ? 'fifo' : 'lifo',
    maxWaiters: 0,
    maxDials: MAX_DIALS,
    retryMinMs: Math.min(RETRY_MIN_MS, Math.max(1, global.serverLoginRetryMs)),
    retryMaxMs: Math.max(1, global.serverLoginRetryMs),
  };
}

/** An empty server_check_query switches checks off. */
function checkDelay({ global }: Config): number {
  return global.serverCheckQuery === '' ? Number.POSITIVE_INFINITY : global.serverCheckDelayMs;
}

function clampSize(size: number, maxSize: number): number {
  return maxSize > 0 ? Math.min(size, maxSize) : size;
}

export function poolMode(config: Config, database: DatabaseConfig, user: UserConfig | undefined): PoolingMode {
  return user?.poolMode ?? database.poolMode ?? config.global.poolMode;
}
