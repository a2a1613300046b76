/** A network that swallows everything: whoever has set a bound hears in time, and of no more than is known. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Pool } from '../../packages/pool/src/index.ts';
import { FaultyProxy } from '../support/proxy.ts';
import { at, failure, makePool, outside, until } from './support.ts';

let proxy: FaultyProxy;

beforeEach(async () => {
  proxy = await FaultyProxy.start(at());
  await (await outside()).query('DROP TABLE IF EXISTS swallowed; CREATE TABLE swallowed (n int)');
});
afterEach(() => proxy.stop());

/** One connection, open, whose cancels take longer than a test may. */
async function throughProxy(): Promise<Pool> {
  const pool = makePool({ port: proxy.port, max: 1, cancelTimeoutMillis: 600_000 });
  await pool.query('SELECT 1');
  return pool;
}

/** A bound, and what makes sure that it is reached once the network is dead. */
function boundBy(what: string): { options: { signal?: AbortSignal; deadline?: number }; reach: () => void } {
  const gone = new AbortController();
  if (what === 'signal') return { options: { signal: gone.signal }, reach: () => gone.abort(new Error('gone')) };
  return { options: { deadline: Date.now() + 1_000 }, reach: () => {} };
}

const asked = (pool: Pool, sql: string) => until(() => pool.holders().some((holder) => holder.sql.startsWith(sql)));

const insert = (n: number) => `INSERT INTO swallowed VALUES (${n})`;
const rows = async () =>
  (await (await outside()).query('SELECT n FROM swallowed ORDER BY n')).rows.map((row: any) => row.n);

const UNKNOWN = { code: 'SLUICE_QUERY_CANCELLED', message: expect.stringContaining('not known') };

describe.each(['signal', 'deadline'])('the %s of a transaction ends the waiting for', (by) => {
  test('a BEGIN', async () => {
    const pool = await throughProxy();
    const { options, reach } = boundBy(by);
    proxy.hang();
    let ran = false;
    const work = failure(
      pool.transaction(async () => {
        ran = true;
      }, options),
    );
    await asked(pool, 'BEGIN');
    reach();
    const error = await work;
    expect(error).toMatchObject(UNKNOWN);
    expect(error.message).not.toMatch(/was cancelled at the server/);
    expect(ran).toBe(false);
    proxy.heal();
    expect((await pool.query('SELECT 1 AS n')).rows).toEqual([{ n: 1 }]);
  });

  test.each(['passed on', 'kept from it'])('a query, its error %s', async (how) => {
    const pool = await throughProxy();
    const { options, reach } = boundBy(by);
    const work = pool.transaction(async (tx) => {
      await tx.query(insert(1));
      proxy.hang();
      const query = failure(tx.query(insert(2)));
      reach();
      const error = await query;
      expect(error).toMatchObject(UNKNOWN);
      if (how === 'passed on') throw error;
    }, options);
    expect((await failure(work)).code).toBe('SLUICE_QUERY_CANCELLED');
    proxy.heal();
    await pool.query('SELECT 1');
    expect(await rows()).toEqual([]);
  });

  test('a query that nobody awaited', async () => {
    const pool = await throughProxy();
    const { options, reach } = boundBy(by);
    const work = pool.transaction(async (tx) => {
      proxy.hang();
      tx.query(insert(1)).catch(() => {});
      reach();
    }, options);
    expect((await failure(work)).code).toBe('SLUICE_QUERY_CANCELLED');
    proxy.heal();
    await pool.query('SELECT 1');
    expect(await rows()).toEqual([]);
  });

  test('a COMMIT, whose outcome is not known then', async () => {
    const pool = await throughProxy();
    const { options, reach } = boundBy(by);
    const work = failure(
      pool.transaction(async (tx) => {
        await tx.query(insert(1));
        proxy.hang();
      }, options),
    );
    await asked(pool, 'COMMIT');
    reach();
    const error = await work;
    expect(error).toMatchObject({ ...UNKNOWN, reason: by === 'signal' ? 'signal' : 'timeout' });
    expect(error.message).toMatch(/whether the transaction was committed is not known/);
    if (by === 'signal') expect(error.cause.message).toBe('gone');
    proxy.heal();
    await pool.query('SELECT 1');
    expect(await rows()).toEqual([1]);
  });

  test('a ROLLBACK: what there was is thrown', async () => {
    const pool = await throughProxy();
    const { options, reach } = boundBy(by);
    const work = pool.transaction(async (tx) => {
      await tx.query(insert(1));
      proxy.hang();
      reach();
      throw new Error('no');
    }, options);
    expect((await failure(work)).message).toBe('no');
    proxy.heal();
    await pool.query('SELECT 1');
    expect(await rows()).toEqual([]);
  });
});

test.each(['SAVEPOINT', 'INSERT', 'ROLLBACK', 'RELEASE'])(
  'the signal of a nested transaction ends the waiting for its %s, and the one around it goes on',
  async (what) => {
    const pool = await throughProxy();
    const { options, reach } = boundBy('signal');
    const work = pool.transaction(async (tx) => {
      await tx.query(insert(1));
      if (what === 'SAVEPOINT') proxy.hang();
      const nested = failure(
        tx.transaction(async (inner) => {
          if (what === 'INSERT') proxy.hang();
          await inner.query(insert(2));
          proxy.hang();
          if (what === 'ROLLBACK') throw new Error('no');
        }, options),
      );
      await asked(pool, what);
      reach();
      const error = await nested;
      if (what === 'ROLLBACK') expect(error.message).toBe('no');
      else expect(error.code).toBe('SLUICE_QUERY_CANCELLED');
      proxy.heal();
    });
    // What had been released cannot be undone alone.
    if (what === 'RELEASE') expect((await failure(work)).code).toBe('SLUICE_TRANSACTION_ABORTED');
    else await work;
    expect(await rows()).toEqual(what === 'RELEASE' ? [] : [1]);
  },
);

test.each(['signal', 'deadline', 'time limit'])('a %s ends the waiting for a query of a lease', async (by) => {
  const pool = await throughProxy();
  const { options, reach } = boundBy(by);
  const lease = await pool.acquire(by === 'time limit' ? {} : options);
  proxy.hang();
  const query = failure(lease.query({ text: 'SELECT 1', timeoutMillis: by === 'time limit' ? 50 : 0 }));
  reach();
  const error = await query;
  expect(error).toMatchObject(UNKNOWN);
  expect(error.message).not.toMatch(/was cancelled at the server/);
  lease.release();
  proxy.heal();
  expect((await pool.query('SELECT 2 AS n')).rows).toEqual([{ n: 2 }]);
});

test('without any bound a ROLLBACK is given up in the time of a reset', async () => {
  const pool = makePool({ port: proxy.port, max: 1, resetTimeoutMillis: 100 });
  const work = pool.transaction(async (tx) => {
    await tx.query(insert(1));
    proxy.hang();
    throw new Error('no');
  });
  expect((await failure(work)).message).toBe('no');
  proxy.heal();
  await pool.query('SELECT 1');
  expect([await rows(), pool.stats().opened]).toEqual([[], 2]);
});

test('the deadline of a query ends the waiting for it', async () => {
  const pool = await throughProxy();
  proxy.hang();
  expect(await failure(pool.query({ text: 'SELECT 1', ...boundBy('deadline').options }))).toMatchObject(UNKNOWN);
});

test('a query that was not sent, or cancelled, is said to have been that', async () => {
  const pool = makePool({ max: 1 });
  const lease = await pool.acquire();
  const within = (timeoutMillis: number, text: string) => failure(lease.query({ text, timeoutMillis }));
  const [cancelled, unsent] = await Promise.all([within(300, 'SELECT pg_sleep(30)'), within(20, 'SELECT 2')]);
  // A machine that stands still may have left the cancel without its answer.
  expect(cancelled.message).toMatch(
    /^the query was (cancelled at the server|given up, .* not known, .*): .*300 ms.*pg_sleep/,
  );
  expect(unsent.message).toMatch(/^the query was not sent: .*20 ms.*SELECT 2/);
  const fired = failure(lease.query({ text: 'SELECT 3', signal: AbortSignal.abort() }));
  expect((await fired).message).toMatch(/^the query was not sent, for its signal/);
  lease.release();
});

test('a connection that is lost during COMMIT: nobody knows, and it is not done again', async () => {
  const pool = await throughProxy();
  let runs = 0;
  const work = failure(
    pool.transaction(
      async (tx) => {
        runs++;
        await tx.query(insert(runs));
        // What the server says from here on is lost.
        proxy.rewrite = () => {
          proxy.cut();
          return Buffer.alloc(0);
        };
      },
      { retry: { codes: ['40001', 'ECONNRESET', 'SLUICE_DATABASE_DOWN'] } },
    ),
  );
  const error = await work;
  expect(error).toMatchObject({
    name: 'DatabaseDown',
    message: expect.stringContaining('whether the transaction was committed is not known'),
  });
  expect(runs).toBe(1);
  proxy.rewrite = (chunk) => chunk;
  expect(await rows()).toEqual([1]);
});
