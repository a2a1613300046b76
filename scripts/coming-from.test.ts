/**
 * docs/coming-from.md has all settings of the pools that it is about, and names options, methods and events of ours that there are; it
 * leaves none of our options out that other pools have under another name.
 */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { expect, test } from 'vitest';
import * as ours from '../packages/pool/src/index.ts';
import { CLIENT_OPTIONS, POOL_OPTIONS } from '../packages/pool/src/option-table.ts';

const page = readFileSync(join(dirname(dirname(fileURLToPath(import.meta.url))), 'docs', 'coming-from.md'), 'utf8');
const words = (text: string) => text.trim().split(/\s+/);
/** What only we have, or only node-postgres. */
const OWN = new Set(
  words(
    'shed tenantWeights reservedSlots reservedPriority deadlockDetection cancelTimeoutMillis resetTimeoutMillis random poolSize',
  ),
);

/** The settings of each pool, as its documentation or its source lists them, by the heading of its section. */
const SETTINGS: Record<string, string> = {
  // Setters of HikariConfig.
  HikariCP: `allowPoolSuspension autoCommit catalog connectionInitSql connectionTestQuery connectionTimeout credentials dataSource
    dataSourceClassName dataSourceJNDI dataSourceProperties driverClassName exceptionOverride exceptionOverrideClassName
    healthCheckProperties healthCheckRegistry idleTimeout initializationFailTimeout isolateInternalQueries jdbcUrl keepaliveTime
    leakDetectionThreshold maxLifetime maximumPoolSize metricRegistry metricsTrackerFactory minimumIdle password poolName readOnly
    registerMbeans scheduledExecutor schema threadFactory transactionIsolation username validationTimeout`,
  // Parameters of create_engine() for the pool, and the events of PoolEvents.
  'SQLAlchemy (QueuePool)': `pool_size max_overflow pool_timeout pool_recycle pool_pre_ping pool_use_lifo pool_reset_on_return
    pool_logging_name pool_events poolclass echo_pool creator connect_args isolation_level
    connect first_connect checkout checkin reset invalidate soft_invalidate close detach close_detached`,
  // create_pool() and connect().
  asyncpg: `dsn min_size max_size max_queries max_inactive_connection_lifetime connect setup init reset loop connection_class
    record_class host port user password passfile service servicefile database timeout statement_cache_size
    max_cached_statement_lifetime max_cacheable_statement_size command_timeout ssl direct_tls server_settings target_session_attrs
    krbsrvname gsslib`,
  psycopg_pool: `conninfo connection_class kwargs min_size max_size open configure check reset name close_returns timeout max_waiting
    max_lifetime max_idle reconnect_timeout reconnect_failed num_workers`,
  pgxpool: `ConnConfig BeforeConnect AfterConnect BeforeAcquire PrepareConn AfterRelease BeforeClose ShouldPing MaxConnLifetime
    MaxConnLifetimeJitter MaxConnIdleTime PingTimeout MaxConns MinConns MinIdleConns HealthCheckPeriod`,
  'generic-pool': `create destroy validate max min maxWaitingClients testOnBorrow testOnReturn acquireTimeoutMillis
    destroyTimeoutMillis fifo priorityRange autostart evictionRunIntervalMillis numTestsPerEvictionRun softIdleTimeoutMillis
    idleTimeoutMillis Promise`,
  'tarn (Knex)': `create validate destroy log min max acquireTimeoutMillis createTimeoutMillis destroyTimeoutMillis idleTimeoutMillis
    reapIntervalMillis createRetryIntervalMillis propagateCreateError acquireConnectionTimeout maxConnectionLifetimeJitterMillis`,
  Sequelize: 'max min idle acquire evict maxUses validate',
  // Arguments of a connection URL.
  Prisma: `schema connection_limit connect_timeout pool_timeout sslmode sslcert sslrootcert sslidentity sslpassword sslaccept host
    socket_timeout statement_cache_size application_name channel_binding options`,
  'postgres.js': `host port path database username password ssl sslnegotiation max max_lifetime idle_timeout connect_timeout
    max_pipeline backoff keep_alive prepare types onnotice onparameter onclose debug socket transform connection
    target_session_attrs fetch_types publications`,
};

/** The rows of a section, or of all: what is on the left, and all that is on the right. */
function rowsOf(text: string): [string, string][] {
  return text
    .split('\n')
    .filter((line) => /^\| /.test(line) && !/ pg-pool \|| as it was /.test(line))
    .map((line) => {
      const [left, ...right] = line.split(' | ');
      return [left!, right.join(' ')];
    });
}

/** The text in backticks. */
const quoted = (text: string) => [...text.matchAll(/`([^`]+)`/g)].map((match) => match[1]!);

test('every option that stands for one of another pool is in it', () => {
  expect(Object.keys(POOL_OPTIONS).filter((name) => !OWN.has(name) && !page.includes(`\`${name}`))).toEqual([]);
});

test.each(Object.entries(SETTINGS))('every setting of %s is on the left of a row', (heading, settings) => {
  const section = page.split(`\n## ${heading}\n`)[1]!.split('\n## ')[0]!;
  const left = new Set(rowsOf(section).flatMap(([cell]) => quoted(cell)));
  expect(words(settings).filter((name) => !left.has(name))).toEqual([]);
});

const RIGHT = rowsOf(page).flatMap(([, right]) => quoted(right));

test('what looks like an option of ours in the right-hand column is one', () => {
  const named = RIGHT.flatMap((text) => /^([a-z][A-Za-z_]+)(?:: .*)?$/.exec(text)?.[1] ?? []);
  const known = new Set([
    ...Object.keys(POOL_OPTIONS),
    ...CLIENT_OPTIONS,
    // Of a request, of a query, and of an error.
    ...words('timeoutMillis deadline name rowMode cause code reason'),
    // Events.
    ...words('connect remove reconnectFailed error end'),
    // Others' words.
    ...words('search_path max_prepared_statements undefined fn pg schema'),
  ]);
  expect([...new Set(named)].filter((name) => !known.has(name))).toEqual([]);
});

test('what looks like a method or a property of ours is one', () => {
  const objects: Record<string, object[]> = {
    '': [ours.Pool.prototype, ours.Lease.prototype],
    pool: [ours.Pool.prototype],
    client: [pg.Client.prototype, { release: null }],
    lease: [ours.Lease.prototype],
    tx: [ours.Transaction.prototype],
  };
  const named = RIGHT.flatMap((text) => {
    const called = /(?:\b(\w+)\.)?\b([a-z]\w*)\(/.exec(text);
    const read = /^(pool|client|lease|tx)\.(\w+)$/.exec(text);
    return called || read ? [[(called ?? read)![1] ?? '', (called ?? read)![2]!]] : [];
  });
  expect(named.length).toBeGreaterThan(40);
  const theirs = ['tls.connect'];
  const unknown = named.filter(([object, name]) => !objects[object!]?.some((each) => name! in each));
  expect(unknown.map((each) => each.join('.')).filter((name) => !theirs.includes(name))).toEqual([]);
});

test('what looks like a class of ours is one', () => {
  const classes = RIGHT.filter((text) => /^[A-Z][a-z]+[A-Z][A-Za-z]+$/.test(text));
  expect(classes.length).toBeGreaterThan(5);
  expect(classes.filter((name) => !(name in ours))).toEqual([]);
});
