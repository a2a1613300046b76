/** Counters of the traffic of one database, as SHOW STATS counts it. Plain numbers, written by the relay. */

export class Traffic {
  /** Servers handed to clients. */
  assignments = 0;
  /** Transactions and queries that ended. */
  transactions = 0;
  queries = 0;
  /** Bytes from clients and to clients. */
  received = 0;
  sent = 0;
  /** Milliseconds. */
  transactionMs = 0;
  queryMs = 0;
  waitMs = 0;
  /** Prepared statements: Parse by clients, Parse sent to servers, Bind. */
  clientParses = 0;
  serverParses = 0;
  binds = 0;
  /** Clients that logged in. */
  logins = 0;
}

/** The counters as they were at a moment. */
export type TrafficCounts = Readonly<Record<keyof Traffic, number>>;

export const NO_TRAFFIC: TrafficCounts = { ...new Traffic() };

export function addTraffic(a: TrafficCounts, b: TrafficCounts): TrafficCounts {
  const sum = { ...NO_TRAFFIC } as Record<keyof Traffic, number>;
  for (const key of Object.keys(sum) as (keyof Traffic)[]) sum[key] = a[key] + b[key];
  return sum;
}

/**
 * What happened between two moments, as SHOW STATS averages it: counts and bytes a second; durations in microseconds a
 * query, a transaction and a hand-out.
 */
export function averages(now: TrafficCounts, before: TrafficCounts, elapsedMs: number): TrafficCounts {
  if (elapsedMs <= 0) return NO_TRAFFIC;
  const rates = { ...NO_TRAFFIC } as Record<keyof Traffic, number>;
  for (const key of Object.keys(rates) as (keyof Traffic)[])
    rates[key] = Math.floor(((now[key] - before[key]) * 1000) / elapsedMs);
  const each = (ms: number, count: number) => (count > 0 ? Math.floor((ms * 1000) / count) : 0);
  rates.transactionMs = each(now.transactionMs - before.transactionMs, now.transactions - before.transactions);
  rates.queryMs = each(now.queryMs - before.queryMs, now.queries - before.queries);
  rates.waitMs = each(now.waitMs - before.waitMs, now.assignments - before.assignments);
  return rates;
}
