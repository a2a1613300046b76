import { describe, expect, test } from 'vitest';
import { failure, makePool } from './support.ts';

describe('the queue', () => {
  test('a request that waits too long fails with the numbers and a table of holders', async () => {
    const pool = makePool({ max: 1, connectionTimeoutMillis: 40, dialTimeoutMillis: 10_000 });
    const held = await pool.acquire({ tenant: 'acme', timeoutMillis: 10_000 });
    await held.query('SELECT 1 AS long_story');
    const error = await failure(pool.connect());
    expect(error.code).toBe('SLUICE_POOL_EXHAUSTED');
    expect(error.message).toContain('timeout exceeded when trying to connect');
    expect(error.message).toMatch(/total=1, active=1, idle=0, waiting=0; last connect failure: none/);
    expect(error.message).toContain('SELECT 1 AS long_story');
    expect(error.numbers).toEqual({ total: 1, active: 1, idle: 0, waiting: 0 });
    expect(error.holders[0]).toMatchObject({ tenant: 'acme', pid: held.processID });
    held.release();
  });

  test('is bounded by maxWaiting', async () => {
    const pool = makePool({ max: 1, maxWaiting: 1 });
    const held = await pool.acquire();
    const waiting = pool.acquire();
    expect(await failure(pool.acquire())).toMatchObject({ code: 'SLUICE_POOL_EXHAUSTED', reason: 'queue full' });
    held.release();
    (await waiting).release();
  });

  test('refuses up front who would miss his deadline', async () => {
    const pool = makePool({ max: 1, shed: true });
    for (let i = 0; i < 10; i++) await pool.query('SELECT pg_sleep(0.03)');
    const held = await pool.acquire();
    const error = await failure(pool.acquire({ deadline: new Date(Date.now() + 10) }));
    expect([error.reason, pool.waitingCount]).toEqual(['shed', 0]);
    const patient = pool.acquire({ timeoutMillis: 10_000 });
    held.release();
    (await patient).release();
  });

  test('serves a higher priority first', async () => {
    const pool = makePool({ max: 1 });
    const held = await pool.acquire();
    const order: number[] = [];
    const all = [0, 5, 1].map((priority) =>
      pool.acquire({ priority }).then((lease) => {
        order.push(priority);
        lease.release();
      }),
    );
    held.release();
    await Promise.all(all);
    expect(order).toEqual([5, 1, 0]);
  });

  test('gives tenants turns by weight, so that one can not crowd out the others', async () => {
    const pool = makePool({ max: 1, tenantWeights: { big: 2 } });
    const held = await pool.acquire();
    const order: string[] = [];
    const ask = (tenant: string) =>
      pool.acquire({ tenant }).then((lease) => {
        order.push(tenant);
        lease.release();
      });
    const all = [...Array.from({ length: 6 }, () => ask('big')), ...Array.from({ length: 3 }, () => ask('small'))];
    held.release();
    await Promise.all(all);
    expect(order.slice(0, 6).filter((tenant) => tenant === 'small')).toHaveLength(2);
  });

  test('keeps reserved slots for a priority', async () => {
    const pool = makePool({ max: 3, reservedSlots: 1, reservedPriority: 5 });
    const first = await pool.acquire();
    const second = await pool.acquire();
    const low = failure(pool.acquire({ timeoutMillis: 60 }));
    const high = await pool.acquire({ priority: 5 });
    expect((await low).reason).toBe('timeout');
    for (const lease of [first, second, high]) lease.release();
  });

  test('overflow connections open for those who wait and close when they come back', async () => {
    const pool = makePool({ max: 1, maxOverflow: 2 });
    const leases = await Promise.all([1, 2, 3].map(() => pool.acquire()));
    expect(pool.totalCount).toBe(3);
    for (const lease of leases) lease.release();
    expect(pool.totalCount).toBe(1);
  });

  test('a null pool keeps nothing, but hands a connection on to who waits', async () => {
    const pool = makePool({ max: 1, nullPool: true });
    await Promise.all([pool.query('SELECT 1'), pool.query('SELECT 1'), pool.query('SELECT 1')]);
    expect(pool.totalCount).toBe(0);
    expect(pool.stats().opened).toBe(1);
  });
});

describe('an await using block', () => {
  test('gives the connection back at its end, also when it is left by an error', async () => {
    const pool = makePool({ max: 1 });
    const work = async () => {
      await using lease = await pool.acquire();
      await lease.query('SELECT 1/0');
    };
    expect((await failure(work())).code).toBe('22012');
    expect(pool.stats().active).toBe(0);
    expect((await pool.query('SELECT 1 AS n')).rows[0].n).toBe(1);
  });
});
