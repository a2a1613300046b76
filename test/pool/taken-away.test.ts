/** Connections that go while something is under way, stale clients at odd moments, and times at the edge. */
import { createServer, type Socket } from 'node:net';
import type pg from 'pg';
import { describe, expect, test } from 'vitest';
import { failure, makePool, outside, pause, until } from './support.ts';

describe('a connection that is taken away while its prepare hook is at work', () => {
  test.each([true, false])('the request is refused, whatever the hook says (%s)', async (verdict) => {
    let goOn = (_: boolean) => {};
    const hook = new Promise<boolean>((resolve) => {
      goOn = resolve;
    });
    let begun = false;
    const pool = makePool({
      max: 1,
      prepare: () => {
        begun = true;
        return hook;
      },
    });
    const asked = [failure(pool.acquire()), failure(pool.query('SELECT 1'))];
    await until(() => begun);
    await pool.drain({ timeoutMillis: 1 });
    goOn(verdict);
    for (const error of await Promise.all(asked)) expect(error.poolCode).toBe('SLUICE_POOL_CLOSED');
  });

  test('a slow hook is no leak of whoever it works for', async () => {
    let slow = true;
    const pool = makePool({
      max: 1,
      leakDetectionMillis: 100,
      leakAction: 'reclaim',
      prepare: () => (slow ? pause(300) : undefined),
    });
    const first = pool.acquire();
    const second = pool.acquire();
    const a = await first;
    slow = false;
    expect((await a.query('SELECT 1 AS n')).rows).toEqual([{ n: 1 }]);
    a.release();
    const b = await second;
    expect([a.live, b.live]).toEqual([false, true]);
    b.release();
    expect(pool.stats().leaks).toBe(0);
  });
});

describe('a released client', () => {
  test('is refused while the pool resets and checks, too', async () => {
    const pool = makePool({ max: 1 });
    const client = await pool.connect();
    await client.query("SET work_mem = '65MB'");
    client.release();
    expect((await failure(client.query("SET application_name = 'stale'"))).poolCode).toBe('SLUICE_STALE_HANDLE');
    expect((await pool.query('SHOW application_name')).rows[0].application_name).not.toBe('stale');
    const checked = pool.check();
    expect((await failure(client.query('BEGIN'))).poolCode).toBe('SLUICE_STALE_HANDLE');
    await checked;
  });
});

describe('what the connect hook says', () => {
  test.each([
    "/* app */ SET application_name = 'hooked'",
    "BEGIN; SET application_name = 'hooked'; COMMIT",
    "SELECT 1; SET application_name = 'hooked'",
  ])('is said again however it begins: %s', async (sql) => {
    const pool = makePool({ max: 1, onConnect: (client: pg.PoolClient) => client.query(sql) });
    await pool.query("SET application_name = 'other'");
    expect((await pool.query('SHOW application_name')).rows[0].application_name).toBe('hooked');
  });

  test.each([
    [['SET ROLE pg_monitor', 'RESET ROLE'], 'SELECT current_user <> session_user AS left'],
    [['BEGIN', 'SET ROLE pg_monitor', 'ROLLBACK'], 'SELECT current_user <> session_user AS left'],
    [
      ["SET statement_timeout = '5s'", 'RESET statement_timeout'],
      "SELECT current_setting('statement_timeout') <> '0' AS left",
    ],
  ])('and takes back is taken back each time: %j', async (sent, look) => {
    const pool = makePool({
      max: 1,
      onConnect: async (client: pg.PoolClient) => {
        for (const sql of sent) await client.query(sql);
      },
    });
    for (let i = 0; i < 2; i++) {
      expect((await pool.query(look)).rows[0].left).toBe(false);
      await pool.query("SET work_mem = '65MB'");
    }
  });

  test('with a callback, or in vain, is not said with it, or again', async () => {
    let called = 0;
    const pool = makePool({
      max: 1,
      onConnect: async (client: pg.PoolClient) => {
        await client.query("SELECT set_config('nope', 'x', false)").catch(() => {});
        await new Promise<void>((resolve) => {
          client.query({
            text: "SET application_name = 'hooked'",
            callback: () => {
              called++;
              resolve();
            },
          } as never);
        });
      },
    });
    for (let i = 0; i < 3; i++) await pool.query("SET work_mem = '65MB'");
    expect((await pool.query('SHOW application_name')).rows[0].application_name).toBe('hooked');
    expect(called).toBe(1);
    expect(pool.stats()).toMatchObject({ opened: 1, resets: 3 });
  });

  test('and fails to say takes nothing from the first holder', async () => {
    const pool = makePool({ max: 1 });
    pool.on('connect', (client) => {
      client.query('SELECT 1', 'no array' as never).catch(() => {});
    });
    await pool.query("SET work_mem = '65MB'");
    expect((await pool.query('SHOW work_mem')).rows[0].work_mem).not.toBe('65MB');
  });
});

test.each(['local.tenant', 'transaction.tenant'])('SET %s is no SET LOCAL', async (name) => {
  const pool = makePool({ max: 1 });
  await pool.query(`SET ${name} = 'mine'`);
  expect((await pool.query(`SELECT current_setting('${name}', true) AS it`)).rows[0].it).not.toBe('mine');
});

test('a statement run by its name alone is known for what it does', async () => {
  const pool = makePool({ max: 1 });
  await pool.query({ name: 'sets', text: "SELECT set_config('work_mem', $1, false)", values: ['65MB'] });
  await pool.query({ name: 'sets', values: ['66MB'] } as never);
  expect((await pool.query('SHOW work_mem')).rows[0].work_mem).not.toBe('66MB');
});

test('a cancel whose connection dies does not wait for it', async () => {
  const pool = makePool({ max: 1, cancelTimeoutMillis: 60_000 });
  const pid = (await pool.query('SELECT pg_backend_pid() AS pid')).rows[0].pid;
  const gone = new AbortController();
  const lease = await pool.acquire();
  const query = failure(lease.query({ text: 'SELECT pg_sleep(30)', signal: gone.signal }));
  await pause(50);
  gone.abort();
  await (await outside()).query('SELECT pg_terminate_backend($1)', [pid]);
  await query;
  lease.release();
  // Cancelled before it was terminated it may be handed out once more.
  await pool.query('SELECT 1').catch(() => {});
  expect((await pool.query('SELECT 1 AS n')).rows).toEqual([{ n: 1 }]);
});

test.each([Number.POSITIVE_INFINITY, 2 ** 31 + 5])('a time of %s is not over at once', async (timeoutMillis) => {
  const pool = makePool({ max: 1, prepare: () => true });
  await pool.wait({ timeoutMillis });
  const lease = await pool.acquire({ deadline: Date.now() + 3_456_000_000 });
  expect((await lease.query({ text: 'SELECT pg_sleep(0.05), 1 AS n', timeoutMillis })).rows[0].n).toBe(1);
  const ended = pool.drain({ timeoutMillis });
  await pause(20);
  expect(lease.live).toBe(true);
  lease.release();
  await ended;
});

test('resize and wait agree about the minimum', async () => {
  const pool = makePool({ max: 5 });
  pool.resize({ min: 3, max: 8 });
  expect([pool.options.min, pool.options.max]).toEqual([3, 8]);
  await pool.wait();
  expect([pool.stats().min, pool.totalCount]).toEqual([3, 3]);
  const few = makePool({ max: 5, min: 5 });
  const waiting = few.wait();
  few.resize({ min: 1, max: 2 });
  await waiting;
  expect(few.stats().min).toBe(1);
});

test('a null pool keeps nothing, reset or not', async () => {
  const pool = makePool({ max: 2, nullPool: true, idleTimeoutMillis: 0 });
  await Promise.all(['SELECT 1', "SET work_mem = '65MB'", 'SELECT 2'].map((sql) => pool.query(sql)));
  await until(() => pool.totalCount === 0);
});

test('a limited query may keep its text in a private field, and its callback in the config', async () => {
  class Statement {
    #text = 'SELECT 5 AS n';
    timeoutMillis = 5_000;
    get text() {
      return this.#text;
    }
  }
  const pool = makePool();
  expect((await pool.query(new Statement())).rows).toEqual([{ n: 5 }]);
  const lease = await pool.acquire();
  const rows = await new Promise((resolve) => {
    void lease.query({
      text: 'SELECT 6 AS n',
      timeoutMillis: 5_000,
      callback: (_error: Error, result: pg.QueryResult) => resolve(result.rows),
    } as never);
  });
  expect(rows).toEqual([{ n: 6 }]);
  lease.release();
});

test('a host that logs in and then says nothing is given up, and the next one tried', async () => {
  const sockets: Socket[] = [];
  const mute = createServer((socket) => {
    sockets.push(socket);
    socket.on('error', () => {});
    socket.once('data', () => socket.write(Buffer.from('R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I', 'latin1')));
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => mute.once('listening', resolve));
  const { port } = mute.address() as { port: number };
  const pool = makePool({ max: 1, dialTimeoutMillis: 300, targetSessionAttrs: 'primary' });
  const { host, port: real } = pool.options as { host: string; port: number };
  await pool.end();
  const two = makePool({
    max: 1,
    dialTimeoutMillis: 300,
    targetSessionAttrs: 'primary',
    hosts: [`127.0.0.1:${port}`, `${host}:${real}`],
  });
  expect((await two.query('SELECT 1 AS n')).rows).toEqual([{ n: 1 }]);
  for (const socket of sockets) socket.destroy();
  mute.close();
});

test('a server that ends the connection right behind its login is noticed', async () => {
  let logins = 0;
  const server = createServer((socket) => {
    logins++;
    socket.on('error', () => {});
    const error = 'SFATAL\0C57P01\0Mgone\0\0';
    const fatal = `E\0\0\0${String.fromCharCode(error.length + 4)}${error}`;
    socket.once('data', () => socket.write(Buffer.from(`R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I${fatal}`, 'latin1')));
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const pool = makePool({ port: (server.address() as { port: number }).port, max: 1, connectionTimeoutMillis: 500 });
  await failure(pool.query('SELECT 1'));
  expect(pool.idleCount).toBe(0);
  expect(logins).toBeGreaterThan(0);
  await pool.drain({ timeoutMillis: 1 });
  server.close();
});

test('a connection that is lost under its prepare hook is not handed out', async () => {
  let times = 0;
  const pool = makePool({
    max: 1,
    prepare: async (client: pg.PoolClient) => {
      if (++times > 1) return true;
      (client as unknown as { connection: { stream: Socket } }).connection.stream.destroy();
      await pause(30);
      return true;
    },
  });
  expect((await pool.query('SELECT 1 AS n')).rows).toEqual([{ n: 1 }]);
  expect(times).toBe(2);
});
