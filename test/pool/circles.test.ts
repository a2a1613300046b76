/** Flows that wait for one another's connections: who is refused, who is not, and what must not hide it. */
import { afterEach, describe, expect, test, vi } from 'vitest';
import type { Pool } from '../../packages/pool/src/index.ts';
import { failure, makePool, outside, pause, until } from './support.ts';

afterEach(() => {
  vi.restoreAllMocks();
});

/** With what a request fails that is made in a scope that holds a connection. */
const nestedIn = (pool: Pool) =>
  pool.scope(async () => {
    const lease = await pool.acquire();
    const error = await failure(pool.query('SELECT 1'));
    lease.release();
    return error;
  });

describe('of a circle', () => {
  test('the one who is part of it is refused, and who holds nothing is served', async () => {
    const pool = makePool({ max: 1 });
    const inside = pool.use(async (lease) => {
      const slow = lease.query('SELECT pg_sleep(0.2)');
      const nested = failure(pool.query('SELECT 1'));
      await slow;
      return nested;
    });
    await pause(50);
    const beside = [
      pool.transaction((tx) => tx.query('SELECT 2 AS n')),
      pool.use((lease) => lease.query('SELECT 2 AS n')),
    ];
    expect((await inside).code).toBe('SLUICE_DEADLOCK');
    for (const { rows } of await Promise.all(beside)) expect(rows).toEqual([{ n: 2 }]);
    expect(pool.stats()).toMatchObject({ deadlocks: 1, waiting: 0 });
  });

  test('the same where it is believed only after a while, with others that come before and after', async () => {
    const pool = makePool({ max: 1 });
    const inside = nestedIn(pool);
    const beside: Promise<unknown>[] = [];
    for (let i = 0; i < 4; i++) {
      await pause(100);
      beside.push(pool.scope(() => pool.query('SELECT 2')));
    }
    expect((await inside).code).toBe('SLUICE_DEADLOCK');
    await Promise.all(beside);
    expect(pool.stats().deadlocks).toBe(1);
  });

  test('every request is refused that keeps it closed', async () => {
    const pool = makePool({ max: 1 });
    const errors = await pool.use(() => Promise.all([1, 2, 3].map(() => failure(pool.query('SELECT 1')))));
    expect(errors.map(({ code }) => code)).toEqual(Array(3).fill('SLUICE_DEADLOCK'));
  });
});

describe('a circle is seen', () => {
  test('though a connection in it has failed with a query under way', async () => {
    const admin = await outside();
    const pool = makePool({ max: 1, application_name: 'in a circle' });
    const inside = pool.use(async (lease) => {
      const slow = failure(lease.query('SELECT pg_sleep(30)'));
      const nested = failure(pool.query('SELECT 1'));
      await until(async () => {
        const kill =
          "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query ~ '^SELECT pg_sleep' AND application_name = 'in a circle'";
        return (await admin.query(kill)).rowCount! > 0;
      });
      return [await slow, await nested];
    });
    const [slow, nested] = await inside;
    expect([slow.code, nested.code]).toEqual(['57P01', 'SLUICE_DEADLOCK']);
  });

  test.each(['holders', 'stats'] as const)(
    'though the clock jumps meanwhile, and %s is who notices',
    async (notices) => {
      const pool = makePool({ max: 1 });
      const inside = nestedIn(pool);
      await until(() => pool.waitingCount === 1);
      const { now } = Date;
      vi.spyOn(Date, 'now').mockImplementation(() => now() + 3_600_000);
      pool[notices]();
      expect(pool.stats().clockJumps).toBe(1);
      expect((await inside).code).toBe('SLUICE_DEADLOCK');
    },
  );

  test('when it closes because a reserved place becomes free', async () => {
    const pool = makePool({ max: 2, reservedSlots: 1, idleTimeoutMillis: 0 });
    let go: () => void;
    const gate = new Promise<void>((resolve) => {
      go = resolve;
    });
    const inside = pool.use(async (lease) => {
      await lease.query('SELECT 1');
      await gate;
      return failure(pool.query('SELECT 1'));
    });
    const urgent = await pool.acquire({ priority: 1 });
    await urgent.query('SELECT 1');
    await pause(50);
    go!();
    await until(() => pool.waitingCount === 1);
    // What is due by the clock has been done.
    await pause(200);
    expect(pool.stats().deadlocks).toBe(0);
    urgent.release();
    expect((await inside).code).toBe('SLUICE_DEADLOCK');
  });
});

test.each(['cold', 'another holds'])('a circle that closes with a hand-out is seen (%s)', async (how) => {
  const pool = makePool({ max: 1 });
  if (how !== 'cold') {
    const lease = await pool.acquire();
    setTimeout(() => lease.release(), 50);
  }
  await pool.scope(async () => {
    const [first, second] = await Promise.allSettled([pool.acquire(), pool.acquire()]);
    expect([first.status, (second as PromiseRejectedResult).reason.code]).toEqual(['fulfilled', 'SLUICE_DEADLOCK']);
    if (first.status === 'fulfilled') first.value.release();
  });
});

test('a holder who works is not taken for one who waits, whoever waits beside him in his scope', async () => {
  const pool = makePool({ max: 1 });
  await pool.scope(async () => {
    const lease = await pool.acquire();
    const beside = pool.query('SELECT 1 AS n');
    for (let i = 0; i < 7; i++) {
      await pause(200);
      await lease.query('SELECT 2');
    }
    lease.release();
    expect((await beside).rows).toEqual([{ n: 1 }]);
  });
  expect(pool.stats().deadlocks).toBe(0);
});
