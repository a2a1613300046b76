import { createServer } from 'node:net';
import { describe, expect, test } from 'vitest';
import { failure, makePool, outside, until } from './support.ts';

const pidOf = async (pool: any) => (await pool.query('SELECT pg_backend_pid() AS pid')).rows[0].pid;

describe('a signal', () => {
  test('ends the waiting for a connection and leaves the queue in order', async () => {
    const pool = makePool({ max: 1 });
    const held = await pool.acquire();
    const gone = new AbortController();
    const aborted = pool.acquire({ signal: gone.signal });
    const next = pool.acquire();
    gone.abort(new Error('changed my mind'));
    const error = await failure(aborted);
    expect([error.code, error.cause.message]).toEqual(['SLUICE_ACQUIRE_ABORTED', 'changed my mind']);
    held.release();
    (await next).release();
    expect((await failure(pool.acquire({ signal: gone.signal }))).code).toBe('SLUICE_ACQUIRE_ABORTED');
  });

  test('ends the waiting while the dial hangs in a black hole', async () => {
    const hole = createServer(() => {}).listen(0, '127.0.0.1');
    await new Promise((resolve) => hole.once('listening', resolve));
    const pool = makePool({ port: (hole.address() as any).port, dialTimeoutMillis: 500 });
    const gone = new AbortController();
    const waiting = pool.acquire({ signal: gone.signal });
    gone.abort();
    expect((await failure(waiting)).code).toBe('SLUICE_ACQUIRE_ABORTED');
    await pool.end();
    hole.close();
  });

  test('cancels a query at the server, keeps the connection, and does not reach the next query', async () => {
    const pool = makePool({ max: 1 });
    const pid = await pidOf(pool);
    for (let i = 0; i < 20; i++) {
      const gone = new AbortController();
      const query = pool.query({ text: 'SELECT pg_sleep(30)', signal: gone.signal });
      await until(() => pool.holders().some((holder) => holder.sql.includes('pg_sleep')));
      gone.abort();
      expect((await failure(query)).code).toBe('SLUICE_QUERY_CANCELLED');
      expect(await pidOf(pool)).toBe(pid);
    }
    expect(pool.stats().cancels).toBe(20);
  });

  // PostgreSQL forgets a cancel request that finds its session waiting for a command: as the query's first bytes are on their way.
  test('reaches a query that the server has not read yet', async () => {
    const pool = makePool({ max: 1 });
    const pid = await pidOf(pool);
    const gone = new AbortController();
    process.kill(pid, 'SIGSTOP');
    try {
      const query = failure(pool.query({ text: 'SELECT pg_sleep(30)', signal: gone.signal }));
      await until(() => pool.holders().some((holder) => holder.sql.includes('pg_sleep')));
      gone.abort();
      await until(() => pool.stats().cancels === 1);
      // The request came first, and so has been dealt with when these are answered.
      for (let i = 0; i < 2; i++) await (await outside()).query('SELECT 1');
      process.kill(pid, 'SIGCONT');
      expect((await query).code).toBe('SLUICE_QUERY_CANCELLED');
    } finally {
      process.kill(pid, 'SIGCONT');
    }
    expect(await pidOf(pool)).toBe(pid);
  });

  test('that fires when the query is just ending never hits the next one', async () => {
    const pool = makePool({ max: 1 });
    const pid = await pidOf(pool);
    for (let i = 0; i < 40; i++) {
      const gone = new AbortController();
      const query = pool.query({ text: 'SELECT pg_sleep(0.003)', signal: gone.signal }).catch((error) => error.code);
      setTimeout(() => gone.abort(), 3);
      expect([undefined, 'SLUICE_QUERY_CANCELLED']).toContain(
        ((await query) as any)?.code ?? (await query)?.toString().match(/SLUICE\w+/)?.[0],
      );
      expect((await pool.query('SELECT 5 AS n')).rows[0].n).toBe(5);
    }
    expect(await pidOf(pool)).toBe(pid);
  });

  test('inside a transaction leaves a client that can be rolled back and used', async () => {
    const pool = makePool({ max: 1 });
    const gone = new AbortController();
    const work = pool.transaction(async (tx) => {
      const query = tx.query({ text: 'SELECT pg_sleep(30)', signal: gone.signal });
      setImmediate(() => gone.abort());
      await query;
    });
    expect((await failure(work)).code).toBe('SLUICE_QUERY_CANCELLED');
    expect((await pool.query('SELECT 1 AS n')).rows[0].n).toBe(1);
    expect(pool.stats().opened).toBe(1);
  });
});

describe('what a handle was asked for with', () => {
  test('the signal stops its queries at the server, and the transaction is rolled back', async () => {
    const pool = makePool({ max: 1 });
    await pool.query('CREATE TABLE IF NOT EXISTS aborted (n int); TRUNCATE aborted');
    const pid = await pidOf(pool);
    const gone = new AbortController();
    const after: string[] = [];
    const work = pool.transaction(
      async (tx) => {
        await tx.query('INSERT INTO aborted VALUES (1)');
        const slow = failure(tx.client.query('SELECT pg_sleep(30)'));
        setTimeout(() => gone.abort(), 10);
        after.push((await slow).code, (await failure(tx.query('SELECT 1'))).code);
        await tx.transaction((inner) => inner.query('SELECT 1')).catch(() => {});
      },
      { signal: gone.signal },
    );
    expect((await failure(work)).code).toBe('SLUICE_QUERY_CANCELLED');
    expect(after).toEqual(['SLUICE_QUERY_CANCELLED', 'SLUICE_QUERY_CANCELLED']);
    expect((await pool.query('SELECT count(*)::int AS n FROM aborted')).rows).toEqual([{ n: 0 }]);
    expect(await pidOf(pool)).toBe(pid);
  });

  test('a signal that fires before the COMMIT undoes what was done', async () => {
    const pool = makePool({ max: 1 });
    await pool.query('CREATE TABLE IF NOT EXISTS aborted (n int); TRUNCATE aborted');
    const gone = new AbortController();
    const work = pool.transaction(
      async (tx) => {
        await tx.query('INSERT INTO aborted VALUES (1)');
        gone.abort();
      },
      { signal: gone.signal },
    );
    expect((await failure(work)).code).toBe('SLUICE_QUERY_CANCELLED');
    expect((await pool.query('SELECT count(*)::int AS n FROM aborted')).rows).toEqual([{ n: 0 }]);
  });

  test('holds for that holder only', async () => {
    const pool = makePool({ max: 1 });
    const gone = new AbortController();
    const first = await pool.acquire({ signal: gone.signal, deadline: Date.now() + 60_000 });
    await first.query('SELECT 1');
    first.release();
    const second = await pool.acquire();
    const slow = second.query("SELECT pg_sleep(0.1), 'done' AS it");
    gone.abort();
    expect((await slow).rows[0].it).toBe('done');
    second.release();
  });

  test.each(['acquire', 'query'])(
    'the deadline stops a query under way, and sends none behind it (%s)',
    async (how) => {
      const pool = makePool({ max: 1 });
      await pool.query('SELECT 1'); // to dial may take longer
      const deadline = Date.now() + 300;
      const lease = how === 'acquire' ? await pool.acquire({ deadline }) : null;
      const ask = (text: string) => failure(lease === null ? pool.query({ text, deadline }) : lease.query(text));
      expect(await ask('SELECT pg_sleep(30)')).toMatchObject({ code: 'SLUICE_QUERY_CANCELLED', reason: 'timeout' });
      expect(['SLUICE_QUERY_CANCELLED', 'SLUICE_POOL_EXHAUSTED']).toContain((await ask('SELECT 1')).code);
      lease?.release();
      expect((await pool.query('SELECT 1 AS n')).rows).toEqual([{ n: 1 }]);
    },
  );

  test('a deadline that is over gets no connection, and only a point in time is one', async () => {
    const pool = makePool({ max: 1 });
    await pool.query('SELECT 1');
    for (const deadline of [0, new Date(0), Date.now() - 1]) {
      const error = await failure(pool.acquire({ deadline }));
      expect(error.code).toBe('SLUICE_POOL_EXHAUSTED');
      expect(error.message).toMatch(/the deadline of the request .* was over before it was made/);
      expect((await failure(pool.query({ text: 'SELECT 1', deadline }))).code).toBe('SLUICE_POOL_EXHAUSTED');
    }
    for (const deadline of [true, '', [], Number.NaN])
      expect((await failure(pool.acquire({ deadline } as never))).option).toBe('deadline');
    expect(pool.idleCount).toBe(1);
  });

  test('a signal of the query counts beside it', async () => {
    const pool = makePool({ max: 1 });
    const [ofLease, ofQuery] = [new AbortController(), new AbortController()];
    const lease = await pool.acquire({ signal: ofLease.signal });
    const slow = failure(lease.query({ text: 'SELECT pg_sleep(30)', signal: ofQuery.signal }));
    setTimeout(() => ofQuery.abort(), 10);
    expect((await slow).code).toBe('SLUICE_QUERY_CANCELLED');
    expect((await lease.query('SELECT 1 AS n')).rows).toEqual([{ n: 1 }]);
    lease.release();
  });
});

describe('a time limit on queries', () => {
  test('cancels at the server, with commandTimeoutMillis for all and timeoutMillis for one', async () => {
    const pool = makePool({ max: 1, commandTimeoutMillis: 50 });
    const error = await failure(pool.query('SELECT pg_sleep(30) /* limited */'));
    expect([error.code, error.reason]).toEqual(['SLUICE_QUERY_CANCELLED', 'timeout']);
    await pool.query({ text: 'SELECT pg_sleep(0.1)', timeoutMillis: 10_000 });
    const other = await outside();
    const { rows } = await other.query(
      "SELECT count(*)::int AS n FROM pg_stat_activity WHERE query LIKE '%/* limited */' AND pid <> pg_backend_pid() AND state = 'active'",
    );
    expect(rows[0].n).toBe(0);
  });

  test('works in the callback form', async () => {
    const pool = makePool({ max: 1, commandTimeoutMillis: 30 });
    const error: any = await new Promise((resolve) => pool.query('SELECT pg_sleep(30)', (thrown) => resolve(thrown)));
    expect(error.code).toBe('SLUICE_QUERY_CANCELLED');
  });
});

describe('what waits behind a query of the same holder that is cancelled', () => {
  test('is not hit by the request, and runs', async () => {
    const pool = makePool({ max: 1 });
    const lease = await pool.acquire();
    for (let i = 0; i < 40; i++) {
      const gone = new AbortController();
      const first = lease.query({ text: 'SELECT pg_sleep(0.005)', signal: gone.signal }).catch(() => {});
      const second = lease.query('SELECT pg_sleep(0.01), $1::int AS n', [i]);
      setTimeout(() => gone.abort(), 3 + (i % 5));
      await first;
      expect((await second).rows[0].n).toBe(i);
    }
    lease.release();
  });

  test('does not cost the connection, however long it takes', async () => {
    const pool = makePool({ max: 1, cancelTimeoutMillis: 200 });
    const lease = await pool.acquire();
    const first = failure(lease.query({ text: 'SELECT pg_sleep(30)', timeoutMillis: 30 }));
    const second = lease.query('SELECT pg_sleep(0.5), 7 AS n');
    expect((await first).poolCode).toBe('SLUICE_QUERY_CANCELLED');
    expect((await second).rows[0].n).toBe(7);
    lease.release();
  });

  test('or before it in a pipeline is left alone: only the answer is thrown away', async () => {
    const pool = makePool({ max: 1, pipeline: true });
    const lease = await pool.acquire();
    const gone = new AbortController();
    const first = lease.query('SELECT pg_sleep(0.1), 1 AS n');
    const second = failure(lease.query({ text: 'SELECT pg_sleep(0.1)', signal: gone.signal }));
    const third = lease.query('SELECT 3 AS n');
    setTimeout(() => gone.abort(), 20);
    expect((await second).poolCode).toBe('SLUICE_QUERY_CANCELLED');
    expect((await first).rows[0].n).toBe(1);
    expect((await third).rows[0].n).toBe(3);
    lease.release();
  });
});

test('a limited query may be given as an object whose text is an accessor', async () => {
  class Statement {
    get text() {
      return 'SELECT $1::int AS n';
    }
    get values() {
      return [5];
    }
  }
  const pool = makePool({ commandTimeoutMillis: 5_000 });
  expect((await pool.query(new Statement())).rows).toEqual([{ n: 5 }]);
});

describe('what is given for a signal', () => {
  test('null is none, wherever there may be one', async () => {
    const pool = makePool({ max: 1 });
    const none = { signal: null, deadline: null, timeoutMillis: null } as object;
    for (let i = 0; i < 3; i++) {
      expect((await pool.query({ text: 'SELECT 1 AS n', ...none })).rows[0].n).toBe(1);
      expect((await pool.transaction((tx) => tx.query('SELECT 2 AS n'), none)).rows[0].n).toBe(2);
      const lease = await pool.acquire(none);
      expect((await lease.query({ text: 'SELECT 3 AS n', ...none })).rows[0].n).toBe(3);
      lease.release();
    }
    expect(pool.idleCount).toBe(1);
  });

  test('a controller in its place is refused by name, costs no place and cancels nobody', async () => {
    const pool = makePool({ max: 1 });
    const wrong = { signal: new AbortController() } as object;
    const refused = { code: 'SLUICE_BAD_OPTION', message: expect.stringMatching(/signal is no AbortSignal/) };
    expect(await failure(pool.acquire(wrong))).toMatchObject(refused);
    const client = await pool.connect();
    expect(await failure(client.query({ text: 'SELECT 1', timeoutMillis: 20, ...wrong } as any))).toMatchObject(
      refused,
    );
    client.release();
    expect(await failure(pool.query({ text: 'SELECT 1', ...wrong }))).toMatchObject(refused);
    const called = new Promise((resolve) => pool.query({ text: 'SELECT 1', ...wrong } as any, resolve));
    expect(await called).toMatchObject(refused);
    expect((await pool.query('SELECT pg_sleep(0.1), 4 AS n')).rows[0].n).toBe(4);
    expect(pool.stats().cancels).toBe(0);
  });

  test('one that serves many reaches only those that have it when its turn comes', async () => {
    const pool = makePool({ max: 2 });
    const held = await pool.connect();
    const gone = new AbortController();
    let other: Promise<any> = Promise.resolve();
    const told = new Promise<void>((resolve) => {
      pool.query({ text: 'SELECT pg_sleep(30)', signal: gone.signal } as any, () => {
        // Serves the one that waits, and another request takes its place in the pool's books.
        held.release();
        other = pool.query('SELECT 5 AS n');
        resolve();
      });
    });
    await until(() => pool.holders().some((holder) => holder.sql.includes('pg_sleep')));
    const waiting = pool.acquire({ signal: gone.signal }).then(
      (lease) => lease.release(),
      (error) => error.code,
    );
    gone.abort();
    await told;
    expect([undefined, 'SLUICE_ACQUIRE_ABORTED']).toContain(await waiting);
    expect((await other).rows[0].n).toBe(5);
  });
});
