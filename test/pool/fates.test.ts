/** What becomes of transactions whose end is not answered, not sent, or answered to nobody; and of what a hold leaves to the next. */
import net from 'node:net';
import { beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { at, failure, makePool, outside, pause, until } from './support.ts';

beforeAll(async () => {
  await (await outside()).query('DROP TABLE IF EXISTS fates; CREATE TABLE fates (n int)');
});
beforeEach(async () => {
  await (await outside()).query('TRUNCATE fates');
});

const kept = async () => (await (await outside()).query('SELECT n FROM fates ORDER BY n')).rows.map(({ n }) => n);
const insert = (n: number) => `INSERT INTO fates VALUES (${n})`;

/** A way to the server on which what it answers after the first COMMIT is swallowed, or the connection cut. */
async function behindCommit(then: 'swallow' | 'cut'): Promise<number> {
  const { host, port } = at();
  let commits = 0;
  const listener = net.createServer((client) => {
    const server = net.connect(port, host);
    let isDeaf = false;
    for (const socket of [client, server]) socket.on('error', () => {});
    client.on('data', (chunk) => {
      if (chunk.includes('COMMIT') && ++commits === 1) isDeaf = true;
      server.write(chunk);
    });
    server.on('data', (chunk) => {
      if (!isDeaf) client.write(chunk);
      else if (then === 'cut') client.destroy();
    });
    client.on('close', () => server.destroy());
    server.on('close', () => client.destroy());
  });
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void listener.close());
  return (listener.address() as net.AddressInfo).port;
}

describe("beside pg's own query_timeout, which stops waiting and leaves the server at work", () => {
  const options = { max: 1, query_timeout: 200 };

  test('a nested transaction that failed is undone when the outer one commits', async () => {
    await makePool(options).transaction(async (tx) => {
      await tx.query(insert(1));
      const nested = tx.transaction(async (inner) => {
        await inner.query(insert(77));
        await inner.query('SELECT pg_sleep(0.7)');
      });
      expect((await failure(nested)).message).toMatch(/timeout/);
      await tx.query(insert(2));
    });
    expect(await kept()).toEqual([1, 2]);
  });

  test.each([{ reset: 'none' }, { compat: 'pg-pool' }, {}] as const)(
    'nobody gets an open transaction after one that failed (%o)',
    async (more) => {
      const pool = makePool({ ...options, ...more });
      const work = pool.transaction(async (tx) => {
        await tx.query(insert(5));
        await tx.query('SELECT pg_sleep(0.7)');
      });
      expect((await failure(work)).message).toMatch(/timeout/);
      const { rows } = await pool.query('SELECT txid_current_if_assigned() AS open');
      expect(rows).toEqual([{ open: null }]);
      expect(await kept()).toEqual([]);
    },
  );

  test('a connection whose ROLLBACK is not answered is closed', async () => {
    const pool = makePool({ ...options, reset: 'none', resetTimeoutMillis: 300 });
    const work = pool.transaction(async (tx) => {
      await tx.query(insert(5));
      await tx.query('SELECT pg_sleep(2)');
    });
    await failure(work);
    const { rows } = await pool.query('SELECT txid_current_if_assigned() AS open');
    expect(rows).toEqual([{ open: null }]);
    expect(pool.stats().opened).toBe(2);
    expect(await kept()).toEqual([]);
  });

  test('a request does not wait for a connection that is long at its reset while there is room for another', async () => {
    const pool = makePool({ ...options, max: 2, connectionTimeoutMillis: 4000 });
    await failure(pool.query('SELECT pg_sleep(5)'));
    const { rows } = await pool.query('SELECT 1 AS n');
    expect(rows).toEqual([{ n: 1 }]);
    expect(pool.stats().opened).toBe(2);
  });
});

test('who waits in vain for a connection at its reset hears of it', async () => {
  const pool = makePool({ max: 1, query_timeout: 100, connectionTimeoutMillis: 200, dialTimeoutMillis: 10_000 });
  await pool.wait({ timeoutMillis: 10_000 });
  await failure(pool.query('SELECT pg_sleep(3)'));
  const { message } = await failure(pool.query('SELECT 1'));
  expect(message).toMatch(/has not answered a connection that is being checked or reset/);
});

test('with a time limit for all queries, a ROLLBACK waits its turn behind one that nobody awaited', async () => {
  const pool = makePool({ max: 1, reset: 'none', commandTimeoutMillis: 100 });
  const work = pool.transaction(async (tx) => {
    await tx.query(insert(5));
    tx.query({ text: 'SELECT pg_sleep(0.5)', timeoutMillis: 5000 }).catch(() => {});
    throw new Error('no');
  });
  expect((await failure(work)).message).toBe('no');
  expect((await pool.query('SELECT txid_current_if_assigned() AS open')).rows).toEqual([{ open: null }]);
  expect(await kept()).toEqual([]);
});

describe('a COMMIT of which nobody knows what became is not done again, whatever codes are given', () => {
  const retry = { codes: ['SLUICE_QUERY_CANCELLED', 'SLUICE_DATABASE_DOWN', 'ECONNRESET', '57P01'] };

  test.each([
    ['swallow', { commandTimeoutMillis: 200, cancelTimeoutMillis: 300 }, /whether it took effect is not known/],
    [
      'swallow',
      { query_timeout: 200, resetTimeoutMillis: 300 },
      /COMMIT was not answered, and whether .* is not known/,
    ],
    ['cut', {}, /connection was lost while COMMIT was under way, and whether .* is not known/],
  ] as const)('%s %o', async (then, options, text) => {
    const port = await behindCommit(then);
    const pool = makePool({ ...options, port, max: 1 });
    const error = await failure(pool.transaction((tx) => tx.query(insert(1)), { retry }));
    expect(error.message).toMatch(text);
    await pause(50);
    expect(await kept()).toEqual([1]);
    expect(pool.stats().retries).toBe(0);
  });
});

test('a session that was ended before COMMIT was sent has rolled back: that is said, with the code, and can be tried again', async () => {
  const pool = makePool({ max: 1, idle_in_transaction_session_timeout: 50 });
  let tries = 0;
  const work = (retry: boolean) =>
    pool.transaction(
      async (tx) => {
        await tx.query(insert(++tries));
        if (tries < 3) await pause(200);
      },
      { retry: retry && { codes: ['25P03'], minDelayMillis: 1 } },
    );
  const error = await failure(work(false));
  expect(error.code).toBe('25P03');
  expect(error.message).toMatch(/lost before COMMIT was sent, and the transaction was rolled back/);
  await work(true);
  expect(await kept()).toEqual([3]);
});

test("a lease that is taken back leaves no transaction open, also where nothing is reset (reset: 'none')", async () => {
  const pool = makePool({ max: 1, reset: 'none', leakDetectionMillis: 50, leakAction: 'reclaim' });
  pool.on('leak', () => {});
  const lease = await pool.acquire();
  await lease.query('BEGIN');
  await lease.query(insert(1));
  await until(() => !lease.live);
  expect((await pool.query('SELECT txid_current_if_assigned() AS open')).rows).toEqual([{ open: null }]);
  expect(await kept()).toEqual([]);
});

describe('what a lease has left of itself', () => {
  test('takes no listener of the next holder’s off, puts none on, and is not heard of', async () => {
    const pool = makePool({ max: 1 });
    const first = await pool.acquire();
    const { client } = first;
    const wire = (client as any).connection;
    const heard: string[] = [];
    const shared = () => void heard.push('shared');
    client.on('notice', shared);
    wire.on('rowDescription', () => heard.push('early'));
    expect(wire.on('x', shared)).toBe(wire);
    first.release();
    const second = await pool.acquire();
    second.client.on('notice', shared);
    (second.client as any).connection.on('commandComplete', shared);
    client.off('notice', shared);
    client.removeAllListeners();
    wire.off('commandComplete', shared);
    wire.removeAllListeners();
    wire.on('rowDescription', () => heard.push('late'));
    expect(() => wire.emit('readyForQuery', {})).toThrow(/released/);
    await second.query("DO $$ BEGIN RAISE NOTICE 'n'; END $$");
    await second.query('SELECT 1');
    expect(heard).toEqual(['shared', 'shared', 'shared']);
  });

  test('a holder may take all listeners off and leave one of its own: the pool still hears of the end', async () => {
    const pool = makePool({ max: 1 });
    pool.on('error', () => {});
    const client = await pool.connect();
    const pid = (client as any).processID;
    client.removeAllListeners();
    client.on('error', () => {});
    client.release();
    await (await outside()).query('SELECT pg_terminate_backend($1)', [pid]);
    await until(() => pool.idleCount === 0);
    expect((await pool.query('SELECT 1 AS n')).rows).toEqual([{ n: 1 }]);
  });
});
