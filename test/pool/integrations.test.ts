import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { context, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { PgInstrumentation } from '@opentelemetry/instrumentation-pg';
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics';
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base';
import { PrismaPg } from '@prisma/adapter-pg';
import { attachDatabasePool } from '@vercel/functions';
import { sql } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/node-postgres';
import { CompiledQuery, Kysely, sql as kyselySql, PostgresDialect } from 'kysely';
import pg from 'pg';
import Cursor from 'pg-cursor';
import QueryStream from 'pg-query-stream';
import prom from 'prom-client';
import { DataSource } from 'typeorm';
import { describe, expect, test } from 'vitest';
import { Pool } from '../../packages/pool/src/index.ts';
import { observePools } from '../../packages/pool/src/otel.ts';
import { collectPools } from '../../packages/pool/src/prometheus.ts';
import { at, failure, makePool } from './support.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const PID = 'SELECT pg_backend_pid() AS pid, txid_current() AS xid';
/** The statements of a transaction ran on one connection and in one transaction. */
function expectOne(rows: { pid: number; xid: string }[]) {
  expect(new Set(rows.map((row) => row.pid)).size).toBe(1);
  expect(new Set(rows.map((row) => row.xid)).size).toBe(1);
  expect(rows.length).toBeGreaterThan(1);
}

describe('a transaction stays on one connection', () => {
  test('with Drizzle', async () => {
    const db = drizzle(makePool({ max: 4 }) as any);
    await db.transaction(async (tx) => {
      const ask = async () => (await tx.execute(sql.raw(PID))).rows[0] as any;
      expectOne([await ask(), await ask(), await ask()]);
    });
    await failure(db.transaction((tx) => tx.execute(sql`SELECT 1/0`)));
    expect((await db.execute(sql`SELECT 1 AS n`)).rows).toEqual([{ n: 1 }]);
  });

  test('with Kysely, whose onCreateConnection runs once a connection', async () => {
    let created = 0;
    const pool = makePool({ max: 1 });
    const onCreateConnection = async () => void created++;
    const db = new Kysely<any>({
      dialect: new PostgresDialect({ pool: pool as any, cursor: Cursor as any, onCreateConnection }),
    });
    await db.transaction().execute(async (tx) => {
      const ask = async () => (await tx.executeQuery(CompiledQuery.raw(PID))).rows[0] as any;
      expectOne([await ask(), await ask()]);
    });
    const streamed: any[] = [];
    const numbers = kyselySql<{ n: number }>`generate_series(1, 5)`.as('n');
    for await (const row of db.selectNoFrom(numbers).stream(2)) streamed.push(row);
    expect([streamed.length, created]).toEqual([5, 1]);
  });

  test('with TypeORM', async () => {
    const { host, port, user, password, database } = at();
    const driver = { ...pg, Pool, Client: pg.Client };
    const source = await new DataSource({
      type: 'postgres',
      driver,
      host,
      port,
      username: user,
      password,
      database,
    } as any).initialize();
    await source.transaction(async (manager) => {
      expectOne([(await manager.query(PID))[0], (await manager.query(PID))[0]]);
    });
    expect((source.driver as any).master).toBeInstanceOf(Pool);
    await source.destroy();
  });

  test("with Prisma's pg adapter, which takes the pool for pg's own", async () => {
    const pool = makePool({ max: 2 });
    const adapter = await new PrismaPg(pool as any).connect();
    const tx = await adapter.startTransaction();
    const ask = async () =>
      (await tx.queryRaw({ sql: 'SELECT pg_backend_pid()::int', args: [], argTypes: [] })).rows[0]![0];
    await tx.executeRaw({ sql: 'BEGIN', args: [], argTypes: [] });
    expect(await ask()).toBe(await ask());
    expect(pool.stats().active).toBe(1);
    await tx.executeRaw({ sql: 'COMMIT', args: [], argTypes: [] });
    await tx.commit();
    expect(pool.stats().active).toBe(0);
  });

  test('with a cursor and a stream of pg', async () => {
    const pool = makePool({ max: 2 });
    await pool.transaction(async (tx) => {
      const cursor = tx.query(
        new Cursor('SELECT pg_backend_pid() AS pid, txid_current() AS xid FROM generate_series(1, 3)'),
      );
      const rows = await cursor.read(2);
      await cursor.close();
      expectOne([...rows, (await tx.query(PID)).rows[0]]);
      let streamed = 0;
      for await (const _ of tx.client.query(new QueryStream('SELECT * FROM generate_series(1, 1000)'))) streamed++;
      expect(streamed).toBe(1000);
    });
    expect(pool.stats().total).toBe(1);
  });

  test('under OpenTelemetry, whose spans hang below the one around them', async () => {
    const exporter = new InMemorySpanExporter();
    const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
    context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
    const instrumentation = new PgInstrumentation({ enabled: false });
    instrumentation.setTracerProvider(provider);
    // What the loader hook does when pg is required.
    (instrumentation as any)._patchPgClient(pg.Client);
    const pool = makePool({ max: 2 });
    const tracer = provider.getTracer('test');
    await tracer.startActiveSpan('around', async (span) => {
      await pool.transaction(async (tx) => {
        expectOne([(await tx.query(PID)).rows[0], (await tx.query(PID)).rows[0]]);
      });
      span.end();
    });
    const spans = exporter.getFinishedSpans();
    const around = spans.find((span) => span.name === 'around')!;
    const queries = spans.filter((span) => span.name.startsWith('pg.query'));
    expect(queries.length).toBeGreaterThanOrEqual(4);
    for (const span of queries) expect(span.spanContext().traceId).toBe(around.spanContext().traceId);
    (instrumentation as any)._unpatchPgClient?.(pg.Client);
    context.disable();
    trace.disable();
  });

  test("under OpenTelemetry, whose spans and metrics of pg's pool are those of this one, whoever asks for a connection", () => {
    // As an application has it: the instrumentation is there before pg is.
    const program = `
const { context, trace } = require('@opentelemetry/api');
const { AsyncLocalStorageContextManager } = require('@opentelemetry/context-async-hooks');
const { registerInstrumentations } = require('@opentelemetry/instrumentation');
const { PgInstrumentation } = require('@opentelemetry/instrumentation-pg');
const metrics = require('@opentelemetry/sdk-metrics');
const { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } = require('@opentelemetry/sdk-trace-base');
context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
const exporter = new InMemorySpanExporter();
const tracerProvider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
trace.setGlobalTracerProvider(tracerProvider);
const numbers = new metrics.InMemoryMetricExporter(metrics.AggregationTemporality.CUMULATIVE);
const reader = new metrics.PeriodicExportingMetricReader({ exporter: numbers, exportIntervalMillis: 3_600_000 });
const meterProvider = new metrics.MeterProvider({ readers: [reader] });
registerInstrumentations({ instrumentations: [new PgInstrumentation()], tracerProvider, meterProvider });
const pg = require('pg');
const { Pool } = require('@sluice/pool');
const options = ${JSON.stringify({ ...at(), max: 1 })};

/** The spans of what is done below one, each with its parent's name, and what the metrics are. */
async function seen(pool, work) {
  exporter.reset();
  const failures = [];
  await trace.getTracer('test').startActiveSpan('around', async (span) => {
    await work(pool, (error) => failures.push(error.name));
    span.end();
  });
  const spans = exporter.getFinishedSpans();
  const nameOf = (id) => spans.find((span) => span.spanContext().spanId === id)?.name;
  await meterProvider.forceFlush();
  const points = numbers.getMetrics().at(-1).scopeMetrics.flatMap(({ metrics }) => metrics);
  const max = points.find(({ descriptor }) => descriptor.name === 'db.client.connection.max');
  return {
    failures,
    spans: spans.filter((span) => span.name !== 'around').map((span) => span.name + ' < ' + nameOf(span.parentSpanContext?.spanId)),
    max: max.dataPoints.map(({ value }) => value),
    metrics: points.map(({ descriptor }) => descriptor.name).sort(),
  };
}
const asPg = async (pool, failed) => {
  await pool.query('SELECT 1');
  const client = await pool.connect();
  await client.query('SELECT 2');
  client.release();
  await new Promise((resolve) => pool.connect((_error, client, done) => (done(), resolve())));
  await pool.query('SELECT 1/0').catch(failed);
};
(async () => {
  const theirs = new pg.Pool(options);
  const compat = new Pool({ ...options, compat: 'pg-pool' });
  const ours = new Pool(options);
  const said = { pg: await seen(theirs, asPg) };
  await theirs.end();
  said.compat = await seen(compat, asPg);
  await compat.end();
  said.ours = await seen(ours, asPg);
  said.others = await seen(ours, async (pool, failed) => {
    await pool.use((lease) => lease.query('SELECT 3'));
    await pool.transaction(async (tx) => {
      await tx.query('SELECT 4');
      await pool.acquire().catch(failed);
    });
    const held = await pool.connect();
    await pool.query({ text: 'SELECT 5', signal: AbortSignal.timeout(20) }).catch(failed);
    await pool.acquire({ timeoutMillis: 20 }).catch(failed);
    held.release();
  });
  await ours.end();
  said.after = await seen(ours, (pool, failed) => pool.connect().catch(failed));
  console.log(JSON.stringify(said));
})();`;
    const args = ['--input-type=commonjs', '-e', program];
    const { stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8', cwd: ROOT, timeout: 30_000 });
    expect(stderr).toBe('');
    const said = JSON.parse(stdout);
    const connect = 'pg-pool.connect < around';
    expect(said.pg.spans.filter((name: string) => name === connect)).toHaveLength(4);
    expect(said.compat).toEqual(said.pg);
    expect(said.ours.spans).toEqual(said.pg.spans);
    expect(said.ours.metrics).toEqual(said.pg.metrics);
    expect(said.ours.max).toEqual([1]);
    expect(said.others.spans.filter((name: string) => name === connect)).toHaveLength(6);
    expect(said.others.spans).toContain('pg.query:SELECT postgres < around');
    expect(said.others.failures).toEqual(['PoolDeadlock', 'AcquireAborted', 'PoolExhausted']);
    expect(said.after).toMatchObject({ failures: ['PoolClosed'], spans: [], max: [0] });
  });

  test("under Vercel's attachDatabasePool, which reads the options and listens to release", async () => {
    const pool = makePool({ max: 1 });
    attachDatabasePool(pool as any);
    expect(pool.listenerCount('release')).toBeGreaterThan(0);
    await pool.transaction(async (tx) => {
      expectOne([(await tx.query(PID)).rows[0], (await tx.query(PID)).rows[0]]);
    });
  });
});

describe('what is seen from outside', () => {
  test('prom-client gets gauges, counters and histograms whose numbers add up', async () => {
    const pool = makePool({ max: 2, name: 'web' });
    const registry = new prom.Registry();
    collectPools(prom, pool, { registry: registry as any });
    await Promise.all([1, 2, 3].map(() => pool.query('SELECT 1')));
    const text = await registry.metrics();
    expect(text).toContain('# TYPE sluice_pool_acquires_total counter');
    expect(text).toContain('sluice_pool_acquires_total{pool="web"} 3');
    expect(text).toContain('sluice_pool_connections{pool="web",state="active"} 0');
    expect(text).toContain('sluice_pool_use_seconds_count{pool="web"} 3');
    expect(text).toContain('sluice_pool_use_seconds_bucket{le="+Inf",pool="web"} 3');
    expect(text).toContain('sluice_pool_refused_total{pool="web",reason="timeout"} 0');
  });

  test('an OpenTelemetry meter gets the metrics of the semantic conventions', async () => {
    const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
    const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 3_600_000 });
    const provider = new MeterProvider({ readers: [reader] });
    const pool = makePool({ max: 2, name: 'api' });
    const stop = observePools(provider.getMeter('test'), [pool, makePool({ max: 3, name: 'api' })]);
    await Promise.all([1, 2, 3].map(() => pool.query('SELECT 1')));
    await reader.forceFlush();
    const metrics = exporter.getMetrics().flatMap((each) => each.scopeMetrics.flatMap((scope) => scope.metrics));
    const byName = new Map(metrics.map((metric) => [metric.descriptor.name, metric]));
    for (const name of [
      'count',
      'idle.min',
      'idle.max',
      'max',
      'pending_requests',
      'timeouts',
      'create_time',
      'wait_time',
      'use_time',
    ])
      expect([...byName.keys()]).toContain(`db.client.connection.${name}`);
    const use = byName.get('db.client.connection.use_time')!;
    expect(use.descriptor.unit).toBe('s');
    expect((use.dataPoints[0]!.value as any).count).toBe(3);
    // In seconds: a reader's own buckets would hold nearly all in the first.
    expect((use.dataPoints[0]!.value as any).buckets.boundaries).toContain(0.005);
    // Of one name, they are one.
    expect(byName.get('db.client.connection.max')!.dataPoints.map(({ value }) => value)).toEqual([5]);
    expect(use.dataPoints[0]!.attributes['db.client.connection.pool.name']).toBe('api');
    stop();
    await provider.shutdown();
  });
});
