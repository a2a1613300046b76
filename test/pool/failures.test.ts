import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import type { PoolOptions } from '../../packages/pool/src/index.ts';
import { type EmbeddedPostgres, startEmbedded } from '../../packages/sluice/src/embedded/postgres.ts';
import { FaultyProxy } from '../support/proxy.ts';
import { at, failure, makePool, outside, pause, until } from './support.ts';

const cleanups: (() => unknown)[] = [];
afterAll(async () => {
  for (const cleanup of cleanups.reverse()) await cleanup();
});

describe('when the database is away', () => {
  test('a refused connection fails at once, with the code of the driver and the numbers of the pool', async () => {
    const pool = makePool({ port: 1 });
    const error = await failure(pool.query('SELECT 1'));
    expect(error).toMatchObject({ name: 'DatabaseDown', poolCode: 'SLUICE_DATABASE_DOWN', code: 'ECONNREFUSED' });
    expect(error.message).toMatch(/total=0, active=0, idle=0, waiting=0/);
  });

  test('each reason has a remedy of its own', async () => {
    const why = async (options: PoolOptions) => (await failure(makePool(options).query('SELECT 1'))).message;
    expect(await why({ port: 1 })).toMatch(/check that the server runs/);
    expect(await why({ ssl: { rejectUnauthorized: false } })).toMatch(/does not support SSL.*sslmode=disable/);
    expect(await why({ database: 'no_such_database' })).toMatch(/check the name of the database/);
    const token = new Error('no token to be had');
    const beforeConnect = () => Promise.reject(token);
    expect(await why({ beforeConnect })).toMatch(/no token to be had.*mend beforeConnect/);
    expect((await failure(makePool({ beforeConnect }).query('SELECT 1'))).cause).toBe(token);
    expect(await failure(makePool({ beforeConnect, compat: 'pg-pool' }).query('SELECT 1'))).toBe(token);
  });

  test('a refused login is another error, with the SQLSTATE', async () => {
    const pool = makePool({ user: 'nobody_of_that_name', password: 'x' });
    const error = await failure(pool.query('SELECT 1'));
    expect([error.name, error.code.slice(0, 2), error.poolCode]).toEqual([
      'AuthenticationFailed',
      '28',
      'SLUICE_AUTHENTICATION_FAILED',
    ]);
  });

  test('a black hole costs its time limit, not more, and the message says so', async () => {
    const hole = createServer(() => {}).listen(0, '127.0.0.1');
    await new Promise((resolve) => hole.once('listening', resolve));
    const pool = makePool({ port: (hole.address() as any).port, connectionTimeoutMillis: 60 });
    expect((await failure(pool.connect())).message).toMatch(/timeout/);
    expect(pool.totalCount).toBeLessThanOrEqual(1);
    await pool.end();
    hole.close();
  });

  test('a pool that is cut off while it dials into a black hole has ended, without waiting for the dial', async () => {
    const hole = createServer(() => {}).listen(0, '127.0.0.1');
    await new Promise((resolve) => hole.once('listening', resolve));
    const { port } = hole.address() as any;
    for (const options of [{ port }, { hosts: [`127.0.0.1:${port}`, `localhost:${port}`] }]) {
      const pool = makePool(options);
      const refused = failure(pool.connect());
      await until(() => pool.stats().opening === 1);
      await pool.drain({ timeoutMillis: 1 });
      expect([(await refused).code, pool.totalCount]).toEqual(['SLUICE_POOL_CLOSED', 0]);
    }
    hole.close();
  });

  test("with whenDown: 'wait' a request outlasts a short outage", async () => {
    const proxy = await FaultyProxy.start(at());
    const { port } = proxy;
    await proxy.stop();
    const pool = makePool({ port, whenDown: 'wait', connectionTimeoutMillis: 20_000, retryMinMillis: 10 });
    const waiting = pool.query('SELECT 1 AS n');
    await until(() => pool.stats().failuresInARow >= 2);
    const { createServer: listen, connect } = await import('node:net');
    const relay = listen((client) => {
      const server = connect(at().port, at().host);
      client.pipe(server).pipe(client);
      for (const socket of [client, server]) socket.on('error', () => {});
    }).listen(port, '127.0.0.1');
    expect((await waiting).rows[0].n).toBe(1);
    await pool.end();
    relay.close();
  });

  test('one probe at a time goes out while it is down, however many ask', async () => {
    const pool = makePool({ port: 1, max: 20, whenDown: 'wait', connectionTimeoutMillis: 150, retryMinMillis: 20 });
    let most = 0;
    pool.on('reconnectFailed', () => {
      most = Math.max(most, pool.stats().opening);
    });
    const results = await Promise.allSettled(Array.from({ length: 50 }, () => pool.query('SELECT 1')));
    expect(results.every(({ status }) => status === 'rejected')).toBe(true);
    expect((results[0] as PromiseRejectedResult).reason.poolCode).toBe('SLUICE_DATABASE_DOWN');
    expect(most).toBeLessThanOrEqual(3);
    expect(pool.stats().dials).toBeLessThan(25);
  });
});

describe('connections that die', () => {
  test('are found by the check before use, and one found condemns those that are older', async () => {
    const proxy = await FaultyProxy.start(at());
    const pool = makePool({ port: proxy.port, max: 3, checkAfterMillis: 0, checkTimeoutMillis: 100 });
    const leases = await Promise.all([1, 2, 3].map(() => pool.acquire()));
    for (const lease of leases) lease.release();
    // One that was used in this very millisecond is not checked.
    const used = Date.now();
    await until(() => Date.now() > used + 1);
    proxy.hang();
    const next = pool.query('SELECT 1 AS n');
    await until(() => pool.stats().checksFailed > 0);
    proxy.heal();
    expect((await next).rows[0].n).toBe(1);
    expect(pool.stats()).toMatchObject({ checksFailed: 1 });
    await pool.drain({ timeoutMillis: 100 });
    await proxy.stop();
  });

  test('in use fail their query, and the pool goes on', async () => {
    const pool = makePool({ max: 1 });
    const lease = await pool.acquire();
    lease.client.on('error', () => {});
    const stuck = failure(lease.query('SELECT pg_sleep(30)'));
    await (await outside()).query('SELECT pg_terminate_backend($1)', [lease.processID]);
    expect((await stuck).code).toBe('57P01');
    lease.release();
    expect((await pool.query('SELECT 1 AS n')).rows[0].n).toBe(1);
  });

  test('are checked before use after the process was frozen', async () => {
    const pool = makePool({ max: 1, checkAfterMillis: 60_000 });
    await pool.query('SELECT 1');
    const { now } = Date;
    const jumps: number[] = [];
    pool.on('clockJump', (ms) => jumps.push(ms));
    Date.now = () => now() + 5_000;
    try {
      await pool.query('SELECT 1');
    } finally {
      Date.now = now;
    }
    expect([jumps.length, pool.stats().checks]).toEqual([1, 1]);
  });
});

describe('a process that stood still', () => {
  /** Blocks it for so long: to the pool it is as if it had been stopped. */
  const block = (ms: number) => {
    for (const end = performance.now() + ms; performance.now() < end; );
  };

  test('checks what is idle before use, though both clocks went on', async () => {
    const pool = makePool({ max: 1, checkAfterMillis: 60_000, keepaliveMillis: 300 });
    await pool.query('SELECT 1');
    block(1_500);
    await pool.query('SELECT 1');
    expect(pool.stats()).toMatchObject({ clockJumps: 1, checks: 1 });
  });

  test('takes no connection from a holder who had no time', async () => {
    const pool = makePool({ max: 1, leakDetectionMillis: 300, leakAction: 'reclaim' });
    const lease = await pool.acquire();
    block(1_500);
    await new Promise((resolve) => setImmediate(resolve));
    expect((await lease.query('SELECT 7 AS n')).rows).toEqual([{ n: 7 }]);
    lease.release();
    expect(pool.stats()).toMatchObject({ leaks: 0, clockJumps: 1 });
  });

  test.each([1, 3])('ends those who wait at their time, or a little later (%i times)', async (times) => {
    const pool = makePool({ max: 1 });
    const held = await pool.acquire();
    const waiting = failure(pool.acquire({ timeoutMillis: 300 }));
    let over = false;
    void waiting.then(() => {
      over = true;
    });
    for (let i = 0; i < times && !over; i++) {
      block(1_300);
      await pause(20);
    }
    await pause(200);
    expect([over, (await waiting).code]).toEqual([true, 'SLUICE_POOL_EXHAUSTED']);
    held.release();
  });

  test('finds a leak in the end, however often it stands still', async () => {
    const pool = makePool({ max: 1, leakDetectionMillis: 200 });
    let leaks = 0;
    pool.on('leak', () => leaks++);
    const held = await pool.acquire();
    for (let i = 0; i < 4 && leaks === 0; i++) {
      block(1_300);
      await pause(20);
    }
    expect(leaks).toBe(1);
    held.release();
  });

  test('keeps its time limits after a jump of the wall clock, and checks connections that it never would else', async () => {
    const pool = makePool({ max: 1, idleTimeoutMillis: 6_000, checkAfterMillis: Number.POSITIVE_INFINITY });
    await pool.query('SELECT 1');
    const { now } = Date;
    Date.now = () => now() + 60_000;
    try {
      const client = await pool.connect();
      expect((await failure(pool.acquire({ timeoutMillis: 100 }))).code).toBe('SLUICE_POOL_EXHAUSTED');
      client.release();
      expect(pool.stats()).toMatchObject({ clockJumps: 1, checks: 1 });
    } finally {
      Date.now = now;
    }
  });
});

describe('a server of its own', () => {
  async function start(settings: Record<string, string> = {}): Promise<{ server: EmbeddedPostgres }> {
    const dir = mkdtempSync(join(tmpdir(), 'sluice-pool-test-'));
    chmodSync(dir, 0o755);
    cleanups.push(() => rmSync(dir, { recursive: true, force: true }));
    const server = await startEmbedded({ dataDir: join(dir, 'pg'), throwaway: true, settings });
    cleanups.push(() => server.stop('immediate'));
    return { server };
  }
  const coordinates = ({ host, port, user, password, database }: EmbeddedPostgres) => ({
    host,
    port,
    user,
    password,
    database,
  });

  test('that is killed takes its connections along, and the pool finds the next one started there', async () => {
    const { server } = await start();
    const pool = makePool({ ...coordinates(server), max: 3, whenDown: 'wait', connectionTimeoutMillis: 30_000 });
    const held = await pool.acquire();
    held.client.on('error', () => {});
    const stuck = failure(held.query('SELECT pg_sleep(60)'));
    process.kill(server.pid, 'SIGKILL');
    await stuck;
    held.release();
    const waiting = pool.query('SELECT 1 AS n');
    // Its orphans may hold the shared memory for a moment.
    await until(() =>
      server.start().then(
        () => true,
        () => false,
      ),
    );
    expect((await waiting).rows[0].n).toBe(1);
    expect(pool.stats().closed.lost).toBeGreaterThan(0);
  });

  test('that is read-only is told apart by targetSessionAttrs, and failover follows the one that can be written', async () => {
    const { server } = await start();
    const own = coordinates(server);
    const admin = makePool({ ...own, max: 1 });
    await admin.query('ALTER ROLE postgres SET default_transaction_read_only = on');
    const writable = at();
    const beforeConnect = (config: any) => ({
      ...config,
      password: config.port === own.port ? own.password : writable.password,
    });
    const hosts = [`${own.host}:${own.port}`, `${writable.host}:${writable.port}`];
    const portFor = async (attrs: any, among = hosts) => {
      const pool = makePool({ ...own, hosts: among, max: 1, beforeConnect, targetSessionAttrs: attrs });
      return (await pool.query('SELECT inet_server_port() AS it')).rows[0].it;
    };
    expect(await portFor('any')).toBe(own.port);
    expect(await portFor('read-write')).toBe(writable.port);
    expect(await portFor('read-only', [...hosts].reverse())).toBe(own.port);
    expect(await portFor('prefer-standby')).toBe(own.port);
    expect(await failure(portFor('standby'))).toMatchObject({
      code: 'SLUICE_NO_SUITABLE_HOST',
      cause: { errors: [{}, {}] },
    });

    // Alone and read-only it will not do; who waits is served as soon as it can be written.
    const follower = makePool({
      ...own,
      hosts: [hosts[0]!],
      targetSessionAttrs: 'read-write',
      whenDown: 'wait',
      connectionTimeoutMillis: 30_000,
      retryMinMillis: 5,
    });
    const waiting = follower.query('CREATE TABLE followed (n int)');
    await until(() => follower.stats().failuresInARow > 0);
    await admin.query(
      'SET default_transaction_read_only = off; ALTER ROLE postgres RESET default_transaction_read_only',
    );
    await waiting;
    // And when it turns read-only under way, the first refused write gives its connections up.
    await failure(follower.query('BEGIN READ ONLY; INSERT INTO followed VALUES (1)'));
    expect(follower.stats().evictions).toBe(1);
    await admin.query(
      'SET default_transaction_read_only = off; ALTER ROLE postgres RESET default_transaction_read_only',
    );
  });
});

test('who would wait for ever for connections that are kept hears why there are no more', async () => {
  const admin = await outside();
  await admin.query("DROP ROLE IF EXISTS kept_out; CREATE ROLE kept_out LOGIN PASSWORD 'before'");
  const pool = makePool({ user: 'kept_out', password: 'before', max: 3, retryMinMillis: 5 });
  const listening = await pool.connect();
  await listening.query('LISTEN whatever');
  await admin.query("ALTER ROLE kept_out PASSWORD 'after'");
  expect(await failure(pool.query('SELECT 1'))).toMatchObject({ name: 'AuthenticationFailed', code: '28P01' });
  listening.release();
});

test('end() does not wait for a connection that nobody waits for', async () => {
  const hole = createServer(() => {}).listen(0, '127.0.0.1');
  await new Promise((resolve) => hole.once('listening', resolve));
  const pool = makePool({
    port: (hole.address() as any).port,
    dialTimeoutMillis: 600_000,
    connectionTimeoutMillis: 50,
  });
  expect((await failure(pool.connect())).message).toMatch(/timeout/);
  await pool.end();
  const other = makePool({ port: (hole.address() as any).port, dialTimeoutMillis: 600_000 });
  const gone = new AbortController();
  const waiting = failure(other.acquire({ signal: gone.signal }));
  const ended = other.end();
  gone.abort();
  expect((await waiting).poolCode).toBe('SLUICE_ACQUIRE_ABORTED');
  await ended;
  hole.close();
});
