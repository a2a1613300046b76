/** Housekeeping three times a second: unused pools and auto-databases go, condemned sessions close, periods turn. */
import { EntryState, isCondemned } from '@sluice/core';
import { ClientSession } from '../client/session.ts';
import { CONSOLE_DATABASE } from '../config/index.ts';
import { Tx } from '../server/holder.ts';
import type { Operator } from './operator.ts';
import type { Pooler } from './pooler.ts';
import type { ServerPool } from './server-pool.ts';

/** `told` hears of each `stats_period` what the log says of it. */
export function housekeep(pooler: Pooler, operator: Operator, told: (stats: string) => void): void {
  if (pooler.config.global.serverFastClose) closeFast(pooler);
  pooler.context.names.tend();
  for (const { cancels } of pooler.pools.values()) cancels.tick();
  for (const cancels of pooler.cancelsToPeers) cancels.tick();
  pooler.emptying.tend();
  pooler.warmUp();
  for (const pool of [...pooler.pools.values()]) if (pool.replication) tendReplication(pool, operator);
  closeIdlePools(pooler, operator);
  closeIdleDatabases(pooler, operator);
  turnPeriod(pooler, told);
}

/** server_fast_close: in session mode a condemned server does not wait for its client to leave, only for its transaction. */
function closeFast(pooler: Pooler): void {
  for (const { pool, mode } of pooler.pools.values()) {
    if (mode !== 'session') continue;
    for (const entry of [...pool.lists[EntryState.Linked]!]) {
      const server = entry.value!;
      if (!isCondemned(entry) || !server.settled || server.status !== Tx.Idle) continue;
      if (server.holder instanceof ClientSession) server.holder.disconnect('database configuration changed');
    }
  }
}

/**
 * A replication connection never comes free by itself: a condemned one is ended, but for a PAUSE or a shutdown, which wait for it (a
 * backup ends some day). Its pool goes with it.
 */
function tendReplication(home: ServerPool, operator: Operator): void {
  const { pool, clients } = home;
  for (const entry of [...pool.lists[EntryState.Linked]!])
    if (isCondemned(entry) && entry.value!.holder instanceof ClientSession)
      entry.value!.holder.disconnect('database configuration changed');
  if (clients === 0 && pool.queue.length === 0) operator.killPool(home, 'client gone');
}

function inUse({ pool, clients }: ServerPool): boolean {
  return clients > 0 || pool.size > 0 || pool.queue.length > 0;
}

/** pool_idle_timeout; a pool that keeps a minimum for a forced user is never idle. */
function closeIdlePools(pooler: Pooler, operator: Operator): void {
  const { now } = pooler.clock;
  const { poolIdleTimeoutMs } = pooler.config.global;
  for (const pool of [...pooler.pools.values()]) {
    if (inUse(pool)) pool.usedAt = now;
    if (pool.replication) continue;
    const kept = pool.shape.database.user !== undefined && pool.shape.policy.minSize > 0;
    if (poolIdleTimeoutMs === 0 || kept || now - pool.usedAt <= poolIdleTimeoutMs) continue;
    const age = Math.floor((now - pool.usedAt) / 1000);
    pooler.log.info(
      `cleaning up idle pool for user ${pool.user.name} on db ${pool.database} because: pool idle timeout (age= ${age}s)`,
    );
    operator.killPool(pool, 'pool idle timeout');
  }
}

/** autodb_idle_timeout: databases made from the '*' entry go when nobody has used them. */
function closeIdleDatabases(pooler: Pooler, operator: Operator): void {
  const { now } = pooler.clock;
  const { autodbIdleTimeoutMs } = pooler.config.global;
  for (const database of [...pooler.databases.values()]) {
    if (!database.auto) continue;
    if (database.clients > 0 || operator.poolsOf(database).some(inUse)) database.usedAt = now;
    if (autodbIdleTimeoutMs === 0 || database.paused || now - database.usedAt <= autodbIdleTimeoutMs) continue;
    operator.killDatabase(database);
  }
}

function turnPeriod(pooler: Pooler, told: (stats: string) => void): void {
  const { clock, periods, config, databases, consoleTraffic, log } = pooler;
  if (clock.now - periods.begunAt < config.global.statsPeriodMs) return;
  const traffic = [...databases.values()].map(({ name, traffic: counts }) => [name, counts] as const);
  const mean = periods.turn(clock.now, [...traffic, [CONSOLE_DATABASE, consoleTraffic]]);
  const stats =
    `stats: ${mean.transactions} xacts/s, ${mean.queries} queries/s, ${mean.clientParses} client parses/s, ` +
    `${mean.serverParses} server parses/s, ${mean.binds} binds/s, ${mean.logins} client logins/s, ` +
    `in ${mean.received} B/s, out ${mean.sent} B/s, xact ${mean.transactionMs} us, ` +
    `query ${mean.queryMs} us, wait ${mean.waitMs} us`;
  if (config.global.logStats) log.info(stats);
  told(stats);
}
