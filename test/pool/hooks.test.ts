import { describe, expect, test } from 'vitest';
import { Pool, type PoolConfig } from '../../packages/pool/src/index.ts';
import { at, failure, makePool, outside, own, until } from './support.ts';

describe('the hooks', () => {
  test('are called in their order, each at its time', async () => {
    const seen: string[] = [];
    const note = (name: string) => () => void seen.push(name);
    const pool = makePool({
      max: 1,
      beforeConnect: async (config) => {
        seen.push('beforeConnect');
        return { ...config, application_name: 'hooked' };
      },
      afterConnect: note('afterConnect'),
      prepare: note('prepare'),
      afterRelease: note('afterRelease'),
      beforeClose: note('beforeClose'),
    });
    const { rows } = await pool.query("SELECT current_setting('application_name') AS app");
    expect(rows[0].app).toBe('hooked');
    await pool.query('SELECT 1');
    await pool.end();
    expect(seen).toEqual([
      'beforeConnect',
      'afterConnect',
      'prepare',
      'afterRelease',
      'prepare',
      'afterRelease',
      'beforeClose',
    ]);
  });

  describe('what beforeConnect makes of the config counts, also beside a connection string', () => {
    const { host, port, user, password, database } = at();
    const url = `postgres://${user}:wrong@${host}:${port}/${database}?application_name=url`;
    const seen =
      "SELECT current_setting('application_name') AS app, current_database() AS db, current_user::text AS who";

    test.each<[string, NonNullable<PoolConfig['beforeConnect']>]>([
      ['a password', (config) => ({ ...config, password })],
      ['a password set in place', (config) => void (config.password = password)],
      ['a function for the password', (config) => ({ ...config, password: async () => password })],
      ['another string', (config) => ({ ...config, connectionString: url.replace('wrong', password) })],
    ])('%s', async (_what, beforeConnect) => {
      const pool = own(new Pool({ connectionString: url, beforeConnect }));
      expect((await pool.query(seen)).rows).toEqual([{ app: 'url', db: database, who: user }]);
    });

    test('database, user, port and further settings', async () => {
      const pool = own(
        new Pool({
          connectionString: `postgres://nobody:wrong@${host}:1/nowhere?application_name=url&sslmode=verify-full`,
          beforeConnect: (config) => ({
            ...config,
            user,
            password,
            port,
            database: 'template1',
            ssl: false,
            application_name: 'hook & 1',
          }),
        }),
      );
      expect((await pool.query(seen)).rows).toEqual([{ app: 'hook & 1', db: 'template1', who: user }]);
    });

    test('with several hosts', async () => {
      const pool = own(
        new Pool({
          connectionString: `postgres://${user}:wrong@${host}:1,${host}:${port}/${database}`,
          beforeConnect: (config) => ({ ...config, password, database: 'template1' }),
        }),
      );
      expect((await pool.query(seen)).rows).toEqual([{ app: '', db: 'template1', who: user }]);
    });
  });

  test('prepare that says false closes the connection and takes another', async () => {
    const refused = new Set<unknown>();
    const pool = makePool({
      max: 1,
      prepare: (client) => {
        if (refused.size > 0) return true;
        refused.add(client);
        return false;
      },
    });
    const client = await pool.connect();
    expect(refused.has(client)).toBe(false);
    client.release();
    expect(pool.stats().opened).toBe(2);
  });

  test('prepare that throws fails the request, and verify does the same for a new connection', async () => {
    const preparing = makePool({
      prepare: () => {
        throw new Error('not today');
      },
    });
    expect((await failure(preparing.connect())).message).toBe('not today');
    const verifying = makePool({ verify: (_client, done) => done(new Error('nope')) });
    expect((await failure(verifying.connect())).message).toBe('nope');
    expect(verifying.totalCount).toBe(0);
  });

  test('afterRelease that says false closes the connection', async () => {
    const pool = makePool({
      max: 1,
      afterRelease: async (client) => (await client.query('SELECT false AS it')).rows[0].it,
    });
    await pool.query('SELECT 1');
    await until(() => pool.totalCount === 0);
    expect(pool.stats().closed['reset failed']).toBe(1);
  });

  test('an error of the connect hook reaches the caller as it is', async () => {
    const mine = new Error('schema is missing');
    const pool = makePool({ onConnect: () => Promise.reject(mine) });
    expect(await failure(pool.query('SELECT 1'))).toBe(mine);
  });

  test('evictOn overrides which errors cost the connection', async () => {
    const pool = makePool({ max: 1, evictOn: (error) => (error.code === '22012' ? true : undefined) });
    const pid = (await pool.query('SELECT pg_backend_pid() AS pid')).rows[0].pid;
    await failure(pool.query('SELECT no_such_column'));
    expect((await pool.query('SELECT pg_backend_pid() AS pid')).rows[0].pid).toBe(pid);
    await failure(pool.query('SELECT 1/0'));
    expect((await pool.query('SELECT pg_backend_pid() AS pid')).rows[0].pid).not.toBe(pid);
    expect(pool.stats().evictions).toBe(1);
  });
});

describe('an operator', () => {
  test('waits until the pool is warm', async () => {
    const pool = makePool({ min: 3 });
    await pool.wait();
    expect(pool.idleCount).toBe(3);
    const lazy = makePool();
    await lazy.wait();
    expect(lazy.idleCount).toBe(1);
  });

  test('hears why it does not get warm', async () => {
    const pool = makePool({ port: 1, initializationFailTimeoutMillis: 50 });
    expect(await failure(pool.wait())).toMatchObject({ poolCode: 'SLUICE_DATABASE_DOWN', code: 'ECONNREFUSED' });
  });

  test('resizes, evicts, suspends and resumes', async () => {
    const pool = makePool({ max: 3 });
    const leases = await Promise.all([1, 2, 3].map(() => pool.acquire()));
    pool.resize({ max: 1 });
    for (const lease of leases) lease.release();
    await until(() => pool.totalCount === 1);
    const pid = (await pool.query('SELECT pg_backend_pid() AS pid')).rows[0].pid;
    pool.evict();
    expect((await pool.query('SELECT pg_backend_pid() AS pid')).rows[0].pid).not.toBe(pid);
    pool.suspend();
    let served = false;
    const waiting = pool.query('SELECT 1').then(() => {
      served = true;
    });
    await outside();
    expect([served, pool.waitingCount]).toEqual([false, 1]);
    pool.resume();
    await waiting;
    expect(() => pool.resize({ max: 0 })).toThrow(/max is 0/);
  });

  test('checks idle connections and finds the dead one before anybody else does', async () => {
    const pool = makePool({ max: 2 });
    const [a, b] = await Promise.all([pool.acquire(), pool.acquire()]);
    a.release();
    b.release();
    expect(await pool.check()).toEqual({ alive: 2, dead: 0 });
    expect(pool.acquireAllIdle().map((lease) => lease.release())).toHaveLength(2);
  });

  test('changes the credentials while it runs', async () => {
    const admin = await outside();
    await admin.query("DROP ROLE IF EXISTS rotated; CREATE ROLE rotated LOGIN PASSWORD 'two'");
    const pool = makePool({ max: 1 });
    await pool.query('SELECT 1');
    pool.setCredentials({ user: 'rotated', password: 'two' });
    expect((await pool.query('SELECT current_user AS it')).rows[0].it).toBe('rotated');
  });

  test('drains with a limit: what is still held then is cut off, and its query does not run on', async () => {
    const pool = makePool({ max: 1 });
    const lease = await pool.acquire();
    const stuck = failure(lease.query("SELECT pg_sleep(30), 'cut at the drain'"));
    const watch = makePool({ max: 1 });
    const running = async () =>
      (
        await watch.query(
          "SELECT count(*)::int AS n FROM pg_stat_activity WHERE query LIKE '%''cut at the drain''%' AND pid <> pg_backend_pid()",
        )
      ).rows[0].n;
    await expect.poll(running).toBe(1);
    await pool.drain({ timeoutMillis: 50 });
    await stuck;
    expect(pool.totalCount).toBe(0);
    await expect.poll(running).toBe(0);
  });
});
