import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { failure, makePool, outside, pause, until } from './support.ts';

beforeAll(async () => {
  const client = await outside();
  await client.query('DROP TABLE IF EXISTS tx_test; CREATE TABLE tx_test (n int PRIMARY KEY, v int)');
});
beforeEach(async () => {
  await (await outside()).query('TRUNCATE tx_test');
});

const rows = async (pool: any) => (await pool.query('SELECT n FROM tx_test ORDER BY n')).rows.map((row: any) => row.n);
const insert = (n: number) => `INSERT INTO tx_test VALUES (${n}, 0)`;

/** Cuts connections off behind the tag of a COMMIT, until it is over. */
function cutBehindCommit(pool: any): { over: boolean } {
  const cut = { over: false };
  pool.on('connect', ({ connection }: any) => {
    connection.on('commandComplete', ({ text }: { text: string }) => {
      if (cut.over || text !== 'COMMIT') return;
      // What follows in the same packet is lost as well.
      connection.removeAllListeners('readyForQuery');
      connection.stream.destroy();
    });
  });
  return cut;
}

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

  test.each(['SELECT 1', 'CREATE TEMP TABLE leftover (n int)'])(
    'is done when the server has said so, whatever fails after that (%s)',
    async (also) => {
      const pool = makePool({ max: 1 });
      const cut = cutBehindCommit(pool);
      const result = await pool.transaction(async (tx) => {
        await tx.query(insert(1));
        await tx.query(also);
        return 'paid';
      });
      cut.over = true;
      expect([result, await rows(pool), pool.stats().opened]).toEqual(['paid', [1], 2]);
    },
  );

  test('hears its own end only, though another that has lost its connection ends at the same time', async () => {
    const pool = makePool({ max: 1 });
    let ends: () => void;
    const gate = new Promise<void>((resolve) => {
      ends = resolve;
    });
    const first = failure(
      pool.transaction(async (tx) => {
        tx.client.release();
        await gate;
      }),
    );
    const second = pool.transaction(async (tx) => {
      await tx.query("SET work_mem = '9MB'");
      await tx.query(insert(1));
      await failure(tx.query('SELECT 1/0'));
      // The other one ends as this one's COMMIT goes out.
      queueMicrotask(() => setImmediate(ends));
    });
    expect((await failure(second)).code).toBe('SLUICE_TRANSACTION_ABORTED');
    expect((await first).code).toBe('SLUICE_STALE_HANDLE');
    expect(await rows(pool)).toEqual([]);
  });

  test('is done when the server has said so, also behind a query that was not awaited', async () => {
    const pool = makePool({ max: 1 });
    const cut = cutBehindCommit(pool);
    const result = await pool.transaction(async (tx) => {
      await tx.query(insert(1));
      tx.query('SELECT pg_sleep(0.05)').catch(() => {});
      return 'paid';
    });
    cut.over = true;
    expect([result, await rows(pool)]).toEqual(['paid', [1]]);
  });

  test.each(['a signal', 'a deadline', 'a time limit'])(
    'is done as a whole or not at all, also where %s takes queries out that nobody awaited',
    async (by) => {
      const pool = makePool({ max: 1 });
      for (let i = 0; i < 25; i++) {
        await pool.query('TRUNCATE tx_test');
        const gone = new AbortController();
        const options =
          by === 'a signal'
            ? { signal: gone.signal }
            : by === 'a deadline'
              ? { deadline: Date.now() + (i % 6) + 1 }
              : {};
        const timeoutMillis = by === 'a time limit' ? (i % 6) + 1 : 0;
        const done = pool
          .transaction(async (tx) => {
            for (const n of [1, 2])
              tx.query({ text: `INSERT INTO tx_test SELECT ${n}, 0 FROM pg_sleep(0.001)`, timeoutMillis }).catch(
                () => {},
              );
            if (by === 'a signal') setTimeout(() => gone.abort(), i % 6);
          }, options)
          .then(
            () => [1, 2],
            // A machine that stands still may have left the COMMIT without its answer.
            (error) => (/whether the transaction was committed/.test(error.message) ? null : []),
          );
        const expected = await done;
        const left = await rows(pool);
        expect(left).toEqual(expected ?? (left.length > 0 ? [1, 2] : []));
      }
    },
  );

  test('a query that was taken out by its time limit dooms it, but not beyond the nested one it was in', async () => {
    const pool = makePool({ max: 1 });
    const late = (tx: any, n: number) =>
      Promise.allSettled([tx.query('SELECT pg_sleep(0.2)'), tx.query({ text: insert(n), timeoutMillis: 20 })]);
    const doomed = pool.transaction(async (tx) => {
      await tx.query(insert(1));
      await late(tx, 2);
    });
    expect((await failure(doomed)).code).toBe('SLUICE_QUERY_CANCELLED');
    await pool.transaction(async (tx) => {
      await tx.query(insert(3));
      await failure(tx.transaction((inner) => late(inner, 4) as Promise<unknown>));
      await tx.query(insert(5));
    });
    expect(await rows(pool)).toEqual([3, 5]);
  });

  test('nested, it has the bounds of its own too, and they end with it', async () => {
    const pool = makePool({ max: 1 });
    const gone = new AbortController();
    gone.abort();
    await pool.transaction(async (tx) => {
      await tx.query(insert(1));
      for (const options of [{ signal: gone.signal }, { deadline: Date.now() + 30 }]) {
        const inner = pool.transaction((nested) => nested.query('SELECT pg_sleep(5)'), options);
        expect((await failure(inner)).code).toBe('SLUICE_QUERY_CANCELLED');
      }
      await tx.query(insert(2));
    });
    expect(await rows(pool)).toEqual([1, 2]);
  });

  test('is done when what it left behind cannot be undone in time', async () => {
    const pool = makePool({ max: 1, commandTimeoutMillis: 60 });
    const outcome = await pool
      .transaction(async (tx) => {
        await tx.query(insert(1));
        await tx
          .query(
            "DO $$ BEGIN FOR i IN 1..300 LOOP EXECUTE format('CREATE TEMP TABLE t%s (n int PRIMARY KEY, v text UNIQUE)', i); END LOOP; END $$",
            [],
          )
          .catch(() => {});
        await tx.query({ text: 'SELECT 1', timeoutMillis: 5_000 });
      })
      .then(
        () => true,
        () => false,
      );
    expect(await rows(makePool())).toEqual(outcome ? [1] : []);
  });

  test('gives a handle that is dead when the function has ended', async () => {
    const pool = makePool();
    let kept: any;
    await pool.transaction(async (tx) => {
      kept = tx;
    });
    expect((await failure(kept.query('SELECT 1'))).message).toMatch(/after its function had ended/);
    const { query } = kept;
    expect((await failure(query('SELECT 1'))).name).toBe('StaleHandle');
  });

  test('what is still under way in a nested one is undone with the one around it, and nothing of it comes later', async () => {
    const pool = makePool({ max: 2 });
    await pool.query('drop table if exists floating; create table floating(v text)');
    const late = (tx: { query(sql: string): Promise<unknown> }, what: string) =>
      pause(100).then(() => tx.query(`insert into floating values ('${what}')`));
    const no = () => pause(30).then(() => Promise.reject(new Error('no')));
    const floating: Promise<unknown>[] = [];
    const kept = <T>(promise: Promise<T>) => {
      floating.push(promise.catch(() => {}));
      return promise;
    };
    // The outer function fails while a nested one is at work: directly, and by context.
    await failure(pool.transaction((tx) => Promise.all([kept(tx.transaction((a) => late(a, 'A'))), no()])));
    await failure(pool.transaction(() => Promise.all([kept(pool.transaction((d) => late(d, 'D'))), no()])));
    // A nested one fails while one in it is at work; the outer one goes on.
    await pool.transaction(async (tx) => {
      await failure(tx.transaction((a) => Promise.all([kept(a.transaction((b) => late(b, 'B'))), no()])));
      await tx.query("insert into floating values ('outer')");
      await pause(150);
    });
    await Promise.all(floating);
    expect((await pool.query('select v from floating')).rows).toEqual([{ v: 'outer' }]);
    await pool.query('drop table floating');
  });

  test('nested, it may be read-only, and has the isolation level of the one around it or says so', async () => {
    const pool = makePool();
    await pool.transaction(
      async (tx) => {
        const level = { isolation: 'serializable' } as const;
        const nested = () =>
          pool.transaction((a) => a.query('show transaction_read_only'), { ...level, readOnly: true });
        expect((await nested()).rows[0].transaction_read_only).toBe('on');
        expect((await tx.query('show transaction_read_only')).rows[0].transaction_read_only).toBe('off');
        const other = pool.transaction(async () => {}, { isolation: 'read committed' });
        expect((await failure(other)).message).toMatch(/isolation level of the one around it.*propagation: 'new'/);
      },
      { isolation: 'serializable' },
    );
  });

  test('an abort ends the pause before the next try, with the error that there was', async () => {
    const pool = makePool();
    const controller = new AbortController();
    const fails = () => Promise.reject(Object.assign(new Error('could not serialize'), { code: '40001' }));
    const retry = { attempts: 3, minDelayMillis: 600_000, maxDelayMillis: 600_000 };
    const failed = failure(pool.transaction(fails, { retry, signal: controller.signal }));
    await until(() => pool.stats().retries === 1);
    controller.abort();
    expect((await failed).code).toBe('40001');
  });

  test('a pause that would end past the deadline is not made: the error that there was is thrown', async () => {
    const pool = makePool();
    let runs = 0;
    const fails = () => {
      runs++;
      return Promise.reject(Object.assign(new Error('could not serialize'), { code: '40001' }));
    };
    const retry = { attempts: 3, minDelayMillis: 600_000, maxDelayMillis: 600_000 };
    for (const deadline of [Date.now() + 60_000, new Date(Date.now() + 60_000)])
      expect((await failure(pool.transaction(fails, { retry, deadline }))).code).toBe('40001');
    expect([runs, pool.stats().retries]).toEqual([2, 0]);
  });
});

describe('the options of a transaction', () => {
  test('null is none, in each of them', async () => {
    const pool = makePool({ max: 1 });
    const none = { isolation: null, readOnly: null, deferrable: null, retry: null, propagation: null } as object;
    const delays = { attempts: null, minDelayMillis: null, maxDelayMillis: null, codes: null } as object;
    await pool.transaction((tx) => tx.transaction((inner) => inner.query(insert(1)), none), none);
    await pool.transaction((tx) => tx.query(insert(2)), { retry: delays });
    expect(await rows(pool)).toEqual([1, 2]);
  });

  test('a longest pause may be for ever, and tries may be for some codes only', async () => {
    const pool = makePool({ max: 1 });
    let runs = 0;
    const fails = () => {
      runs++;
      return Promise.reject(Object.assign(new Error('no'), { code: runs < 3 ? 'MINE' : '40001' }));
    };
    const retry = { attempts: 9, minDelayMillis: 0, maxDelayMillis: Number.POSITIVE_INFINITY, codes: ['MINE'] };
    expect((await failure(pool.transaction(fails, { retry }))).code).toBe('40001');
    expect(runs).toBe(3);
  });

  test.each([
    [{ retry: true }, 'retry', /only the outermost/],
    [{ retry: { attempts: 2 } }, 'retry', /propagation: 'new' beside it/],
    [{ deferrable: true }, 'deferrable', /isolation level of the one around it/],
    [{ deadline: Number.NaN }, 'deadline', /no point in time/],
    [{ propagation: 'new' }, 'propagation', /ask the pool for it/],
  ] as const)('%o is refused by name inside of another, which goes on', async (options, option, message) => {
    const pool = makePool({ max: 2 });
    await pool.transaction(async (tx) => {
      let ran = false;
      const inner = tx.transaction(async () => {
        ran = true;
      }, options);
      expect(await failure(inner)).toMatchObject({ code: 'SLUICE_BAD_OPTION', option, message });
      expect(ran).toBe(false);
      await tx.query(insert(1));
    });
    expect(await rows(pool)).toEqual([1]);
  });

  test('one of its own inside of another may be tried again', async () => {
    const pool = makePool({ max: 2 });
    let runs = 0;
    const fails = () => {
      runs++;
      return Promise.reject(Object.assign(new Error('could not serialize'), { code: '40001' }));
    };
    const options = { propagation: 'new', retry: { attempts: 2, minDelayMillis: 0 } } as const;
    await pool.transaction(() => failure(pool.transaction(fails, options)));
    expect(runs).toBe(2);
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

describe('the client of a transaction', () => {
  test.each(['fails', 'ends'])('is dead once its function %s: what still goes on reaches nothing', async (how) => {
    const pool = makePool({ max: 1 });
    const flow = async (client: any) => {
      await client.query(insert(1));
      await pause(30);
      await client.query(insert(2));
    };
    let going: Promise<unknown> = Promise.resolve();
    await pool
      .transaction(async (tx) => {
        going = failure(flow(tx.client));
        await tx.query(insert(3));
        await pause(10);
        if (how === 'fails') throw new Error('no');
      })
      .catch(() => {});
    expect(await going).toMatchObject({ code: 'SLUICE_STALE_HANDLE' });
    expect(await rows(pool)).toEqual(how === 'fails' ? [] : [1, 3]);
  });

  test('wrappers around its query go with it', async () => {
    const pool = makePool({ max: 1 });
    let seen = 0;
    await pool.transaction(async ({ client }) => {
      const { query } = client as any;
      Object.defineProperty(client, 'query', {
        configurable: true,
        writable: true,
        value(...args: unknown[]) {
          seen++;
          return query.apply(this, args);
        },
      });
      await client.query(insert(1));
      delete (client as any).query;
      await client.query(insert(2));
    });
    expect([await rows(pool), seen]).toEqual([[1, 2], 1]);
  });

  test('and of a lease, too', async () => {
    const pool = makePool({ max: 1 });
    const lease = await pool.acquire();
    const { client } = lease;
    expect(client).toBe(lease.client);
    expect((await client.query('SELECT 1 AS n')).rows[0].n).toBe(1);
    lease.release();
    const next = await pool.acquire();
    await next.query('BEGIN');
    expect(await failure(client.query(insert(1)))).toMatchObject({ code: 'SLUICE_STALE_HANDLE' });
    await next.query('COMMIT');
    next.release();
    expect(await rows(pool)).toEqual([]);
  });
});

describe('beside a nested transaction', () => {
  test('what the outer one is asked is part of that, in the order in which it is asked', async () => {
    const pool = makePool({ max: 1 });
    await pool.transaction(async (tx) => {
      const nested = tx.transaction(async (inner) => {
        await inner.query(insert(1));
        await pool.scope(() => tx.query(insert(2)));
        await pause(30);
        throw new Error('no');
      });
      await pause(10);
      await tx.query(insert(3));
      await failure(nested);
      await tx.query(insert(4));
    });
    expect(await rows(pool)).toEqual([4]);
  });

  test('the way is the same through scopes and other work', async () => {
    const pool = makePool({ max: 2 });
    const inside = pool.transaction(async () => {
      await pool.scope(() => pool.transaction((tx) => tx.query(insert(1))));
      await pool.use(() => pool.transaction((tx) => tx.query(insert(2))));
      throw new Error('all of it');
    });
    expect((await failure(inside)).message).toBe('all of it');
    expect(await rows(pool)).toEqual([]);
  });

  test('one whose settings the server refuses leaves the outer one as it was', async () => {
    const pool = makePool({ max: 1 });
    await pool.transaction(
      async (tx) => {
        const writing = tx.transaction(async () => {}, { readOnly: false });
        expect((await failure(writing)).message).toMatch(/read-write mode/);
        expect((await tx.query('SELECT 1 AS n')).rows[0].n).toBe(1);
      },
      { readOnly: true },
    );
  });
});
