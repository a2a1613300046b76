/** Words and numbers about a pool: who holds what, why a request failed, the statistics. Reads an engine, changes nothing. */
import { EntryState } from '@sluice/core';
import type { Conn } from './conn.ts';
import type { Engine } from './engine.ts';
import {
  AuthenticationFailed,
  ConfigNotMade,
  DatabaseDown,
  type Holder,
  messageOf,
  NoSuitableHost,
  PoolExhausted,
  type PoolNumbers,
} from './errors.ts';
import { framesOf } from './trace.ts';

/** Rows of the table in a message; the error carries all. */
const TABLE_ROWS = 10;

export function numbersOf(engine: Engine): PoolNumbers {
  const { core } = engine;
  const closing = core.count(EntryState.Closing);
  const idle = core.count(EntryState.Idle);
  return {
    total: core.size - closing,
    active: core.count(EntryState.Linked),
    idle,
    waiting: core.queue.length,
  };
}

export function holderOf(engine: Engine, conn: Conn): Holder {
  const { now } = engine.clock;
  return {
    pid: conn.client.processID ?? null,
    heldMs: Math.round(now - conn.entry.stateSince),
    idleMs: Math.round(now - conn.lastAt),
    transaction: conn.transaction,
    sql: conn.lastSql.length > 500 ? `${conn.lastSql.slice(0, 500)}…` : conn.lastSql,
    tenant: conn.tenant,
    stack: framesOf(conn.trace),
  };
}

/** Everybody who holds a connection, the longest first. */
export function holdersOf(engine: Engine): Holder[] {
  const holders: Holder[] = [];
  for (const entry of engine.core.lists[EntryState.Linked]!)
    if (entry.value !== null) holders.push(holderOf(engine, entry.value));
  return holders.sort((a, b) => b.heldMs - a.heldMs);
}

export function exhausted(
  engine: Engine,
  reason: PoolExhausted['reason'],
  patienceMs: number,
  priority: number,
): PoolExhausted {
  const numbers = numbersOf(engine);
  const holders = holdersOf(engine);
  const failure = engine.core.adder.lastError;
  if (reason === 'timeout' && patienceMs <= 0) {
    const text = `timeout exceeded when trying to connect: the deadline of the request to pool "${engine.name}" was over before it was made, and no connection was looked for: give it a later one, or make what comes before faster`;
    return new PoolExhausted(reason, text, numbers, holders);
  }
  const text = [
    headline(engine, reason, patienceMs),
    `(total=${numbers.total}, active=${numbers.active}, idle=${numbers.idle}, waiting=${numbers.waiting}; ` +
      `last connect failure: ${failure === null ? 'none' : messageOf(failure)}).`,
    remedy(engine, reason, numbers, priority) ??
      'Look for the long holders below; hold connections for less time, or raise max.',
    table(holders),
  ].join(' ');
  return new PoolExhausted(reason, text.trimEnd(), numbers, holders, failure ?? undefined);
}

/** The time of a request was over while its verify or prepare hook was at work. */
export function hooksTookTooLong(engine: Engine, what: string): PoolExhausted {
  const text =
    `timeout exceeded when trying to connect: the verify or prepare hook of pool "${engine.name}" took the request's whole time (${what}). ` +
    'Make the hook faster, give it a limit of its own, or raise connectionTimeoutMillis.';
  return new PoolExhausted('timeout', text, numbersOf(engine), holdersOf(engine));
}

function headline(engine: Engine, reason: PoolExhausted['reason'], patienceMs: number): string {
  const pool = `pool "${engine.name}"`;
  switch (reason) {
    case 'timeout':
      return `timeout exceeded when trying to connect: no connection of ${pool} became free within ${patienceMs} ms`;
    case 'queue full':
      return `the queue of ${pool} is full: ${engine.core.policy.maxWaiters} requests wait already`;
    case 'shed':
      return `refused at once: by present hold times ${pool} could not serve the request before its deadline`;
  }
}

/** What to do about it where something else than the pool's size is the cause; null: nothing else is known. */
function remedy(
  { core, settings }: Engine,
  reason: PoolExhausted['reason'],
  { total, active }: PoolNumbers,
  priority: number,
): string | null {
  if (core.mode === 'paused') return 'The pool is suspended: call resume().';
  if (reason === 'queue full') return 'Shed load earlier, raise maxWaiting, or hold connections for less time.';
  const { maxSize, reserveSize } = core.policy;
  const free = maxSize + reserveSize - active;
  if (priority < settings.reservedPriority && free > 0 && free <= settings.reservedSlots)
    return `The places left are kept for requests of priority ${settings.reservedPriority} and above (reservedSlots): give this one a priority, or raise max.`;
  const late = core.count(EntryState.Checking) + core.count(EntryState.Resetting);
  if (late > 0 && late === total)
    return `${notAnswered(late)} being checked or reset: it is out of reach, or still busy with what the last holder left (a query that pg's query_timeout gave up).`;
  const opening = core.count(EntryState.Opening);
  if (opening > 0 && active < maxSize && total <= maxSize + reserveSize)
    return `${notAnswered(opening)} being opened: check host, port and firewall, and give requests more time than a login takes.`;
  return null;
}

function notAnswered(count: number): string {
  return `The server has not answered ${count === 1 ? 'a connection that is' : `${count} connections that are`}`;
}

/** The pool did not become warm in time, though no dial failed. */
export function notWarm(engine: Engine, min: number, timeoutMs: number): PoolExhausted {
  const numbers = numbersOf(engine);
  const what = `pool "${engine.name}" was not warm within ${timeoutMs} ms: ${numbers.idle + numbers.active} of ${min} connections stand`;
  const todo =
    remedy(engine, 'timeout', numbers, Number.POSITIVE_INFINITY) ??
    'Give wait() more time (timeoutMillis, initializationFailTimeoutMillis), raise maxDials, or lower min.';
  return new PoolExhausted('timeout', `${what}. ${todo}`, numbers, holdersOf(engine));
}

function table(holders: readonly Holder[]): string {
  if (holders.length === 0) return '';
  const rows = holders.slice(0, TABLE_ROWS).map((holder) => {
    const doing =
      holder.transaction === 'I' ? `idle ${holder.idleMs} ms` : `in transaction (${holder.transaction ?? '?'})`;
    const tenant = holder.tenant === '' ? '' : ` tenant ${holder.tenant}`;
    const where = holder.stack === '' ? '' : `\n${holder.stack}`;
    return `  pid ${holder.pid ?? '?'} held ${holder.heldMs} ms, ${doing}${tenant}: ${holder.sql || '(no query yet)'}${where}`;
  });
  const more = holders.length > TABLE_ROWS ? `\n  and ${holders.length - TABLE_ROWS} more` : '';
  return `Held now:\n${rows.join('\n')}${more}`;
}

/** What to do about a connection that the server did not take, by SQLSTATE. */
const HINTS: Readonly<Record<string, string>> = {
  '3D000': 'check the name of the database',
  '53300': 'the server has no connection left: lower max here or in other programs, or raise its max_connections',
  '57P03': 'the server is starting or stopping: try again in a moment',
  '57P01': 'the server is being shut down: try again in a moment',
};

/** Of Node's TLS: the server's certificate is not one that is trusted. */
const UNTRUSTED = /^(?:SELF_SIGNED_CERT_IN_CHAIN|DEPTH_ZERO_SELF_SIGNED_CERT|UNABLE_TO_|CERT_|ERR_TLS_CERT_)/;

function hintFor(cause: unknown): string {
  const code = String((cause as { code?: unknown } | null)?.code);
  if (cause instanceof ConfigNotMade)
    return 'the server was not asked: mend beforeConnect, or the function that gives the password';
  if (UNTRUSTED.test(code))
    return "the server's certificate is not trusted: give its authority as ssl.ca, and the host by the name that it is for";
  if (/does not support SSL/.test(messageOf(cause)))
    return 'leave out ssl (sslmode=disable), or turn it on in the server';
  return HINTS[code] ?? 'check that the server runs and host and port are right';
}

/** The error of a request that failed because the database could not be reached. */
export function downOrRefused(engine: Engine, cause: unknown, waitedMs: number): Error {
  const numbers = numbersOf(engine);
  const code = (cause as { code?: unknown } | null)?.code;
  const state =
    `(pool "${engine.name}": total=${numbers.total}, active=${numbers.active}, idle=${numbers.idle}, ` +
    `waiting=${numbers.waiting}; ${engine.core.adder.failures} dials failed in a row${waitedMs > 0 ? `, waited ${waitedMs} ms` : ''})`;
  if (typeof code === 'string' && code.startsWith('28'))
    return new AuthenticationFailed(
      `${messageOf(cause)}: the server refused the login; check user, password and pg_hba.conf ${state}`,
      cause,
    );
  // Told by its own class; its cause names each host.
  if (cause instanceof NoSuitableHost) return new NoSuitableHost(`${messageOf(cause)} ${state}`, cause.cause);
  const reason = cause instanceof ConfigNotMade ? cause.cause : cause;
  return new DatabaseDown(`${messageOf(cause)}: no connection could be made; ${hintFor(cause)} ${state}`, reason);
}
