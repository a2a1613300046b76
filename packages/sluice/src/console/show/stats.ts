/** SHOW STATS, STATS_TOTALS, STATS_AVERAGES and TOTALS: traffic by database. Times in microseconds. */
import type { TrafficCounts } from '../../telemetry/traffic.ts';
import { columns } from '../table.ts';
import type { View } from '../view.ts';

/** PgBouncer's names for the counters, in its order: in TOTALS, in STATS (total_, avg_) and in STATS_TOTALS. */
const COUNTERS = [
  ['server_assignment_count', 'server_assignment_count', 'server_assignment_count', 'server_assignment_count'],
  ['xact_count', 'xact_count', 'xact_count', 'xact_count'],
  ['query_count', 'query_count', 'query_count', 'query_count'],
  ['client_bytes', 'received', 'recv', 'bytes_received'],
  ['server_bytes', 'sent', 'sent', 'bytes_sent'],
  ['xact_time', 'xact_time', 'xact_time', 'xact_time'],
  ['query_time', 'query_time', 'query_time', 'query_time'],
  ['wait_time', 'wait_time', 'wait_time', 'wait_time'],
  ['ps_client_parse_count', 'client_parse_count', 'client_parse_count', 'client_parse_count'],
  ['ps_server_parse_count', 'server_parse_count', 'server_parse_count', 'server_parse_count'],
  ['ps_bind_count', 'bind_count', 'bind_count', 'bind_count'],
  ['client_login_count', 'client_login_count', 'client_login_count', 'client_login_count'],
] as const;
/** From these on STATS_AVERAGES puts avg_ before the names. */
const FIRST_PREFIXED = 8;

function totalsOf(counts: TrafficCounts): number[] {
  const { assignments, transactions, queries, received, sent } = counts;
  const times = [counts.transactionMs, counts.queryMs, counts.waitMs].map((ms) => ms * 1000);
  return [
    ...[assignments, transactions, queries, received, sent, ...times],
    ...[counts.clientParses, counts.serverParses, counts.binds, counts.logins],
  ];
}

/** Averages hold microseconds already. */
function averagesOf(counts: TrafficCounts): number[] {
  const { assignments, transactions, queries, received, sent, transactionMs, queryMs, waitMs } = counts;
  return [
    ...[assignments, transactions, queries, received, sent, transactionMs, queryMs, waitMs],
    ...[counts.clientParses, counts.serverParses, counts.binds, counts.logins],
  ];
}

export const STATS: View = {
  columns: columns(`s${'N'.repeat(24)}`, [
    'database',
    ...COUNTERS.map(([, total]) => `total_${total}`),
    ...COUNTERS.map(([, , average]) => `avg_${average}`),
  ]),
  rows: ({ snapshot }) =>
    snapshot
      .traffic()
      .map(({ database, totals, averages }) => [database, ...totalsOf(totals), ...averagesOf(averages)]),
};

export const STATS_TOTALS: View = {
  columns: columns(`s${'N'.repeat(12)}`, ['database', ...COUNTERS.map(([, , , name]) => name)]),
  rows: ({ snapshot }) => snapshot.traffic().map(({ database, totals }) => [database, ...totalsOf(totals)]),
};

export const STATS_AVERAGES: View = {
  columns: columns(`s${'N'.repeat(12)}`, [
    'database',
    ...COUNTERS.map(([, , , name], at) => (at >= FIRST_PREFIXED ? `avg_${name}` : name)),
  ]),
  rows: ({ snapshot }) => snapshot.traffic().map(({ database, averages }) => [database, ...averagesOf(averages)]),
};

export const TOTALS: View = {
  columns: columns('sN', ['name', 'value']),
  rows({ snapshot }) {
    const { totals, averages } = snapshot.totals();
    const named = (prefix: string, values: number[]) =>
      values.map((value, at) => [`${prefix}_${COUNTERS[at]![0]}`, value] as const);
    return [...named('total', totalsOf(totals)), ...named('avg', averagesOf(averages))];
  },
};
