/** Errors name their cause and what to do about it. */
import { createServer } from 'node:net';
import { describe, expect, test } from 'vitest';
import { health } from '../../packages/pool/src/web.ts';
import { failure, makePool, outside, pause, until } from './support.ts';

describe('who gets no connection in time is told', () => {
  test('that the pool is suspended', async () => {
    const pool = makePool({ max: 1 });
    await pool.query('SELECT 1');
    pool.suspend();
    const error = await failure(pool.acquire({ timeoutMillis: 20 }));
    expect([error.code, error.message]).toEqual(['SLUICE_POOL_EXHAUSTED', expect.stringContaining('call resume()')]);
    pool.resume();
  });

  test('that the places left are reserved for others', async () => {
    const pool = makePool({ max: 2, reservedSlots: 1, reservedPriority: 7 });
    const held = await pool.acquire();
    const error = await failure(pool.acquire({ timeoutMillis: 20 }));
    expect(error.message).toContain('kept for requests of priority 7 and above (reservedSlots)');
    held.release();
  });

  test('that the server has not answered, where it swallows connections', async () => {
    const hole = createServer(() => {}).listen(0, '127.0.0.1');
    await new Promise((resolve) => hole.once('listening', resolve));
    const pool = makePool({ port: (hole.address() as any).port, dialTimeoutMillis: 400 });
    const error = await failure(pool.acquire({ timeoutMillis: 50 }));
    expect(error.message).toContain(
      'has not answered a connection that is being opened: check host, port and firewall',
    );
    expect((await failure(pool.wait({ timeoutMillis: 20 }))).message).toMatch(
      /was not warm within 20 ms: 0 of 1 connections/,
    );
    await pool.drain({ timeoutMillis: 0 });
    hole.close();
  });

  test('who holds the connections, else', async () => {
    const pool = makePool({ max: 1 });
    const held = await pool.acquire();
    await held.query("SELECT 'long'");
    const error = await failure(pool.acquire({ timeoutMillis: 20 }));
    expect(error.message).toMatch(/Look for the long holders below.*Held now:\n.*SELECT 'long'/s);
    held.release();
  });

  test('that the server has no connection left', async () => {
    const admin = await outside();
    await admin.query("DROP ROLE IF EXISTS nowhere; CREATE ROLE nowhere LOGIN PASSWORD 'x' CONNECTION LIMIT 0");
    const pool = makePool({ user: 'nowhere', password: 'x' });
    const error = await failure(pool.query('SELECT 1'));
    expect([error.poolCode, error.code, error.message]).toEqual([
      'SLUICE_DATABASE_DOWN',
      '53300',
      expect.stringContaining('lower max here or in other programs, or raise its max_connections'),
    ]);
  });
});

describe('a pool with a minimum', () => {
  test.each([5, 9])('of %i is warm when all of them stand', async (min) => {
    const pool = makePool({ min, max: 10 });
    await pool.wait({ timeoutMillis: 0 });
    expect(pool.idleCount).toBe(min);
  });
});

test('minIdle connections are free beside those in use', async () => {
  const pool = makePool({ minIdle: 2, max: 5 });
  await until(() => pool.idleCount === 2);
  const leases = [await pool.acquire(), await pool.acquire()];
  await until(() => pool.idleCount === 2);
  leases.push(await pool.acquire(), await pool.acquire());
  await until(() => pool.idleCount === 1);
  expect(pool.totalCount).toBe(5);
  for (const lease of leases) lease.release();
});

describe('the health check', () => {
  test('is well under load, and ill where connections are held for good', async () => {
    const pool = makePool({ max: 1 });
    let goesOn = true;
    const load = async () => {
      while (goesOn) await pool.query('SELECT pg_sleep(0.01)');
    };
    // Two seconds of queue before the question.
    const all = Array.from({ length: 200 }, load);
    await pause(20);
    expect(await health(pool, 1_000)).toMatchObject({ ok: true, busy: true });
    goesOn = false;
    await Promise.all(all);
    const narrow = makePool({ max: 1, maxWaiting: 1 });
    let narrowGoesOn = true;
    const pressing = async () => {
      while (narrowGoesOn) await narrow.query('SELECT pg_sleep(0.01)').catch(() => pause(1));
    };
    const crowd = Array.from({ length: 5 }, pressing);
    await pause(20);
    for (let i = 0; i < 5; i++) expect((await health(narrow, 10_000)).ok).toBe(true);
    narrowGoesOn = false;
    await Promise.all(crowd);
    const answer = await health(pool, 2_000);
    expect([answer.ok, answer.busy]).toEqual([true, undefined]);
    const held = await pool.acquire();
    expect(await health(pool, 50)).toMatchObject({ ok: false, error: expect.stringContaining('Held now') });
    held.release();
  });
});

test('every idle connection is to be had at once, also where each is checked before its use', async () => {
  const pool = makePool({ min: 3, checkAfterMillis: 0 });
  await pool.wait();
  const leases = pool.acquireAllIdle();
  expect(leases).toHaveLength(3);
  for (const lease of leases) lease.release();
});

test("with compat: 'pg-pool' a pool is warm when its minimum stands, too", async () => {
  const pool = makePool({ compat: 'pg-pool', min: 3 });
  await pool.wait({ timeoutMillis: 20_000 });
  expect(pool.totalCount).toBe(3);
});
