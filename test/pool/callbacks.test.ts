/** Code of the application that the pool calls: whose context it runs in, what it may throw, how long it may take. */
import type pg from 'pg';
import { describe, expect, test } from 'vitest';
import type { Pool } from '../../packages/pool/src/index.ts';
import { at, depthOfScopes, failure, makePool, outside, pause, until } from './support.ts';

const status = async (pool: Pool) => pool.use((lease) => (lease.client as any).getTransactionStatus());
/** Errors thrown in callbacks, which end a process that does not listen. */
async function uncaught(work: () => Promise<void>): Promise<string[]> {
  const before = process.listeners('uncaughtException');
  const seen: string[] = [];
  process.removeAllListeners('uncaughtException');
  process.on('uncaughtException', (error) => seen.push(error.message));
  try {
    await work();
  } finally {
    process.removeAllListeners('uncaughtException');
    for (const listener of before) process.on('uncaughtException', listener);
  }
  return seen;
}
const bug = () => {
  throw new Error('a bug of the application');
};

describe('a release in the callback of a query', () => {
  test.each([{}, { handles: 'lease' as const }, { reset: 'full' as const }, { pipeline: true }])(
    'leaves no transaction for the next holder (%j)',
    async (options) => {
      const pool = makePool({ max: 1, ...options });
      const client = await pool.connect();
      await new Promise<void>((resolve) => {
        client.query('BEGIN', () => {
          client.release();
          resolve();
        });
      });
      expect(await status(pool)).toBe('I');
      await pool.query('BEGIN');
      expect(await status(pool)).toBe('I');
    },
  );

  test('resets nothing where the transaction has just ended', async () => {
    const pool = makePool({ max: 1 });
    const client = await pool.connect();
    await client.query('BEGIN');
    await new Promise<void>((resolve) => {
      client.query('COMMIT', () => {
        client.release();
        resolve();
      });
    });
    await pool.query('SELECT 1');
    expect(pool.stats().resets).toBe(0);
  });
});

/** Asks for a client in a context of its own, made before any transaction. */
const asks: (() => void)[] = [];
setInterval(() => {
  for (const ask of asks.splice(0)) ask();
}, 1).unref();
function askFromOutside(pool: Pool, callback: (done: () => void) => void): void {
  asks.push(() => pool.connect((_error, _client, done) => callback(done)));
}

describe('a callback runs in the context of whoever gave it', () => {
  test('not in the transaction that had the connection dialled', async () => {
    const pool = makePool({ max: 2 });
    await pool.query('CREATE TABLE IF NOT EXISTS of_whom (name text)');
    await pool.query('TRUNCATE of_whom');
    let insertB: Promise<unknown> = Promise.resolve();
    const first = await pool.connect();
    await failure(
      pool.transaction(async (tx) => {
        await tx.query("INSERT INTO of_whom VALUES ('A')");
        first.release();
        throw new Error('rolled back');
      }),
    );
    await new Promise<void>((resolve) => {
      pool.query('SELECT 1', () => {
        insertB = pool.transaction((tx) => tx.query("INSERT INTO of_whom VALUES ('B')"));
        resolve();
      });
    });
    await insertB;
    expect((await pool.query('SELECT name FROM of_whom')).rows).toEqual([{ name: 'B' }]);
    await pool.query('DROP TABLE of_whom');
  });

  test('not in the transaction of whoever released the connection', async () => {
    const pool = makePool({ max: 2 });
    let inner: Promise<boolean> | null = null;
    await pool.transaction(async (tx) => {
      const second = await pool.connect();
      const outer = tx.client;
      setTimeout(() => second.release(), 10);
      // Asked for by code that is in no transaction.
      await new Promise<void>((resolve) => {
        askFromOutside(pool, (done) => {
          done();
          inner = pool.transaction(async (other) => other.client !== outer);
          resolve();
        });
      });
    });
    expect(await inner).toBe(true);
  });

  test('a notification handler may begin transactions when the one that had dialled is over', async () => {
    const pool = makePool({ max: 2 });
    const listening = await pool.transaction(() => pool.connect());
    const heard = new Promise<unknown>((resolve, reject) => {
      listening.on('notification', () => {
        pool.transaction((tx) => tx.query('SELECT 1 AS n')).then((result) => resolve(result.rows), reject);
      });
    });
    await listening.query('LISTEN called_back');
    await pool.query('NOTIFY called_back');
    expect(await heard).toEqual([{ n: 1 }]);
    listening.release();
  });

  test('in its own transaction, by the callback of a query too', async () => {
    const pool = makePool({ max: 1 });
    const same = await pool.transaction(
      (tx) =>
        new Promise((resolve, reject) => {
          tx.client.query('SELECT 1', () => {
            pool
              .transaction(async (inner) => (inner.client as any).processID === (tx.client as any).processID)
              .then(resolve, reject);
          });
        }),
    );
    expect(same).toBe(true);
  });
});

describe('a callback that throws', () => {
  test.each([
    ['a failed dial', { host: '127.0.0.1', port: 1, whenDown: 'fail' as const }],
    ['a timeout', { max: 1, connectionTimeoutMillis: 1_000 }],
  ])('keeps nobody else from being told: %s', async (what, options) => {
    const pool = makePool(options);
    const held = what === 'a timeout' ? await pool.connect() : null;
    const thrown = await uncaught(async () => {
      pool.query('SELECT 1', bug);
      await failure(pool.query('SELECT 2'));
      await pause(10);
    });
    expect(thrown).toEqual(['a bug of the application']);
    held?.release();
  });

  test('does not keep a pool from ending', async () => {
    const pool = makePool({ max: 1 });
    await pool.connect();
    const thrown = await uncaught(async () => {
      pool.query('SELECT 1', bug);
      const waiting = failure(pool.query('SELECT 2'));
      await pool.drain({ timeoutMillis: 20 });
      await waiting;
    });
    expect(thrown).toHaveLength(1);
    expect(pool.totalCount).toBe(0);
  });

  test('evictOn: the query is told its error, a warning says what was thrown', async () => {
    const warnings: string[] = [];
    const note = (warning: Error) => warnings.push(warning.message);
    const others = process.listeners('warning');
    process.removeAllListeners('warning');
    process.on('warning', note);
    const pool = makePool({ max: 1, evictOn: bug });
    expect((await failure(pool.query('SELECT 1/0'))).code).toBe('22012');
    expect((await pool.query('SELECT 1 AS n')).rows).toEqual([{ n: 1 }]);
    await until(() => warnings.length > 0);
    process.off('warning', note);
    for (const other of others) process.on('warning', other as never);
    expect(warnings[0]).toMatch(/evictOn threw/);
  });
});

describe('hooks have the time that was given, and no more', () => {
  test('prepare that refuses every connection', async () => {
    const prepare = async () => pause(10).then(() => false);
    const pool = makePool({ connectionTimeoutMillis: 200, dialTimeoutMillis: 10_000, prepare });
    await pool.wait({ timeoutMillis: 10_000 });
    const error = await failure(pool.connect());
    expect(error.poolCode).toBe('SLUICE_POOL_EXHAUSTED');
    expect(error.message).toMatch(/the verify or prepare hook .*(connections were not fit for it|it has not ended)/);
    expect(pool.stats().active).toBe(0);
  });

  test('prepare that never ends', async () => {
    const pool = makePool({ max: 1, connectionTimeoutMillis: 1_000, prepare: () => new Promise(() => {}) });
    expect((await failure(pool.connect())).message).toMatch(/hook/);
    await until(() => pool.totalCount === 0);
  });

  test('a signal that fires meanwhile', async () => {
    const abort = new AbortController();
    let times = 0;
    const pool = makePool({
      max: 1,
      prepare: async () => {
        if (++times === 1) abort.abort(new Error('enough'));
        await pause(10);
        return false;
      },
    });
    expect((await failure(pool.acquire({ signal: abort.signal }))).poolCode).toBe('SLUICE_ACQUIRE_ABORTED');
    expect(times).toBe(1);
  });

  test('onConnect that never ends', async () => {
    const pool = makePool({ max: 1, dialTimeoutMillis: 150, onConnect: () => new Promise(() => {}) });
    expect((await failure(pool.query('SELECT 1'))).message).toMatch(/connect hook did not end/);
    await until(() => pool.totalCount === 0);
  });

  test('afterRelease that leaves a transaction open costs the connection', async () => {
    const pool = makePool({ max: 1, afterRelease: (client: pg.PoolClient) => client.query('BEGIN') });
    await pool.query('SELECT 1');
    expect(await status(pool)).toBe('I');
  });
});

describe('what the connect hook has done is done again, once and only if it was undone', () => {
  test('a callback among it is not called again', async () => {
    let called = 0;
    const pool = makePool({ max: 1 });
    pool.on('connect', (client) => client.query("SET application_name = 'mine'", () => called++));
    for (let i = 0; i < 3; i++) await pool.query("SET work_mem = '65MB'");
    expect((await pool.query('SHOW application_name')).rows[0].application_name).toBe('mine');
    expect(called).toBe(1);
    expect(pool.stats().resets).toBe(3);
  });

  test('a temporary table and a lock stay', async () => {
    const pool = makePool({
      max: 1,
      onConnect: async (client: pg.PoolClient) => {
        await client.query('CREATE TEMP TABLE of_the_hook (n int)');
        await client.query('SELECT pg_advisory_lock(4711)');
      },
    });
    const locks = async () =>
      (
        await pool.query(
          "SELECT count(*)::int AS n FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()",
        )
      ).rows[0].n;
    await pool.query("SET work_mem = '65MB'");
    expect((await pool.query('SELECT count(*)::int AS n FROM of_the_hook')).rows).toEqual([{ n: 0 }]);
    await pool.query('CREATE TEMP TABLE of_a_holder (n int)');
    expect((await pool.query('SELECT count(*)::int AS n FROM of_the_hook')).rows).toEqual([{ n: 0 }]);
    expect((await failure(pool.query('SELECT * FROM of_a_holder'))).code).toBe('42P01');
    await pool.query('SELECT pg_advisory_lock(4712)');
    expect(await locks()).toBe(1);
    // What the hook may have put into its table cannot be put there again, but by a new connection.
    expect(pool.stats().opened).toBe(2);
  });
});

test("with deadlockDetection: 'all' a flow that connects over and over keeps nothing", async () => {
  const pool = makePool({ max: 1, deadlockDetection: 'all' });
  for (let i = 0; i < 100; i++) (await pool.connect()).release();
  expect(depthOfScopes()).toBeLessThan(2);
});

describe('ending', () => {
  test('wait() ends with the pool', async () => {
    const pool = makePool({ host: '127.0.0.1', port: 1, initializationFailTimeoutMillis: 60_000 });
    const waiting = failure(pool.wait());
    await pool.end();
    expect((await waiting).poolCode).toBe('SLUICE_POOL_CLOSED');
  });

  test('resize during wait() holds', async () => {
    const pool = makePool();
    const waiting = pool.wait();
    pool.resize({ min: 1 });
    await waiting;
    expect(pool.stats().min).toBe(1);
  });

  test('many who wait for the pool cause no warning', async () => {
    const warnings: string[] = [];
    const note = (warning: Error) => warnings.push(warning.message);
    process.on('warning', note);
    const pool = makePool({ max: 1 });
    const { signal } = new AbortController();
    await Promise.all(Array.from({ length: 15 }, () => pool.wait()));
    await Promise.all(Array.from({ length: 15 }, () => pool.query({ text: 'SELECT 1', signal })));
    await pause(10);
    process.off('warning', note);
    expect(warnings).toEqual([]);
  });

  test('a reserved connection is closed when those in line have gone', async () => {
    const pool = makePool({ max: 2, reservedSlots: 1, idleTimeoutMillis: 0 });
    const low = await pool.acquire();
    const high = await pool.acquire({ priority: 1 });
    const waiting = pool.acquire();
    const ended = pool.end();
    high.release();
    low.release();
    (await waiting).release();
    await ended;
    expect(pool.totalCount).toBe(0);
  });

  test('the process is free when the pool has ended, though its last holder ended the client himself', async () => {
    const pool = makePool({ max: 1 });
    const client = await pool.connect();
    const ended = pool.end();
    await client.end();
    client.release();
    await ended;
    const timers = process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length;
    expect(timers).toBeLessThanOrEqual(1);
  });
});

describe('asking', () => {
  test.each([
    { timeoutMillis: -5 },
    { timeoutMillis: Number.NaN },
    { deadline: new Date('never') },
    { priority: Number.NaN },
  ])('for what makes no sense is refused by name: %j', async (options) => {
    const pool = makePool();
    expect((await failure(pool.acquire(options))).message).toContain(Object.keys(options)[0]!);
  });

  test('for every idle connection gives them, however long they were idle', async () => {
    const pool = makePool({ max: 3, min: 3, checkAfterMillis: 1 });
    await pool.wait();
    await pause(20);
    const leases = pool.acquireAllIdle();
    expect(leases).toHaveLength(3);
    for (const lease of leases) lease.release();
  });

  test('with new credentials works beside a connection string too', async () => {
    const { host, port, user, password, database } = at();
    const admin = await outside();
    await admin.query("DROP ROLE IF EXISTS renewed; CREATE ROLE renewed LOGIN PASSWORD 'p@ss:w/rd'");
    const pool = makePool({
      ...({ host: undefined, port: undefined, user: undefined, password: undefined, database: undefined } as object),
      connectionString: `postgres://${user}:${encodeURIComponent(password)}@${host}:${port}/${database}`,
    });
    const who = async () => (await pool.query('SELECT session_user AS who')).rows[0].who;
    expect(await who()).toBe(user);
    pool.setCredentials({ user: 'renewed', password: 'p@ss:w/rd' });
    expect(await who()).toBe('renewed');
    pool.setCredentials({ password: () => Promise.resolve('p@ss:w/rd') });
    expect(await who()).toBe('renewed');
    await pool.end();
    await admin.query('DROP ROLE renewed');
  });
});
