/**
 * OpenTelemetry metrics of pools (`@sluice/pool/otel`) by the semantic conventions for database client connections
 * (opentelemetry.io/docs/specs/semconv/database/database-metrics). Owns names, units and attributes.
 *
 * @opentelemetry/api is not a dependency: the application's meter is passed in.
 */
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { CHANNELS } from './channels.ts';
import { BUCKETS_MS } from './histogram.ts';
import type { PoolStatistics } from './stats.ts';

type Attributes = Record<string, string>;

interface Result {
  observe(value: number, attributes?: Attributes): void;
}

interface Observable {
  addCallback(callback: (result: Result) => void): void;
  removeCallback(callback: (result: Result) => void): void;
}

/** What of a Meter is used. */
export interface MeterLike {
  createObservableUpDownCounter(name: string, options?: object): unknown;
  createObservableCounter(name: string, options?: object): unknown;
  createHistogram(name: string, options?: object): unknown;
}

interface Histogram {
  record(value: number, attributes?: Attributes): void;
}

export interface Observed {
  stats(): PoolStatistics;
  readonly name: string;
}

const UP_DOWN: readonly (readonly [
  string,
  string,
  string,
  (s: PoolStatistics) => readonly (readonly [number, Attributes])[],
])[] = [
  [
    'db.client.connection.count',
    '{connection}',
    'Connections by state.',
    (s) => [
      [s.idle, { 'db.client.connection.state': 'idle' }],
      [s.active, { 'db.client.connection.state': 'used' }],
    ],
  ],
  ['db.client.connection.idle.min', '{connection}', 'Connections kept open.', (s) => [[s.min, {}]]],
  ['db.client.connection.idle.max', '{connection}', 'Idle connections at most.', (s) => [[s.max, {}]]],
  ['db.client.connection.max', '{connection}', 'Connections at most.', (s) => [[s.max, {}]]],
  ['db.client.connection.pending_requests', '{request}', 'Requests that wait.', (s) => [[s.waiting, {}]]],
];

/** Registers the metrics of the pools with a meter. Returns a function that takes them off again. */
export function observePools(meter: MeterLike, pools: Observed | readonly Observed[]): () => void {
  const all = Array.isArray(pools) ? (pools as readonly Observed[]) : [pools as Observed];
  const undo: (() => void)[] = [];
  const watch = (made: unknown, read: (result: Result) => void) => {
    const observable = made as Observable;
    observable.addCallback(read);
    undo.push(() => observable.removeCallback(read));
  };
  for (const [name, unit, description, read] of UP_DOWN)
    watch(meter.createObservableUpDownCounter(name, { unit, description }), (result) => {
      for (const [value, attributes] of added(all, read)) result.observe(value, attributes);
    });
  const timeouts = { unit: '{timeout}', description: 'Requests that waited too long.' };
  watch(meter.createObservableCounter('db.client.connection.timeouts', timeouts), (result) => {
    for (const [value, attributes] of added(all, (s) => [[s.refused.timeout, {}]])) result.observe(value, attributes);
  });
  undo.push(recordDurations(meter, new Set(all.map((pool) => pool.name))));
  return () => {
    for (const each of undo) each();
  };
}

/** Pools of one name are one to the reader, as their durations are: their numbers are added up. */
function added(
  pools: readonly Observed[],
  read: (stats: PoolStatistics) => readonly (readonly [number, Attributes])[],
): Iterable<readonly [number, Attributes]> {
  const sums = new Map<string, readonly [number, Attributes]>();
  for (const pool of pools)
    for (const [value, own] of read(pool.stats())) {
      const attributes = { 'db.client.connection.pool.name': pool.name, ...own };
      const key = JSON.stringify(attributes);
      sums.set(key, [value + (sums.get(key)?.[0] ?? 0), attributes]);
    }
  return sums.values();
}

function recordDurations(meter: MeterLike, names: ReadonlySet<string>): () => void {
  // A reader's own buckets begin at 5, of whatever unit.
  const advice = { explicitBucketBoundaries: BUCKETS_MS.map((ms) => ms / 1_000) };
  const seconds = (name: string, description: string) =>
    meter.createHistogram(name, { unit: 's', description, advice }) as Histogram;
  const create = seconds('db.client.connection.create_time', 'How long a connection took to open.');
  const wait = seconds('db.client.connection.wait_time', 'How long a request waited for a connection.');
  const use = seconds('db.client.connection.use_time', 'How long a connection was held.');
  const record = (histogram: Histogram, field: 'dialMs' | 'waitMs' | 'heldMs') => (message: unknown) => {
    const event = message as { pool: string } & Record<typeof field, number>;
    if (names.has(event.pool)) histogram.record(event[field] / 1_000, { 'db.client.connection.pool.name': event.pool });
  };
  const listeners: [string, (message: unknown) => void][] = [
    [CHANNELS.open, record(create, 'dialMs')],
    [CHANNELS.acquire, record(wait, 'waitMs')],
    [CHANNELS.release, record(use, 'heldMs')],
  ];
  for (const [channel, listener] of listeners) subscribe(channel, listener);
  return () => {
    for (const [channel, listener] of listeners) unsubscribe(channel, listener);
  };
}
