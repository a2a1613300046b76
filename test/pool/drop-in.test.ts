import pg from 'pg';
import { describe, expect, test } from 'vitest';
import { Pool } from '../../packages/pool/src/index.ts';
import { at, failure, makePool, outside, until } from './support.ts';

describe('in place of pg.Pool', () => {
  test('it is one by instanceof, with options visible and the password not enumerable', () => {
    const pool = makePool({ max: 3, password: 'secret' });
    expect(pool).toBeInstanceOf(pg.Pool);
    expect(pool.options.max).toBe(3);
    expect(JSON.stringify(pool.options)).not.toContain('secret');
    expect(pool.options.idleTimeoutMillis).toBe(10_000);
  });

  test('it can be subclassed, and the Client option is used', async () => {
    class MyClient extends pg.Client {
      mine = true;
    }
    class MyPool extends Pool {
      override connect(...args: any[]): any {
        return (super.connect as any)(...args);
      }
    }
    const made = makePool({ Client: MyClient });
    const client = await MyPool.prototype.connect.call(made);
    expect(client.mine).toBe(true);
    client.release();
  });

  test('the callback forms and the promise forms give the same', async () => {
    const pool = makePool();
    const byCallback = await new Promise((resolve, reject) => {
      pool.query('SELECT $1::int AS n', [1], (error, result) => (error ? reject(error) : resolve(result.rows)));
    });
    expect(byCallback).toEqual((await pool.query('SELECT $1::int AS n', [1])).rows);
    const n = await new Promise((resolve, reject) => {
      pool.connect((error, client, done) => {
        if (error) return reject(error);
        client!.query('SELECT 2 AS n', (_: unknown, result: any) => {
          done();
          resolve(result.rows[0].n);
        });
      });
    });
    expect(n).toBe(2);
  });

  test('events come in the order connect, acquire, release, remove', async () => {
    const pool = makePool({ max: 1 });
    const seen: string[] = [];
    for (const name of ['connect', 'acquire', 'release', 'remove'] as const) pool.on(name, () => seen.push(name));
    await pool.query('SELECT 1');
    await pool.end();
    expect(seen).toEqual(['connect', 'acquire', 'release', 'remove']);
  });

  test('an SQL error does not cost the connection', async () => {
    const pool = makePool({ max: 1 });
    const first = (await pool.query('SELECT pg_backend_pid() AS pid')).rows[0].pid;
    for (let i = 0; i < 5; i++) await failure(pool.query('SELECT 1/0'));
    expect((await pool.query('SELECT pg_backend_pid() AS pid')).rows[0].pid).toBe(first);
  });

  test("with compat: 'pg-pool' it does", async () => {
    const pool = makePool({ max: 1, compat: 'pg-pool' });
    const first = (await pool.query('SELECT pg_backend_pid() AS pid')).rows[0].pid;
    await failure(pool.query('SELECT 1/0'));
    expect((await pool.query('SELECT pg_backend_pid() AS pid')).rows[0].pid).not.toBe(first);
  });

  test('a waiter is served by whatever becomes free, not by a dial of its own', async () => {
    let dials = 0;
    class Slow extends pg.Client {
      override connect(callback?: any): any {
        if (++dials === 1) return super.connect(callback);
        // The second dial never ends.
      }
    }
    const pool = makePool({ max: 2, Client: Slow, dialTimeoutMillis: 300 });
    const first = await pool.connect();
    const waiting = pool.connect();
    first.release();
    const second = await waiting;
    expect(second).toBe(first);
    second.release();
  });

  test('double release throws, and a released client refuses queries', async () => {
    const pool = makePool({ max: 1 });
    const client = await pool.connect();
    client.release();
    expect(() => client.release()).toThrow(/already been released/);
    expect((await failure(client.query('SELECT 1'))).poolCode).toBe('SLUICE_STALE_HANDLE');
  });

  test('an idle connection that fails does not end a process that does not listen', async () => {
    const pool = makePool({ max: 1 });
    const { pid } = (await pool.query('SELECT pg_backend_pid() AS pid')).rows[0];
    await (await outside()).query('SELECT pg_terminate_backend($1)', [pid]);
    await until(() => pool.totalCount === 0);
    expect((await pool.query('SELECT 1 AS n')).rows[0].n).toBe(1);
  });

  test("with handles: 'lease' a stale client never reaches the next holder", async () => {
    const pool = makePool({ max: 1, handles: 'lease' });
    const first = await pool.connect();
    expect(first).toBeInstanceOf(pg.Client);
    first.release();
    const second = await pool.connect();
    await second.query('BEGIN');
    expect((await failure(first.query('ROLLBACK'))).poolCode).toBe('SLUICE_STALE_HANDLE');
    expect(() => first.release()).toThrow(/released/);
    await second.query('COMMIT');
    second.release();
  });

  test.each(['acquire', "handles: 'lease'"])(
    'by %s, listeners go with the lease that has put them there',
    async (how) => {
      const pool = makePool({ max: 1, ...(how === 'acquire' ? {} : { handles: 'lease' as const }) });
      const take = async () => (how === 'acquire' ? (await pool.acquire()).client : await pool.connect());
      const mine: string[] = [];
      const raw = await pool.connect();
      const before = ['notification', 'error', 'notice', 'end'].map((event) => raw.listenerCount(event));
      raw.release();
      for (let round = 0; round < 20; round++) {
        const client = await take();
        client.on('notification', () => mine.push('heard'));
        client.once('error', () => {});
        client.prependListener('notice', () => mine.push('noticed'));
        const off = () => {};
        client.addListener('end', off).removeListener('end', off);
        client.release();
        // Whoever cleans up late may; whoever comes late gets nothing.
        client.removeListener('end', off);
        expect(client.on('notification', () => mine.push('late'))).toBe(client);
      }
      const next = await pool.connect();
      await next.query("LISTEN others; NOTIFY others; DO $$ BEGIN RAISE NOTICE 'x'; END $$");
      expect(mine).toEqual([]);
      expect(['notification', 'error', 'notice', 'end'].map((event) => next.listenerCount(event))).toEqual(before);
      next.release();
    },
  );

  test('listeners of a lease that is held for long are all taken off, also many', async () => {
    const pool = makePool({ max: 1 });
    const lease = await pool.acquire();
    const { client } = lease;
    client.setMaxListeners(0);
    const idle = client.listenerCount('notice');
    for (let i = 0; i < 200; i++) {
      const passing = () => {};
      client.on('notice', passing);
      if (i % 2 === 0) client.removeListener('notice', passing);
    }
    expect(client.listenerCount('notice')).toBe(idle + 100);
    lease.release();
    expect(lease.client.listenerCount('notice')).toBe(idle);
  });

  test('a listener that is none is refused as by any emitter, and costs nothing else', async () => {
    const pool = makePool({ max: 1, connectionTimeoutMillis: 5_000 });
    const done = await pool.transaction(async (tx) => {
      expect(() => (tx.client as any).on('notice', undefined)).toThrow(/listener/);
      return 'done';
    });
    expect(done).toBe('done');
    expect([pool.idleCount, pool.totalCount]).toEqual([1, 1]);
  });

  test('a listener of another’s that is the same function stays', async () => {
    const heard: string[] = [];
    const note = () => void heard.push('heard');
    const pool = makePool({ max: 1 });
    pool.on('connect', (client) => client.on('notice', note));
    const lease = await pool.acquire();
    lease.client.on('notice', note);
    lease.client.off('notice', note);
    lease.client.once('notice', note);
    const notice = "DO $$ BEGIN RAISE NOTICE 'x'; END $$";
    await lease.query(notice);
    expect(heard).toHaveLength(2);
    expect(lease.client.listenerCount('notice')).toBe(1);
    lease.client.on('end', note).removeAllListeners();
    lease.release();
    await pool.query(notice);
    expect(heard).toHaveLength(3);
  });

  test.each([undefined, 'lease' as const])(
    'who takes all listeners off takes the pool’s only for as long as he has it (handles: %s)',
    async (handles) => {
      const pool = makePool({ max: 1, ...(handles && { handles }) });
      const client = await pool.connect();
      client.removeAllListeners();
      const { processID } = client as any;
      client.release();
      const admin = await outside();
      await admin.query('SELECT pg_terminate_backend($1)', [processID]);
      await until(() => pool.totalCount === 0);
      expect((await pool.query('SELECT 1 AS n')).rows).toEqual([{ n: 1 }]);
    },
  );

  test('what speaks to the server past the client is dead with the lease, too', async () => {
    const pool = makePool({ max: 1 });
    const lease = await pool.acquire();
    const { client } = lease as any;
    const { connection } = client;
    expect(typeof connection.stream).toBe('object');
    const { query } = connection;
    lease.release();
    const next = await pool.acquire();
    await next.query('BEGIN');
    for (const wire of [connection, client.connection, { query }])
      expect(() => wire.query('rollback')).toThrow(expect.objectContaining({ code: 'SLUICE_STALE_HANDLE' }));
    expect((await next.query('SELECT 1 AS n')).rows).toEqual([{ n: 1 }]);
    await next.query('COMMIT');
    next.release();
  });

  test("with handles: 'lease' what others do to a client still works", async () => {
    const pool = makePool({ max: 1, handles: 'lease' });
    const first: any = await pool.connect();
    // node-postgres' own example of watching a client.
    const { query, release } = first;
    const seen: unknown[] = [];
    first.query = (...args: unknown[]) => {
      seen.push(args[0]);
      return query.apply(first, args);
    };
    first.release = (error?: unknown) => {
      first.query = query;
      first.release = release;
      return release.apply(first, [error]);
    };
    const onError = () => {};
    expect(first.on('error', onError)).toBe(first);
    first.tag = 'mine';
    expect((await first.query('SELECT 1 AS n')).rows[0].n).toBe(1);
    first.release();
    first.removeListener('error', onError);
    expect(first.escapeLiteral("it's")).toBe("'it''s'");
    expect(() => first.end()).toThrow(/released/);
    expect(seen).toEqual(['SELECT 1 AS n']);

    const second: any = await pool.connect();
    expect(second.tag).toBe('mine');
    expect(second.processID).toBe(first.processID);
    expect((await second.query('SELECT 2 AS n')).rows[0].n).toBe(2);
    expect(second.listenerCount('error')).toBe(first.listenerCount('error'));
    second.release();
    expect(seen).toHaveLength(1);
  });

  test("with handles: 'lease' a replaced method that nobody puts back is gone with its holder", async () => {
    const pool = makePool({ max: 1, handles: 'lease' });
    const first: any = await pool.connect();
    const { query } = first;
    first.query = (...args: unknown[]) => query(...args);
    first.release();
    await expect(first.query('SELECT 1')).rejects.toThrow(/released/);
    const second = await pool.connect();
    expect((await second.query('SELECT 2 AS n')).rows[0].n).toBe(2);
    second.release();
  });

  test('end serves those who wait before it resolves', async () => {
    const pool = makePool({ max: 1 });
    const queries = [1, 2, 3].map((n) => pool.query('SELECT $1::int AS n', [n]));
    await pool.end();
    expect((await Promise.all(queries)).map((result) => result.rows[0].n)).toEqual([1, 2, 3]);
    expect((await failure(pool.connect())).poolCode).toBe('SLUICE_POOL_CLOSED');
    expect(pool.ended).toBe(true);
  });
});

test('its counters are those of pg-pool while connections are made', async () => {
  const seen = [];
  for (const pool of [new pg.Pool({ ...at(), max: 2 }), makePool({ max: 2 })]) {
    const asked = [];
    const counts = [];
    for (let i = 0; i < 4; i++) {
      asked.push(pool.connect());
      counts.push([pool.totalCount, pool.idleCount, pool.waitingCount]);
    }
    for (const each of asked) (await each).release();
    seen.push(counts);
    if (!(pool instanceof Pool)) await (pool as pg.Pool).end();
  }
  expect(seen[1]).toEqual(seen[0]);
});
