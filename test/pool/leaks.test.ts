import { describe, expect, test } from 'vitest';
import type { LeakReport, Pool } from '../../packages/pool/src/index.ts';
import { depthOfScopes, failure, makePool, pause, until } from './support.ts';

const nextLeak = (pool: Pool) => new Promise<LeakReport>((resolve) => pool.once('leak', resolve));

describe('a connection held past the limit', () => {
  test('is reported with its stack and last SQL, and its return too', async () => {
    const pool = makePool({ leakDetectionMillis: 30 });
    const leak = nextLeak(pool);
    async function culprit() {
      return pool.connect();
    }
    const client = await culprit();
    await client.query('SELECT 42 AS answer');
    const report = await leak;
    expect(report).toMatchObject({ kind: 'held', reclaimed: false, holder: { sql: 'SELECT 42 AS answer' } });
    expect(report.holder.stack).toContain('culprit');
    const returned = new Promise((resolve) => pool.once('leakReturned', resolve));
    client.release();
    expect(await returned).toMatchObject({ pool: pool.name });
  });

  test('is cancelled, rolled back and taken back when it is a lease and that was asked for', async () => {
    const pool = makePool({ max: 1, leakDetectionMillis: 40, leakAction: 'reclaim' });
    const lease = await pool.acquire();
    await lease.query('BEGIN');
    const stuck = failure(lease.query('SELECT pg_sleep(30)'));
    const behind = failure(lease.query('CREATE TABLE never_made (n int)'));
    const { rows } = await pool.query('SELECT txid_current_if_assigned() AS xact');
    expect(rows[0].xact).toBeNull();
    expect(await stuck).toMatchObject({
      code: 'SLUICE_QUERY_CANCELLED',
      reason: 'reclaimed',
      message: expect.stringContaining('held for more than 40 ms'),
      cause: { code: '57014' },
    });
    expect(await behind).toMatchObject({ code: 'SLUICE_QUERY_CANCELLED', reason: 'reclaimed' });
    expect((await pool.query("SELECT to_regclass('never_made') AS it")).rows).toEqual([{ it: null }]);
    expect(lease.live).toBe(false);
    expect((await failure(lease.query('SELECT 1'))).code).toBe('SLUICE_STALE_HANDLE');
    expect(pool.stats()).toMatchObject({ opened: 1, leaks: 1, reclaimed: 1 });
  });

  test('is closed when it is a bare client, so that its holder can not reach the next one', async () => {
    const pool = makePool({ max: 1, leakDetectionMillis: 40, leakAction: 'reclaim' });
    const client = await pool.connect();
    client.on('error', () => {});
    await client.query('SELECT 1');
    expect((await pool.query('SELECT 2 AS n')).rows[0].n).toBe(2);
    await failure(client.query('SELECT 1'));
    expect(() => client.release()).toThrow(/released/);
    expect(pool.stats().opened).toBe(2);
  });
});

describe('a lease that was garbage-collected', () => {
  test('is reported, and its connection serves again', async () => {
    (await import('node:v8')).setFlagsFromString('--expose-gc');
    const gc = (await import('node:vm')).runInNewContext('gc');
    const pool = makePool({ max: 1, leakDetectionMillis: 60_000, leakAction: 'reclaim' });
    const leak = nextLeak(pool);
    await (async () => {
      const forgotten = await pool.acquire();
      await forgotten.query('BEGIN');
    })();
    let report: LeakReport | null = null;
    void leak.then((it) => {
      report = it;
    });
    await until(() => {
      gc();
      return report !== null;
    });
    expect(report).toMatchObject({ kind: 'collected', reclaimed: true, holder: { sql: 'BEGIN' } });
    await pool.query('SELECT 1');
    expect(pool.stats().opened).toBe(1);
  });
});

describe('holders that wait for the pool themselves', () => {
  test('fail at once, with the stacks, instead of waiting for ever', async () => {
    const pool = makePool({ max: 2 });
    async function nested() {
      return pool.transaction(
        async (tx) => {
          await tx.query('SELECT 1 AS outer_query');
          await both;
          return pool.query('SELECT 1');
        },
        { propagation: 'new' },
      );
    }
    let arrived = 0;
    let open: () => void;
    const both = new Promise<void>((resolve) => {
      open = resolve;
    });
    pool.on('acquire', () => ++arrived === 2 && setTimeout(() => open(), 20));
    const results = await Promise.allSettled([nested(), nested()]);
    const failed = results.filter((result) => result.status === 'rejected').map((result) => result.reason);
    expect(failed.map((error) => error.code)).toEqual(['SLUICE_DEADLOCK']);
    expect(failed[0].stacks).toHaveLength(2);
    expect(failed[0].message).toMatch(/deadlock in pool.*all 2 connections/);
    expect(failed[0].message).toContain('nested');
  });

  test('are not suspected while one of them runs a query', async () => {
    const pool = makePool({ max: 1 });
    const inner = pool.use(async (lease) => {
      const slow = lease.query('SELECT pg_sleep(0.1)');
      const other = pool.query('SELECT 1');
      await slow;
      lease.release();
      return other;
    });
    expect((await inner).rows).toHaveLength(1);
  });

  test('are seen where the places left are reserved for others', async () => {
    const pool = makePool({ max: 2, reservedSlots: 1 });
    const error = await failure(pool.transaction(() => pool.query('SELECT 1')));
    expect([error.code, error.message]).toEqual([
      'SLUICE_DEADLOCK',
      expect.stringContaining('but the 1 of reservedSlots'),
    ]);
    const lease = await pool.transaction(() => pool.acquire({ priority: 1 }));
    lease.release();
  });

  test('are not suspected when others of the pool are merely busy', async () => {
    const pool = makePool({ max: 2 });
    const busy = await pool.acquire();
    const nested = pool.use(async () => pool.query('SELECT 3 AS n'));
    setTimeout(() => busy.release(), 30);
    expect((await nested).rows[0].n).toBe(3);
    expect(pool.stats().deadlocks).toBe(0);
  });

  describe("with deadlockDetection: 'all'", () => {
    const all = (max: number) => makePool({ max, deadlockDetection: 'all' });

    test('plain connect is seen too', async () => {
      const pool = all(1);
      const client = await pool.connect();
      expect((await failure(pool.connect())).code).toBe('SLUICE_DEADLOCK');
      client.release();
    });

    test('and so is a request inside of a transaction', async () => {
      const pool = all(1);
      const nested = pool.transaction(() => pool.query('SELECT 1'));
      expect((await failure(nested)).code).toBe('SLUICE_DEADLOCK');
    });

    test('a transaction in the flow of a connect in a transaction is nested in it', async () => {
      const pool = all(2);
      await pool.transaction(async (tx) => {
        const other = await pool.connect();
        await pool.transaction(async (inner) =>
          expect((inner.client as any).processID).toBe((tx.client as any).processID),
        );
        other.release();
      });
    });

    const job = async (pool: Pool) => {
      const client = await pool.connect();
      await pause(20);
      client.release();
    };

    test('flows started side by side do not count as waiting for each other', async () => {
      const pool = all(2);
      await Promise.all(Array.from({ length: 8 }, () => job(pool)));
      expect(pool.stats().deadlocks).toBe(0);
    });

    test('nor do those that a loop starts one by one, whose contexts do not pile up', async () => {
      const pool = all(2);
      const jobs: Promise<void>[] = [];
      for (let i = 0; i < 12; i++) {
        jobs.push(job(pool));
        await pause(3);
      }
      await Promise.all(jobs);
      expect(pool.stats().deadlocks).toBe(0);
      expect(depthOfScopes()).toBe(0);
    });
  });
});

test('a lease that is taken back takes its client with it', async () => {
  const pool = makePool({ max: 1, leakDetectionMillis: 40, leakAction: 'reclaim' });
  const { client } = await pool.acquire();
  await client.query('SELECT 1');
  const next = await pool.acquire();
  expect((await failure(client.query('SELECT 2'))).code).toBe('SLUICE_STALE_HANDLE');
  expect((await next.query('SELECT 3 AS n')).rows[0].n).toBe(3);
  next.release();
});

test('in a scope of many (a request) others may wait while a holder does something else', async () => {
  const pool = makePool({ max: 2 });
  const holds = async () => {
    const client = await pool.connect();
    await pause(100);
    client.release();
  };
  const request = () => pool.scope(() => Promise.all([holds(), pause(30).then(() => pool.query('SELECT 1 AS n'))]));
  for (const [, { rows }] of await Promise.all([request(), request()])) expect(rows[0].n).toBe(1);
});

test('and a holder there that waits for the pool himself is told so after a standstill', async () => {
  const pool = makePool({ max: 1 });
  const nested = pool.scope(async () => {
    const client = await pool.connect();
    try {
      return await pool.query('SELECT 1');
    } finally {
      client.release();
    }
  });
  expect((await failure(nested)).code).toBe('SLUICE_DEADLOCK');
});

test('who waited in no scope is in none when somebody in one gives back', async () => {
  const pool = makePool({ max: 1 });
  const first = await pool.connect();
  const background = pool.connect().then(async (client) => {
    await pause(1_300);
    client.release();
  });
  await pool.scope(async () => {
    first.release();
    expect((await pool.query('SELECT 1 AS n')).rows[0].n).toBe(1);
  });
  await background;
});
