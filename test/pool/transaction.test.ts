import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { failure, makePool, outside } from './support.ts';

beforeAll(async () => {
  const client = await outside();
  await client.query('DROP TABLE IF EXISTS tx_test; CREATE TABLE tx_test (n int PRIMARY KEY, v int)');
});
beforeEach(async () => {
  await (await outside()).query('TRUNCATE tx_test');
});

const rows = async (pool: any) => (await pool.query('SELECT n FROM tx_test ORDER BY n')).rows.map((row: any) => row.n);
const insert = (n: number) => `INSERT INTO tx_test VALUES (${n}, 0)`;

describe('pool.transaction', () => {
  test('commits what the function did on one connection, and gives its result', async () => {
    const pool = makePool();
    const pids = new Set<number>();
    const result = await pool.transaction(async (tx) => {
      for (let n = 0; n < 3; n++) {
        await tx.query(insert(n));
        pids.add((await tx.query('SELECT pg_backend_pid() AS pid')).rows[0].pid);
      }
      return 'done';
    });
    expect([result, pids.size, await rows(pool)]).toEqual(['done', 1, [0, 1, 2]]);
  });

  test('rolls back when the function fails, and passes its error on', async () => {
    const pool = makePool({ max: 1 });
    const error = await failure(
      pool.transaction(async (tx) => {
        await tx.query(insert(1));
        throw new Error('no');
      }),
    );
    expect([error.message, await rows(pool)]).toEqual(['no', []]);
    expect(pool.idleCount).toBe(1);
  });

  test('nests as savepoints, by tx.transaction and by pool.transaction alike', async () => {
    const pool = makePool({ max: 1 });
    await pool.transaction(async (tx) => {
      await tx.query(insert(1));
      await failure(
        tx.transaction(async (inner) => {
          await inner.query(insert(2));
          throw new Error('undo this part');
        }),
      );
      await pool.transaction(async (inner) => {
        await inner.query(insert(3));
        await inner.transaction((deeper) => deeper.query(insert(4)));
      });
    });
    expect(await rows(pool)).toEqual([1, 3, 4]);
  });

  test('runs nested ones that were started together one after the other', async () => {
    const pool = makePool({ max: 1 });
    await pool.transaction(async (tx) => {
      await Promise.all([5, 6, 7].map((n) => tx.transaction(async (inner) => void (await inner.query(insert(n))))));
    });
    expect(await rows(pool)).toEqual([5, 6, 7]);
  });

  test("takes a connection of its own with propagation: 'new'", async () => {
    const pool = makePool({ max: 2 });
    await failure(
      pool.transaction(async (tx) => {
        await tx.query(insert(1));
        await pool.transaction((own) => own.query(insert(2)), { propagation: 'new' });
        throw new Error('outer');
      }),
    );
    expect(await rows(pool)).toEqual([2]);
  });

  test('tries again after a serialization failure, and not after other errors', async () => {
    const pool = makePool({ max: 4 });
    await pool.query(insert(1));
    let tries = 0;
    const add = () =>
      pool.transaction(
        async (tx) => {
          tries++;
          const { v } = (await tx.query('SELECT v FROM tx_test WHERE n = 1')).rows[0];
          await tx.query('UPDATE tx_test SET v = $1 WHERE n = 1', [v + 1]);
        },
        { isolation: 'serializable', retry: { attempts: 20, minDelayMillis: 1 } },
      );
    await Promise.all([add(), add(), add(), add()]);
    expect((await pool.query('SELECT v FROM tx_test WHERE n = 1')).rows[0].v).toBe(4);
    expect(pool.stats().retries).toBe(tries - 4);
    let runs = 0;
    const again = { retry: true };
    await failure(
      pool.transaction(async (tx) => {
        runs++;
        await tx.query('SELECT 1/0');
      }, again),
    );
    expect(runs).toBe(1);
  });

  test('is read-only and of the isolation asked for', async () => {
    const pool = makePool();
    const options = { readOnly: true, isolation: 'repeatable read' } as const;
    expect((await failure(pool.transaction((tx) => tx.query(insert(1)), options))).code).toBe('25006');
    const level = await pool.transaction((tx) => tx.query('SHOW transaction_isolation'), options);
    expect(level.rows[0].transaction_isolation).toBe('repeatable read');
  });

  test('does not take a COMMIT that was a ROLLBACK for success', async () => {
    const pool = makePool();
    const error = await failure(
      pool.transaction(async (tx) => {
        await failure(tx.query('SELECT 1/0'));
      }),
    );
    expect(error.code).toBe('SLUICE_TRANSACTION_ABORTED');
  });

  test('gives a handle that is dead when the function has ended', async () => {
    const pool = makePool();
    let kept: any;
    await pool.transaction(async (tx) => {
      kept = tx;
    });
    expect(() => kept.query('SELECT 1')).toThrow(/after its function had ended/);
  });
});

describe('who is in which transaction', () => {
  test('the outer one asked from inside of a nested one nests in that', async () => {
    const pool = makePool({ max: 1 });
    await pool.transaction((tx) =>
      tx.transaction(async (inner) => {
        await inner.query(insert(1));
        await tx.transaction((innermost) => innermost.query(insert(2)));
      }),
    );
    expect(await rows(pool)).toEqual([1, 2]);
  });

  test('work that outlives its transaction begins one of its own', async () => {
    const pool = makePool({ max: 2 });
    let later: Promise<unknown> = Promise.resolve();
    await pool.transaction(async (tx) => {
      await tx.query(insert(1));
      later = new Promise((resolve) => setTimeout(resolve, 50)).then(() =>
        pool.transaction((own) => own.query(insert(2))),
      );
    });
    await later;
    expect(await rows(pool)).toEqual([1, 2]);
  });
});
