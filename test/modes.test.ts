/** What each pooling mode keeps together, and what it shares. */
import { cancelRequest, parseBackendKeyData, query, terminate } from '@sluice/wire';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { Clients } from './support/clients.ts';
import { postgres } from './support/postgres.ts';
import { RawClient } from './support/raw.ts';
import { type Sluice, startSluice } from './support/sluice.ts';

const server = postgres();
let sluice: Sluice;
let clients: Clients;

beforeAll(async () => {
  const at = `host=${server.host} port=${server.port} dbname=postgres`;
  sluice = await startSluice(server, {
    databases: [
      `transaction = ${at} pool_size=1`,
      `session = ${at} pool_mode=session pool_size=1`,
      `statement = ${at} pool_mode=statement pool_size=1`,
      `peruser = ${at} pool_mode=session pool_size=1`,
    ].join('\n'),
    users: `${server.user} = \nmodes_other = pool_mode=transaction`,
    userlist: [server.user, 'modes_other'].map((user) => `"${user}" "${server.password}"`).join('\n'),
    settings: 'server_idle_timeout = 600',
  });
  clients = new Clients({ ...server, port: sluice.port });
  const direct = new Clients(server);
  const admin = await direct.pg();
  await admin.query(
    `do $$ begin create role modes_other login password '${server.password}'; exception when duplicate_object then null; end $$`,
  );
  await direct.end();
});

afterEach(() => clients.end());
afterAll(() => sluice.stop());

const backend = async (client: { query(sql: string): Promise<{ rows: any[] }> }): Promise<number> =>
  (await client.query('select pg_backend_pid() as pid')).rows[0].pid;

test('a user’s mode wins over the database’s', async () => {
  const [a, b] = [
    { database: 'peruser', user: 'modes_other' },
    { database: 'peruser', user: 'modes_other' },
  ];
  const [one, other] = [await clients.pg(a), await clients.pg(b)];
  // In session mode the first would keep the only server.
  expect(await backend(one)).toBe(await backend(other));
});

describe('transaction mode', () => {
  test('two clients share one server, each transaction whole', async () => {
    const [a, b] = [await clients.pg({ database: 'transaction' }), await clients.pg({ database: 'transaction' })];
    await a.query('begin');
    const first = await backend(a);
    const waiting = backend(b);
    expect(await backend(a)).toBe(first);
    await a.query('commit');
    expect(await waiting).toBe(first);
  });

  test('an error leaves the transaction with its client until it rolls back', async () => {
    const [a, b] = [await clients.pg({ database: 'transaction' }), await clients.pg({ database: 'transaction' })];
    await a.query('begin');
    await expect(a.query('select 1/0')).rejects.toMatchObject({ code: '22012' });
    await expect(a.query('select 1')).rejects.toMatchObject({ code: '25P02' });
    const other = b.query('select 7 as n');
    await a.query('rollback');
    expect((await other).rows).toEqual([{ n: 7 }]);
  });

  test('settings that PostgreSQL reports follow the client, and no other client sees them', async () => {
    const a = await clients.pg({ database: 'transaction', application_name: 'first' });
    const b = await clients.pg({ database: 'transaction', application_name: 'second' });
    await a.query("set timezone = 'Asia/Tokyo'");
    await b.query("set datestyle = 'German'; set intervalstyle = 'iso_8601'");
    const show =
      "select current_setting('TimeZone') tz, current_setting('DateStyle') ds, current_setting('IntervalStyle') i, current_setting('application_name') app";
    for (let round = 0; round < 10; round++) {
      expect((await a.query(show)).rows[0]).toMatchObject({
        tz: 'Asia/Tokyo',
        ds: 'ISO, MDY',
        i: 'postgres',
        app: 'first',
      });
      expect((await b.query(show)).rows[0]).toMatchObject({ ds: 'German, DMY', i: 'iso_8601', app: 'second' });
    }
  });

  test('a setting in other words than PostgreSQL reports it in is given to a server once', async () => {
    const own = await startSluice(server, { settings: 'default_pool_size = 1\nverbose = 2' });
    const mine = new Clients({ ...server, port: own.port });
    const client = await mine.pg({ options: '-c DateStyle=ISO -c TimeZone=utc' });
    const other = await mine.pg();
    for (let round = 0; round < 3; round++) {
      await other.query("set timezone = 'UTC'");
      expect((await client.query('show datestyle')).rows[0].DateStyle).toBe('ISO, MDY');
    }
    await mine.end();
    await own.stop();
    expect(own.output().match(/DateStyle to its canonical version ISO -> ISO, MDY/g)).toHaveLength(1);
    expect(own.output().match(/varcache_apply: .*SET DateStyle='ISO'/g)).toHaveLength(1);
  });

  test('what is asked for in options and by a parameter of its own is as the parameter says, as in PostgreSQL', async () => {
    const asked = { options: '-c application_name=by-options -c TimeZone=Asia/Tokyo', application_name: 'by-name' };
    const show = "select current_setting('application_name') as app, current_setting('TimeZone') as tz";
    const through = await clients.pg({ database: 'transaction', ...asked });
    const direct = new Clients(server);
    for (const client of [through, await direct.pg(asked)]) {
      expect((await client.query(show)).rows[0]).toEqual({ app: 'by-name', tz: 'Asia/Tokyo' });
    }
    await direct.end();
  });

  test('a setting with quotes and letters beyond ASCII reaches the next server unharmed', async () => {
    const name = `it's "quoted" \\ and ; drop`;
    const a = await clients.pg({ database: 'transaction', application_name: name });
    const b = await clients.pg({ database: 'transaction', application_name: 'plain' });
    const show = "select current_setting('application_name') as app";
    for (let round = 0; round < 3; round++) {
      expect((await a.query(show)).rows[0].app).toBe(name);
      expect((await b.query(show)).rows[0].app).toBe('plain');
    }
  });

  test('named prepared statements survive a change of server', async () => {
    const [a, b] = [await clients.pg({ database: 'transaction' }), await clients.pg({ database: 'transaction' })];
    for (let round = 1; round <= 5; round++) {
      const mine = await a.query({ name: 'same-name', text: 'select $1::int + 1 as n', values: [round] });
      const theirs = await b.query({ name: 'same-name', text: 'select $1::int * 10 as n', values: [round] });
      expect([mine.rows[0].n, theirs.rows[0].n]).toEqual([round + 1, round * 10]);
    }
  });
});

describe('session mode', () => {
  test('a client keeps its server until it leaves, and the next one finds it clean', async () => {
    const a = await clients.pg({ database: 'session' });
    const pid = await backend(a);
    await a.query('create temp table mine (n int)');
    await a.query("set work_mem = '7MB'");
    const b = await clients.pg({ database: 'session' });
    const later = b.query(
      "select current_setting('work_mem') as mem, to_regclass('pg_temp.mine') as t, pg_backend_pid() as pid",
    );
    await a.end();
    expect((await later).rows[0]).toEqual({ mem: '4MB', t: null, pid });
  });

  test('a client that cancels and leaves at once leaves a clean server behind, too', async () => {
    const at = { ...server, port: sluice.port, database: 'session' };
    for (let round = 0; round < 10; round++) {
      const { raw, greeting } = await RawClient.login(at);
      raw.send(query("set work_mem = '7MB'"));
      await raw.until('Z');
      const { body } = greeting.find(({ type }) => type === 'K')!;
      const { pid, key } = parseBackendKeyData(body, 0, body.length);
      const other = await RawClient.connect(sluice.host, sluice.port);
      other.send(cancelRequest(pid, key));
      raw.send(terminate());
      const next = await clients.pg({ database: 'session' });
      expect((await next.query("select current_setting('work_mem') as mem")).rows).toEqual([{ mem: '4MB' }]);
      await next.end();
      other.end();
    }
  });

  test('notifications reach the listening client', async () => {
    const a = await clients.pg({ database: 'session' });
    const heard = new Promise((resolve) => a.once('notification', (n) => resolve([n.channel, n.payload])));
    await a.query('listen news');
    await a.query("select pg_notify('news', 'hello')");
    expect(await heard).toEqual(['news', 'hello']);
  });

  test('an open transaction is rolled back for the next client', async () => {
    const a = await clients.pg({ database: 'session' });
    await a.query('create table if not exists leftovers (n int)');
    await a.query('begin');
    await a.query('insert into leftovers values (1)');
    await a.end();
    const b = await clients.pg({ database: 'session' });
    expect((await b.query('select count(*)::int as n from leftovers')).rows[0].n).toBe(0);
  });
});

describe('statement mode', () => {
  test('single statements work', async () => {
    const a = await clients.pg({ database: 'statement' });
    expect((await a.query('select 1 as n')).rows[0].n).toBe(1);
  });

  test('a transaction block is refused and the client disconnected', async () => {
    const a = await clients.pg({ database: 'statement' });
    const gone = new Promise((resolve) => a.once('end', resolve));
    await a.query('begin').catch(() => {});
    await gone;
    const b = await clients.pg({ database: 'statement' });
    expect((await b.query('select 2 as n')).rows[0].n).toBe(2);
  });

  test.each([
    ['a whole one in one packet', ['begin', 'select 5', 'commit'], 'CE'],
    ['one behind a statement', ['select 4', 'begin', 'select 5'], 'TDCZCE'],
  ])('and is not told that it has one: %s', async (_, texts, told) => {
    const { raw } = await RawClient.login({ ...server, port: sluice.port, database: 'statement' });
    raw.send(...texts.map((text) => query(text)));
    const seen: string[] = [];
    for (let message = await raw.next(); message !== null; message = await raw.next()) seen.push(message.type);
    expect(seen.join('')).toBe(told);
    const b = await clients.pg({ database: 'statement' });
    expect((await b.query('select now() = statement_timestamp() as alone')).rows[0].alone).toBe(true);
  });
});
