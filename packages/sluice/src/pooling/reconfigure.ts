/**
 * From one configuration to the next while everything runs (RELOAD, SET): databases, pools and limits take their new
 * settings, servers that no longer fit are retired, databases that are gone are dropped with their clients.
 */
import { EntryState } from '@sluice/core';
import { type Config, type DatabaseConfig, diffConfig } from '../config/index.ts';
import type { Operator } from './operator.ts';
import type { Database, Pooler } from './pooler.ts';

/** `next` must be checked already; it cannot fail. */
export function reconfigure(pooler: Pooler, operator: Operator, next: Config): void {
  const diff = diffConfig(pooler.config, next);
  for (const id of pooler.config.peers.keys())
    if (!next.peers.has(id)) pooler.log.warn(`dropping peer ${id} as it does not exist anymore`);
  const stale = new Set(
    [...diff.databases.changed, ...diff.fallback.changed]
      .filter(({ reconnect }) => reconnect)
      .map(({ before }) => before),
  );
  pooler.config = next;
  pooler.context.tcp = next.global;
  pooler.context.serverAnswerMs = next.global.serverAnswerTimeoutMs;
  pooler.context.maxPacketSize = next.global.maxPacketSize;
  pooler.context.names.settings = next.global;
  if (next.global.sessionState !== 'pgbouncer') void pooler.classifier.load();
  pooler.statements.maxBytes = next.global.maxPreparedStatementBytes;
  pooler.refusesSimple = next.global.disablePqexec;
  for (const database of [...pooler.databases.values()]) {
    const config = next.databases.get(database.name) ?? (database.auto ? next.fallback : undefined);
    if (config === undefined) operator.killDatabase(database);
    else update(pooler, operator, database, config, stale);
  }
  for (const name of next.databases.keys()) pooler.database(name);
  for (const [role, limit] of pooler.userLimits)
    limit.max = next.users.get(role)?.maxUserConnections ?? next.global.maxUserConnections;
  for (const pool of pooler.pools.values()) pooler.refresh(pool);
  for (const pool of pooler.pools.values()) shrink(pool.pool);
}

function update(
  pooler: Pooler,
  operator: Operator,
  database: Database,
  config: DatabaseConfig,
  stale: ReadonlySet<DatabaseConfig>,
): void {
  const mustReconnect = stale.has(database.config);
  database.config = config;
  database.auto = !pooler.config.databases.has(database.name);
  database.limit.max = config.maxDbConnections ?? pooler.config.global.maxDbConnections;
  if (!mustReconnect) return;
  for (const pool of operator.poolsOf(database)) {
    pool.welcome = null;
    pool.pool.adder.forgive();
    pool.pool.retireAll('retired');
  }
}

/** A smaller pool_size holds at once, as far as servers are idle. */
function shrink(pool: Parameters<typeof sizeOver>[0]): void {
  for (let over = sizeOver(pool); over > 0; over--) {
    const idle = pool.lists[EntryState.Idle]!.head;
    if (idle === null) return;
    pool.close(idle, 'resized');
  }
}

function sizeOver(pool: Pooler['pools'] extends Map<string, { pool: infer P }> ? P : never): number {
  const { maxSize, reserveSize } = pool.policy;
  return maxSize > 0 ? pool.size - pool.count(EntryState.Closing) - maxSize - reserveSize : 0;
}
