/** Explains to a client why it got no server: which pool, how many wait, and who holds the servers longest. */
import { EntryState, type Limit, type Pool, type Refusal } from '@sluice/core';
import type { ClientError } from '../client/home.ts';
import { ClientSession } from '../client/session.ts';
import type { Session } from '../client/side.ts';
import { ServerRefused } from '../server/login.ts';
import type { Server } from '../server/server.ts';
import { explain } from './dial-failures.ts';
import { LoginWait } from './login-wait.ts';
import type { ServerPool } from './server-pool.ts';
import { sessionName } from './socket-name.ts';

/** Holders named in the error, at most. */
const NAMED = 3;

/** The limits on waiting may have changed: who waits already waits by the new ones, from when it began. */
export function waitByItsRules(home: ServerPool): void {
  for (const waiter of home.pool.queue) {
    const { owner, since } = waiter;
    if (owner instanceof LoginWait) owner.waitByItsRules();
    if (owner instanceof ClientSession) waiter.deadline = home.waitDeadline(since, owner.identity.user);
  }
}

/** Who has waited longest, as the log calls it; nobody, or a question of the pooler's own: the pool. */
export function longestWaiting({ pool, name }: ServerPool): string {
  const owner = pool.queue.oldest?.owner;
  if (owner instanceof ClientSession) return sessionName(owner);
  return owner instanceof LoginWait ? owner.name : name;
}

/** How long it waits, or has waited, at most. */
export function patienceOf(session: Session): Patience {
  const ms = session instanceof ClientSession ? session.waiter.deadline - session.waiter.since : 0;
  return { setting: 'query_wait_timeout', ms };
}

/** How long was waited at most, and by which setting. */
export interface Patience {
  readonly setting: 'query_wait_timeout' | 'query_timeout';
  readonly ms: number;
}

export function describeRefusal(home: ServerPool, reason: Refusal, now: number, patience: Patience): ClientError {
  const { pool } = home;
  if (reason === 'open failed') {
    const { lastError } = pool.adder;
    // A refusal of PostgreSQL's is passed on in its own words, as on a direct connection.
    const refused = lastError instanceof ServerRefused;
    if (refused && home.replication)
      return { message: 'login failed', detail: `${explain(home, lastError)}.`, sqlState: sqlStateOf(lastError) };
    return {
      message: refused ? lastError.message : explain(home, lastError),
      ...(refused ? { detail: `${explain(home, lastError)}.` } : {}),
      sqlState: sqlStateOf(lastError),
      hint: 'Correct the database entry or the server, then try again.',
    };
  }
  if (reason === 'pool closed') return { message: 'database removed', sqlState: '57P01' };
  if (reason !== 'timeout') return { message: `no server connection: ${reason}`, sqlState: '53300' };
  if (pool.mode === 'paused')
    return {
      message: patience.setting,
      sqlState: '08P01',
      detail: `Pool "${pool.name}" is paused, and no server was to be had within ${patience.setting} (${Math.round(patience.ms) / 1000} s).`,
      hint: `Type RESUME in the console, or RESUME ${home.database} where only that database is paused.`,
    };
  const linked = pool.count(EntryState.Linked);
  const limit = pool.policy.maxSize > 0 ? String(pool.policy.maxSize) : 'unlimited';
  const isDown = pool.adder.failures > 0;
  const down = isDown ? ` ${explain(home, pool.adder.lastError)}.` : '';
  const reached = limitReached(pool);
  const shared = reached === null ? '' : ` ${reached.name} is reached: ${reached.used} connections of ${reached.max}.`;
  return {
    // PgBouncer's text: people's retries match on it.
    message: patience.setting,
    sqlState: '08P01',
    detail:
      `Pool "${pool.name}" had no free server within ${patience.setting} (${Math.round(patience.ms) / 1000} s): ` +
      `${linked} in use, size ${limit}, ${pool.queue.length + 1} clients waiting.${shared}${down}${longest(holdersOf(pool, reached), now)}`,
    hint: isDown
      ? 'The server cannot be had: correct that, or the database entry, then try again.'
      : 'Look for transactions that stay open during slow work of the application; a larger pool seldom helps.',
  };
}

/** A limit that it shares with other pools (max_db_connections, max_user_connections) and that leaves it no more; null: its size does, or nothing. */
function limitReached({ limits, policy, size }: Pool<Server>): Limit | null {
  const isFull = policy.maxSize > 0 && size >= policy.maxSize;
  return isFull ? null : (limits.find(({ full }) => full) ?? null);
}

/** Those who hold its servers, or others' that count against the same limit. */
function holdersOf(pool: Pool<Server>, limit: Limit | null): ClientSession[] {
  const pools =
    limit === null ? [pool] : [...(pool.set?.pools ?? [pool])].filter(({ limits }) => limits.includes(limit));
  const holders: ClientSession[] = [];
  for (const { lists } of pools)
    for (const entry of lists[EntryState.Linked]!) {
      const holder = entry.value?.holder;
      if (holder instanceof ClientSession) holders.push(holder);
    }
  return holders;
}

function longest(holders: ClientSession[], now: number): string {
  holders.sort((a, b) => since(a, now) - since(b, now));
  const named = holders.slice(0, NAMED).map((session) => {
    const name = session.parameters.get('application_name') || 'unnamed application';
    const [pin] = session.pins;
    const pinned = pin === undefined ? '' : `, pinned by ${pin.what}`;
    const state = session.idleInTransactionAt > 0 ? ', idle in transaction' : pinned;
    return `"${name}" (${((now - since(session, now)) / 1000).toFixed(1)} s${state})`;
  });
  return named.length === 0 ? '' : ` Held longest by ${named.join(', ')}.`;
}

/** When the session's transaction began; for one without, when it was pinned, or (in session mode) when it logged in. */
function since(session: ClientSession, now: number): number {
  if (session.transactionAt > 0) return session.transactionAt;
  return Math.min(now, session.pins[0]?.since ?? session.connectedAt);
}

function sqlStateOf(error: unknown): string {
  const fields = (error as { fields?: { code?: string } } | null)?.fields;
  return fields?.code ?? '08006';
}
