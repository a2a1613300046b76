/**
 * prom-client metrics of pools (`@sluice/pool/prometheus`). Owns names and labels; every value comes from `stats()` at the
 * time of the scrape, so measuring costs nothing between two. The alert rules that go with them: alerts/pool.rules.yml.
 *
 * prom-client is not a dependency: the application's own module is passed in.
 */
import { BUCKETS_MS, type HistogramSnapshot } from './histogram.ts';
import type { PoolStatistics } from './stats.ts';

export interface PromRegistry {
  registerMetric(metric: never): void;
  getSingleMetric?(name: string): unknown;
}

export interface PrometheusOptions {
  /** prom-client's registry; default: its global one. */
  registry?: PromRegistry;
  /** Before every name; default 'sluice_pool_'. */
  prefix?: string;
}

export interface Observed {
  stats(): PoolStatistics;
}

interface Sample {
  labels: Record<string, string | number>;
  value: number;
  metricName?: string;
}

/** A metric as prom-client's registry takes one: it reads `get()` at each scrape. */
class LiveMetric {
  readonly name: string;
  readonly help: string;
  readonly type: 'gauge' | 'counter' | 'histogram';
  readonly aggregator = 'sum';
  readonly #read: () => Sample[];

  constructor(name: string, help: string, type: LiveMetric['type'], read: () => Sample[]) {
    this.name = name;
    this.help = help;
    this.type = type;
    this.#read = read;
  }

  get() {
    return Promise.resolve({
      name: this.name,
      help: this.help,
      type: this.type,
      aggregator: this.aggregator,
      values: this.#read(),
    });
  }

  reset(): void {}
}

type Read = (stats: PoolStatistics) => number;

const GAUGES: readonly (readonly [string, string, Read])[] = [
  ['connections_max', 'Connections at most, without overflow.', (s) => s.max],
  ['connections_min', 'Connections kept open.', (s) => s.min],
  ['waiting', 'Requests that wait for a connection.', (s) => s.waiting],
  ['oldest_wait_seconds', 'How long the oldest of them has waited.', (s) => s.oldestWaitMs / 1_000],
  ['connect_failures_in_a_row', 'Dials that failed since the last that succeeded.', (s) => s.failuresInARow],
];

const COUNTERS: readonly (readonly [string, string, Read])[] = [
  ['acquires_total', 'Connections handed out.', (s) => s.acquires],
  ['waits_total', 'Hand-outs that had to wait.', (s) => s.waits],
  ['dials_total', 'Dials begun.', (s) => s.dials],
  ['dial_failures_total', 'Dials that failed.', (s) => s.openFailed],
  ['queries_total', 'Queries sent.', (s) => s.queries],
  ['query_errors_total', 'Errors the server answered.', (s) => s.queryErrors],
  ['checks_total', 'Connections checked.', (s) => s.checks],
  ['check_failures_total', 'Checks that failed.', (s) => s.checksFailed],
  ['resets_total', 'Sessions reset on return.', (s) => s.resets],
  ['cancels_total', 'Cancel requests sent.', (s) => s.cancels],
  ['evictions_total', "Connections given up for an error's SQLSTATE.", (s) => s.evictions],
  ['leaks_total', 'Leaks reported.', (s) => s.leaks],
  ['leaks_reclaimed_total', 'Leaks taken back.', (s) => s.reclaimed],
  ['deadlocks_total', 'Requests failed because everybody waited for everybody.', (s) => s.deadlocks],
  ['stale_handles_total', 'Uses of a handle after its release.', (s) => s.staleHandles],
  ['transaction_retries_total', 'Transactions tried again.', (s) => s.retries],
];

const STATES = ['idle', 'active', 'opening', 'checking', 'resetting', 'closing'] as const;

const HISTOGRAMS: readonly (readonly [string, string, (s: PoolStatistics) => HistogramSnapshot])[] = [
  ['wait_seconds', 'How long requests waited that had to wait.', (s) => s.waitMs],
  ['use_seconds', 'How long connections were held.', (s) => s.useMs],
  ['dial_seconds', 'How long dials took, hooks included.', (s) => s.dialMs],
];

/** What each registry shows, by prefix. */
const SHOWN = new WeakMap<PromRegistry, Map<string, Observed[]>>();

/**
 * Registers the metrics of one pool or several, told apart by the label `pool`; of equal names the second is shown as `name#2`. Called
 * again for the same registry and prefix it adds to those that are there.
 */
export function collectPools(
  prom: { register: unknown },
  pools: Observed | readonly Observed[],
  options: PrometheusOptions = {},
): void {
  const { prefix = 'sluice_pool_' } = options;
  const registry = (options.registry ?? prom.register) as PromRegistry;
  const given = Array.isArray(pools) ? (pools as readonly Observed[]) : [pools as Observed];
  const shown = SHOWN.get(registry) ?? new Map<string, Observed[]>();
  SHOWN.set(registry, shown);
  const before = shown.get(prefix);
  // It may have been cleared since.
  if (before !== undefined && registry.getSingleMetric?.(`${prefix}acquires_total`) !== undefined) {
    before.push(...given.filter((pool) => !before.includes(pool)));
    return;
  }
  const all = [...new Set(given)];
  shown.set(prefix, all);
  const add = (name: string, help: string, type: LiveMetric['type'], samples: (stats: PoolStatistics) => Sample[]) =>
    registry.registerMetric(
      new LiveMetric(prefix + name, help, type, () =>
        distinct(all.map((pool) => pool.stats())).flatMap(samples),
      ) as never,
    );
  const one = (read: Read) => (stats: PoolStatistics) => [{ labels: { pool: stats.name }, value: read(stats) }];
  for (const [name, help, read] of GAUGES) add(name, help, 'gauge', one(read));
  for (const [name, help, read] of COUNTERS) add(name, help, 'counter', one(read));
  add('connections', 'Connections by state.', 'gauge', (stats) =>
    STATES.map((state) => ({ labels: { pool: stats.name, state }, value: stats[state] })),
  );
  add('refused_total', 'Requests that ended without a connection, by reason.', 'counter', (stats) =>
    Object.entries(stats.refused).map(([reason, value]) => ({ labels: { pool: stats.name, reason }, value })),
  );
  add('closed_total', 'Connections closed, by reason.', 'counter', (stats) =>
    Object.entries(stats.closed).map(([reason, value]) => ({ labels: { pool: stats.name, reason }, value })),
  );
  for (const [name, help, read] of HISTOGRAMS)
    add(name, help, 'histogram', (stats) => histogram(prefix + name, stats.name, read(stats)));
}

/** The same with names that differ. */
export function distinct(all: readonly PoolStatistics[]): PoolStatistics[] {
  const seen = new Map<string, number>();
  return all.map((stats) => {
    const count = (seen.get(stats.name) ?? 0) + 1;
    seen.set(stats.name, count);
    return count === 1 ? stats : { ...stats, name: `${stats.name}#${count}` };
  });
}

function histogram(name: string, pool: string, snapshot: HistogramSnapshot): Sample[] {
  const samples: Sample[] = BUCKETS_MS.map((bound, at) => ({
    metricName: `${name}_bucket`,
    labels: { le: bound / 1_000, pool },
    value: snapshot.cumulative[at]!,
  }));
  samples.push({ metricName: `${name}_bucket`, labels: { le: '+Inf', pool }, value: snapshot.count });
  samples.push({ metricName: `${name}_sum`, labels: { pool }, value: snapshot.sumMs / 1_000 });
  samples.push({ metricName: `${name}_count`, labels: { pool }, value: snapshot.count });
  return samples;
}
