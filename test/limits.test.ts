/** Every limit, and what happens at it. */
import type pg from 'pg';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { Clients } from './support/clients.ts';
import { until } from './support/place.ts';
import { postgres } from './support/postgres.ts';
import { RawClient } from './support/raw.ts';
import { type Sluice, type SluiceOptions, startSluice } from './support/sluice.ts';

const server = postgres();
const at = `host=${server.host} port=${server.port} dbname=postgres`;
let sluice: Sluice;
let clients: Clients;
let direct: Clients;
let watcher: { query(sql: string): Promise<{ rows: any[] }> } | null = null;

beforeAll(async () => {
  direct = new Clients(server);
  const admin = await direct.pg();
  for (const role of ['limit_a', 'limit_b'])
    await admin.query(`create role ${role} login password '${server.password}'`);
  await direct.end();
});

afterEach(async () => {
  await clients.end();
  await direct.end();
  watcher = null;
  await sluice.stop();
});

async function begin(options: SluiceOptions): Promise<void> {
  sluice = await startSluice(server, {
    userlist: [server.user, 'limit_a', 'limit_b'].map((user) => `"${user}" "${server.password}"`).join('\n'),
    ...options,
  });
  clients = new Clients({ ...server, port: sluice.port });
}

/** Server connections that PostgreSQL sees for an application name. */
async function seen(condition = 'true'): Promise<number> {
  watcher ??= await direct.pg();
  const { rows } = await watcher.query(
    `select count(*)::int as n from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid() and ${condition}`,
  );
  return rows[0].n;
}

const holding = async (config = {}) => {
  const client = await clients.pg(config);
  await client.query('begin');
  await client.query('select 1');
  return client;
};

describe('clients', () => {
  test('the one past max_client_conn is told so in a PostgreSQL error', async () => {
    await begin({ settings: 'max_client_conn = 2' });
    const first = await clients.pg();
    await clients.pg();
    await expect(clients.pg()).rejects.toMatchObject({
      severity: 'FATAL',
      code: '53300',
      message: 'no more connections allowed (max_client_conn)',
      detail: expect.stringContaining('max_client_conn is 2'),
    });
    await first.end();
    const again = await clients.pg();
    expect((await again.query('select 1 as n')).rows).toEqual([{ n: 1 }]);
  });
});

describe('servers', () => {
  test('default_pool_size bounds a pool; waiters are served in the order of their coming', async () => {
    await begin({ settings: 'default_pool_size = 2' });
    const [a, b] = [await holding(), await holding()];
    const order: number[] = [];
    const waiting = [];
    for (let i = 0; i < 6; i++) {
      const client = await clients.pg();
      waiting.push(client.query('select pg_sleep(0.02)').then(() => order.push(i)));
    }
    expect(await seen()).toBe(2);
    await a.query('commit');
    await Promise.all(waiting);
    expect(order).toEqual([0, 1, 2, 3, 4, 5]);
    await b.query('commit');
  });

  test('pool_size of a database and of a user: the user’s wins', async () => {
    await begin({
      databases: `postgres = ${at} pool_size=3`,
      users: 'limit_a = pool_size=1',
      settings: 'default_pool_size = 9\nquery_wait_timeout = 1',
    });
    await holding({ user: 'limit_a' });
    await expect(holding({ user: 'limit_a' })).rejects.toMatchObject({ message: 'query_wait_timeout' });
    for (let i = 0; i < 3; i++) await holding();
    await expect(holding()).rejects.toMatchObject({ message: 'query_wait_timeout' });
  });

  test('query_wait_timeout that is changed holds for who waits already, and the error says how long that was', async () => {
    await begin({
      users: 'limit_a = query_wait_timeout=0.5',
      settings: `default_pool_size = 1\nadmin_users = ${server.user}`,
    });
    const admin = await clients.pg({ database: 'pgbouncer' });
    const holder = await holding();
    const waiting = (config?: pg.ClientConfig) =>
      clients.pg(config).then((client) =>
        client.query('select 1 as n').then(
          ({ rows }) => rows,
          ({ message, detail }) => [message, /within .*? \((.*?)\)/.exec(detail)?.[1]],
        ),
      );
    await holding({ user: 'limit_a' });
    expect(await waiting({ user: 'limit_a' })).toEqual(['query_wait_timeout', '0.5 s']);
    const cut = waiting();
    await until(async () => (await admin.query('show pools')).rows.some(({ cl_waiting }) => cl_waiting === 1));
    await admin.query("set query_wait_timeout = '0.8'");
    expect(await cut).toEqual(['query_wait_timeout', '0.8 s']);
    await admin.query('set query_wait_timeout = 2');
    const extended = waiting();
    await until(async () => (await admin.query('show pools')).rows.some(({ cl_waiting }) => cl_waiting === 1));
    await admin.query('set query_wait_timeout = 60');
    await new Promise((resolve) => setTimeout(resolve, 2_400));
    await holder.query('commit');
    expect(await extended).toEqual([{ n: 1 }]);
  });

  test('min_pool_size is opened before anybody asks, for a database with a user of its own', async () => {
    await begin({
      databases: `postgres = ${at} user=limit_b password=${server.password} min_pool_size=3`,
    });
    await until(async () => (await seen("usename = 'limit_b'")) === 3);
  });

  test('a connect_query that fails is logged, and its servers serve', async () => {
    await begin({ databases: `postgres = ${at} connect_query='select no_such_column'` });
    const client = await clients.pg();
    expect((await client.query('select 1 as n')).rows).toEqual([{ n: 1 }]);
    await sluice.waitFor(
      /ERROR S-0x.* error while executing exec_on_query: ERROR: column "no_such_column" does not exist/,
    );
  });

  test('a connect_query that leaves a transaction open costs the connection, and no storm of them', async () => {
    await begin({
      databases: `postgres = ${at} connect_query='begin'`,
      settings: 'query_wait_timeout = 1\nserver_login_retry = 5',
    });
    await expect(clients.pg()).rejects.toThrow();
    expect((await sluice.waitForMany(/new connection to server/, 1)).length).toBeLessThan(10);
  });

  test('the reserve opens after reserve_pool_timeout', async () => {
    await begin({
      settings: 'default_pool_size = 1\nreserve_pool_size = 1\nreserve_pool_timeout = 0.5\nquery_wait_timeout = 3',
    });
    await holding();
    await holding();
    expect(await seen()).toBe(2);
    await expect(holding()).rejects.toMatchObject({ message: 'query_wait_timeout' });
  });

  test('and not before', async () => {
    await begin({
      settings: 'default_pool_size = 1\nreserve_pool_size = 1\nreserve_pool_timeout = 1000\nquery_wait_timeout = 1',
    });
    await holding();
    await expect(holding()).rejects.toMatchObject({ message: 'query_wait_timeout' });
    expect(await seen()).toBe(1);
  });

  test('server_check_query is what a server is asked before its next use', async () => {
    const admin = await direct.pg();
    await admin.query('drop table if exists limits_checked; create table limits_checked (n int)');
    await begin({
      settings: 'server_check_delay = 0\nserver_check_query = insert into limits_checked values (1)',
    });
    const client = await clients.pg();
    for (let i = 0; i < 3; i++) await client.query('select 1');
    expect((await admin.query('select count(*)::int as n from limits_checked')).rows[0].n).toBeGreaterThanOrEqual(2);
    await admin.query('drop table limits_checked');
  });

  test.each([
    [0, 1],
    [1, 3],
  ])('server_round_robin = %i: of three idle servers %i serve', async (roundRobin, serve) => {
    await begin({ settings: `default_pool_size = 3\nserver_round_robin = ${roundRobin}` });
    for (const client of [await holding(), await holding(), await holding()]) await client.query('commit');
    const client = await clients.pg();
    const served = new Set<number>();
    for (let i = 0; i < 6; i++) served.add((await client.query('select pg_backend_pid() as pid')).rows[0].pid);
    expect(served.size).toBe(serve);
  });

  test('max_db_connections holds across the pools of a database; an idle server of one user makes room for another', async () => {
    await begin({ settings: 'max_db_connections = 2\nquery_wait_timeout = 2' });
    const a = await holding({ user: 'limit_a' });
    const b = await holding({ user: 'limit_b' });
    await expect(holding()).rejects.toMatchObject({
      message: 'query_wait_timeout',
      detail: expect.stringMatching(
        /0 in use, size 20, 1 clients waiting\. max_db_connections of postgres is reached: 2 connections of 2\. Held longest by "unnamed application" .*, "unnamed application"/,
      ),
    });
    const late = holding();
    await a.query('commit');
    await late;
    expect(await seen()).toBe(2);
    await b.query('commit');
  });

  test('max_user_connections holds across databases', async () => {
    await begin({
      databases: `one = ${at}\ntwo = ${at}`,
      users: 'limit_a = max_user_connections=1',
      settings: 'query_wait_timeout = 1',
    });
    await holding({ user: 'limit_a', database: 'one', application_name: 'elsewhere' });
    await expect(holding({ user: 'limit_a', database: 'two' })).rejects.toMatchObject({
      message: 'query_wait_timeout',
      detail: expect.stringMatching(/max_user_connections of limit_a is reached: 1 connections of 1\. .*"elsewhere"/),
    });
    await holding({ user: 'limit_b', database: 'two' });
  });
});

describe('waiting too long', () => {
  test('the error says which pool, how many wait, and who holds the servers longest', async () => {
    await begin({ settings: 'default_pool_size = 1\nquery_wait_timeout = 1' });
    await holding({ application_name: 'the hog' });
    await expect(holding({ application_name: 'victim' })).rejects.toMatchObject({
      message: 'query_wait_timeout',
      detail: expect.stringMatching(
        /Pool "postgres\/postgres" .*1 in use, size 1, 1 clients waiting.*"the hog" \(\d+\.\d s, idle in transaction\)/,
      ),
    });
  });

  test('login_notify_message is told to every client, the console’s included', async () => {
    await begin({ settings: `login_notify_message = maintenance at nine\nadmin_users = ${server.user}` });
    for (const database of [server.database, 'pgbouncer']) {
      const { raw, greeting } = await RawClient.login({ ...server, port: sluice.port, database });
      const notices = greeting.filter(({ type }) => type === 'N').map(({ body }) => body.toString());
      expect(notices).toEqual([expect.stringContaining('maintenance at nine')]);
      raw.end();
    }
  });

  test('query_timeout and idle_transaction_timeout end the session, and the server is not handed on', async () => {
    await begin({ settings: 'default_pool_size = 1\nquery_timeout = 1\nidle_transaction_timeout = 1' });
    const slow = await clients.pg();
    await expect(slow.query('select pg_sleep(30)')).rejects.toMatchObject({ message: 'query timeout' });
    await sluice.waitFor(/WARNING C-0x.* pooler error: query timeout/);
    await sluice.waitFor(/LOG S-0x.* closing because: query timeout \(age=/);
    const idle = await holding();
    await new Promise((resolve) => idle.once('end', resolve));
    const next = await clients.pg();
    expect((await next.query('select 1 as n')).rows).toEqual([{ n: 1 }]);
  });
});

describe('max_packet_size', () => {
  test.each([
    ['a row', "select repeat('x', 100), repeat('x', 5000) as big"],
    ['a row among others', "select repeat('x', 10 * n) from generate_series(1, 200) n"],
    ['a row of more than the pooler reads at once', "select repeat('x', 500000)"],
  ])('%s from the server that is larger ends both connections, one that is smaller passes', async (_what, sql) => {
    await begin({ settings: 'max_packet_size = 1000\ndefault_pool_size = 1' });
    const client = await clients.pg();
    const lost = client.query(sql);
    await expect(lost).rejects.toMatchObject({ message: expect.stringContaining('max_packet_size') });
    const next = await clients.pg();
    const many = await next.query("select repeat('x', 900) as x from generate_series(1, 100)");
    expect(many.rows).toHaveLength(100);
  });

  test('changed by RELOAD it holds for servers that are there', async () => {
    await begin({ settings: `max_packet_size = 1000\ndefault_pool_size = 1\nadmin_users = ${server.user}` });
    const client = await clients.pg();
    await client.query('select 1');
    const admin = await clients.pg({ database: 'pgbouncer' });
    await admin.query('SET max_packet_size = 10000');
    expect((await client.query("select repeat('x', 5000) as x")).rows[0].x).toHaveLength(5000);
  });
});

describe('lifetimes', () => {
  test('server_lifetime replaces a server between transactions', async () => {
    await begin({ settings: 'server_lifetime = 1\nserver_idle_timeout = 100' });
    const client = await clients.pg();
    const pid = async () => (await client.query('select pg_backend_pid() as pid')).rows[0].pid;
    const first = await pid();
    await sluice.waitFor(/server lifetime over/);
    expect(await pid()).not.toBe(first);
  });

  test('server_idle_timeout closes unused servers down to min_pool_size', async () => {
    await begin({ settings: 'server_idle_timeout = 1\nmin_pool_size = 1' });
    await Promise.all(Array.from({ length: 3 }, async () => (await clients.pg()).query('select pg_sleep(0.2)')));
    await sluice.waitFor(/(server idle timeout[\s\S]*){2}/);
    // PostgreSQL forgets a backend a moment after its connection has ended.
    await expect.poll(() => seen()).toBe(1);
  });

  test('and those of the minimum stay when the last client has left', async () => {
    await begin({ settings: 'server_idle_timeout = 1\nmin_pool_size = 2' });
    const client = await clients.pg();
    await client.query('select 1');
    await expect.poll(() => seen()).toBe(2);
    await client.end();
    await new Promise((resolve) => setTimeout(resolve, 2_500));
    expect(await seen()).toBe(2);
  });

  test('a server that died while idle is found by the check and replaced unnoticed', async () => {
    await begin({ settings: 'server_check_delay = 0' });
    const client = await clients.pg();
    await client.query('select 1');
    const admin = await direct.pg();
    await admin.query(
      "select pg_terminate_backend(pid) from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()",
    );
    expect((await client.query('select 2 as n')).rows).toEqual([{ n: 2 }]);
  });
});
