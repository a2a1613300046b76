// The pools' figures as Markdown.
import { LOAD_CALLERS } from './load.mjs';

const row = (cells) => `| ${cells.join(' | ')} |`;
const table = (head, rows) => [row(head), row(head.map(() => '---')), ...rows.map(row)].join('\n');
const whole = (value) => Math.round(value).toLocaleString('en-US');
const seconds = (ms) => (ms === null ? '–' : `${(ms / 1_000).toFixed(1)} s`);
const LOAD_HEAD = [
  '',
  'queries a second',
  'p50, ms',
  'p99, ms',
  'CPU a query, µs',
  "throughput to pg-pool's",
  "p99 to pg-pool's",
  "CPU to pg-pool's",
];
const NAMES = {
  'sluice connect': '@sluice/pool',
  'sluice acquire': '@sluice/pool, acquire()',
  'sluice wait': "@sluice/pool, whenDown: 'wait'",
};
const named = (name) => NAMES[name] ?? name;

export function renderPools({ about, cycle, load, spike, outage }) {
  const parts = [`# Pools side by side\n\n${about}`];
  if (cycle) parts.push(ofCycle(cycle));
  if (load) parts.push(ofLoad(load));
  if (spike) parts.push(ofSpike(spike));
  if (outage) parts.push(ofOutage(outage));
  return `${parts.join('\n\n')}\n`;
}

function ofCycle(cycle) {
  const head = ['callers', ...cycle[0].pools.map(({ name }) => named(name))];
  const by = (field) =>
    table(
      head,
      cycle.map(({ callers, pools }) => [whole(callers), ...pools.map((pool) => whole(pool[field]))]),
    );
  return `## Acquire and release, 10 connections without a network

Nanoseconds a cycle:

${by('ns')}

Bytes allocated a cycle, the caller's own await included:

${by('bytes')}`;
}

function ofLoad(load) {
  const rows = load.map((each) => [
    named(each.name),
    whole(each.perSecond),
    each.p50.toFixed(1),
    each.p99.toFixed(1),
    each.cpuMicros.toFixed(0),
    each.throughputToPgPool.toFixed(2),
    each.p99ToPgPool.toFixed(2),
    each.cpuToPgPool.toFixed(2),
  ]);
  return `## PostgreSQL on loopback, ${LOAD_CALLERS} callers on 10 connections

${table(LOAD_HEAD, rows)}

The last three columns are medians of ratios, slice by slice.`;
}

function ofSpike(spike) {
  const rows = spike.map(({ name, opened, lastMs }) => [named(name), opened, lastMs.toFixed(0)]);
  return `## The spike: 50 requests on 5 idle connections, 150 ms to dial, 2 ms a query

${table(['', 'connections opened', 'all served after, ms'], rows)}

![Requests served over time](pool-spike.svg)`;
}

function ofOutage(outage) {
  const rows = outage.map((each) => [
    named(each.name),
    each.during,
    each.answeredInTime,
    seconds(each.medianMs),
    seconds(each.longestMs),
    each.never,
    seconds(each.backAfterMs),
  ]);
  const head = [
    '',
    'calls during the cut',
    'answered before its end',
    'median wait',
    'longest wait',
    'never answered',
    'first success after it was back',
  ];
  return `## The database that disappears: a call every 2 s, the network cut for 20 s, callers' patience 5 s

${table(head, rows)}

![How long each caller waited](pool-outage.svg)`;
}
