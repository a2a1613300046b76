// The built package against a real PostgreSQL, on whatever runtime runs this: acquire, transaction, cancel, abort, leak. Takes the
// database's URL; prints a line a check and ends with 1 at the first that fails. Nothing here but the runtime, pg and the pool.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { AcquireAborted, Pool, QueryCancelled, StaleHandle } from '@sluice/pool';
import pg from 'pg';

const connectionString = process.argv[2];
const PID = 'SELECT pg_backend_pid() AS pid';
const failure = (promise) =>
  promise.then(
    () => assert.fail('it was expected to be rejected'),
    (error) => error,
  );

const checks = {
  async 'it is a pg.Pool, as module and when required'() {
    const { Pool: Required } = createRequire(import.meta.url)('@sluice/pool');
    for (const Class of [Pool, Required]) {
      const pool = new Class({ connectionString, max: 1 });
      assert.ok(pool instanceof pg.Pool);
      assert.equal((await pool.query('SELECT $1::int AS n', [7])).rows[0].n, 7);
      await pool.end();
    }
  },

  async 'a lease serves, waits its turn and is dead after its release'(pool) {
    const first = await pool.acquire();
    const second = await pool.acquire();
    const order = [];
    const waiting = [1, 2].map((n) =>
      pool.acquire().then((lease) => {
        order.push(n);
        lease.release();
      }),
    );
    assert.equal(pool.waitingCount, 2);
    first.release();
    await Promise.all(waiting);
    assert.deepEqual(order, [1, 2]);
    second.release();
    assert.ok((await failure(second.query('SELECT 1'))) instanceof StaleHandle);
    assert.throws(() => second.release(), StaleHandle);
  },

  async 'what a holder leaves behind is undone'() {
    const pool = new Pool({ connectionString, max: 1 });
    const lease = await pool.acquire();
    const { pid } = (await lease.query(PID)).rows[0];
    await lease.query("SET application_name = 'left behind'");
    await lease.query('BEGIN');
    lease.release();
    const seen = await pool.acquire();
    assert.equal((await seen.query(PID)).rows[0].pid, pid);
    assert.notEqual((await seen.query('SHOW application_name')).rows[0].application_name, 'left behind');
    seen.release();
    await pool.end();
  },

  async 'a transaction commits, rolls back and nests'(pool) {
    await pool.query('CREATE TABLE IF NOT EXISTS on_any_runtime (n int)');
    await pool.query('TRUNCATE on_any_runtime');
    await pool.transaction(async (tx) => {
      const one = (await tx.query(PID)).rows[0].pid;
      await tx.query('INSERT INTO on_any_runtime VALUES (1)');
      await failure(
        pool.transaction(async (inner) => {
          await inner.query('INSERT INTO on_any_runtime VALUES (2)');
          throw new Error('no');
        }),
      );
      assert.equal((await tx.query(PID)).rows[0].pid, one);
    });
    assert.equal((await failure(pool.transaction((tx) => tx.query('SELECT 1/0')))).code, '22012');
    assert.deepEqual((await pool.query('SELECT n FROM on_any_runtime')).rows, [{ n: 1 }]);
    await pool.query('DROP TABLE on_any_runtime');
  },

  async 'a query that takes too long is cancelled at the server, and its connection serves on'(pool) {
    const lease = await pool.acquire();
    const { pid } = (await lease.query(PID)).rows[0];
    const error = await failure(lease.query({ text: 'SELECT pg_sleep(60)', timeoutMillis: 30 }));
    assert.ok(error instanceof QueryCancelled);
    assert.equal((await lease.query(PID)).rows[0].pid, pid);
    lease.release();
  },

  async 'an abort ends the waiting and the query'(pool) {
    const held = [await pool.acquire(), await pool.acquire()];
    const waits = new AbortController();
    const waiting = failure(pool.acquire({ signal: waits.signal }));
    waits.abort();
    assert.ok((await waiting) instanceof AcquireAborted);
    assert.equal(pool.waitingCount, 0);
    const runs = new AbortController();
    const running = failure(held[0].query({ text: 'SELECT pg_sleep(60)', signal: runs.signal }));
    runs.abort();
    assert.ok((await running) instanceof QueryCancelled);
    for (const lease of held) lease.release();
    assert.equal((await pool.query('SELECT 1 AS n')).rows[0].n, 1);
  },

  async 'a lease that is kept is reported, taken back and dead'() {
    const pool = new Pool({ connectionString, max: 1, leakDetectionMillis: 30, leakAction: 'reclaim' });
    const reported = new Promise((resolve) => pool.once('leak', resolve));
    const kept = await pool.acquire();
    await kept.query('BEGIN');
    const report = await reported;
    assert.equal(report.kind, 'held');
    assert.match(report.holder.stack ?? '', /on-any-runtime/);
    assert.ok((await failure(kept.query('SELECT 1'))) instanceof StaleHandle);
    assert.equal((await pool.query('SELECT 1 AS n')).rows[0].n, 1);
    await pool.end();
  },
};

process.on('warning', (warning) => {
  throw warning;
});
const pool = new Pool({ connectionString, max: 2 });
for (const [name, check] of Object.entries(checks)) {
  await check(pool);
  console.log(`ok: ${name}`);
}
await pool.end();
assert.equal(pool.totalCount, 0);
console.log(`all ${Object.keys(checks).length} checks passed on ${process.versions.bun ? 'Bun' : 'Node'}`);
