/** The admin console: what an operator types, with real clients, over both protocols. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { query } from '@sluice/wire';
import pg from 'pg';
import { afterEach, describe, expect, onTestFinished, test } from 'vitest';
import { Clients } from './support/clients.ts';
import { postgres } from './support/postgres.ts';
import { RawClient } from './support/raw.ts';
import { type Sluice, type SluiceOptions, startSluice } from './support/sluice.ts';

const server = postgres();
let sluice: Sluice;
let clients: Clients;

async function begin(options: SluiceOptions = {}): Promise<void> {
  sluice = await startSluice(server, {
    ...options,
    userlist: `"${server.user}" "${server.password}"\n"boss" "secret"\n"watcher" "secret"\n`,
    settings: `pool_mode = transaction\nadmin_users = boss\nstats_users = watcher\n${options.settings ?? ''}`,
  });
  clients = new Clients({ ...server, port: sluice.port });
}
afterEach(async () => {
  await clients.end();
  await sluice.stop();
});

const open = (user = 'boss') => clients.pg({ user, password: 'secret', database: 'pgbouncer' });
const rows = async (client: pg.Client, sql: string): Promise<Record<string, string>[]> =>
  (await client.query(sql)).rows;
const outcome = (work: Promise<unknown>) =>
  Promise.race([
    work.then(
      () => 'done',
      (error: Error) => error.message,
    ),
    new Promise((resolve) => setTimeout(resolve, 300, 'waits')),
  ]);

describe('who may come in', () => {
  test('admin_users do everything, stats_users look, others stay outside', async () => {
    await begin();
    const watcher = await open('watcher');
    expect((await rows(watcher, 'SHOW POOLS')).length).toBeGreaterThan(0);
    await expect(watcher.query('PAUSE')).rejects.toMatchObject({ message: 'admin access needed', code: '08P01' });
    await expect(watcher.query('SET query_timeout = 1')).rejects.toMatchObject({ message: 'admin access needed' });
    const stranger = new pg.Client({ ...server, port: sluice.port, database: 'pgbouncer' });
    await expect(stranger.connect()).rejects.toMatchObject({ message: 'not allowed' });
    const wrong = new pg.Client({ ...server, port: sluice.port, database: 'pgbouncer', user: 'boss', password: 'no' });
    await expect(wrong.connect()).rejects.toMatchObject({ code: '28P01' });
  });

  test('the daemon’s own user comes in as pgbouncer over the Unix socket without a password', async () => {
    await begin();
    await sluice.stop();
    const dir = mkdtempSync(join(tmpdir(), 'sluice-own-'));
    onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
    sluice = await startSluice(server, { settings: `unix_socket_dir = ${dir}\nauth_type = scram-sha-256` });
    await sluice.waitFor(/listening on unix:/);
    const own = new pg.Client({ host: dir, port: sluice.port, user: 'pgbouncer', database: 'pgbouncer' });
    await own.connect();
    expect(await rows(own, 'SHOW VERSION')).toEqual([{ version: expect.stringMatching(/^Sluice \d/) }]);
    await own.end();
    const overTcp = new pg.Client({ host: '127.0.0.1', port: sluice.port, user: 'pgbouncer', database: 'pgbouncer' });
    await expect(overTcp.connect()).rejects.toThrow();
  });

  test('an operator gets in when the pooler is full', async () => {
    await begin({ settings: 'max_client_conn = 1' });
    await clients.pg();
    await expect(clients.pg()).rejects.toThrow('no more connections allowed (max_client_conn)');
    expect((await rows(await open(), 'SHOW CLIENTS')).length).toBe(2);
  });
});

describe('what it shows', () => {
  test('every view has rows or none, and columns of their own types', async () => {
    await begin();
    const client = await clients.pg({ application_name: 'the shop' });
    await client.query('begin');
    const admin = await open();
    const views =
      'ACTIVE_SOCKETS CLIENTS CONFIG DATABASES DNS_HOSTS DNS_ZONES LISTS MEM PEERS PEER_POOLS POOLS SERVERS SOCKETS STATE STATS STATS_AVERAGES STATS_TOTALS TOTALS USERS VERSION';
    for (const view of views.split(' ')) {
      const simple = await admin.query(`SHOW ${view};`);
      const extended = await admin.query({ text: `SHOW ${view}`, values: [] });
      expect(simple.command).toBe('SHOW');
      expect(simple.fields.length).toBeGreaterThan(0);
      expect(extended.fields.map(({ name, dataTypeID }) => [name, dataTypeID])).toEqual(
        simple.fields.map(({ name, dataTypeID }) => [name, dataTypeID]),
      );
    }
    const [row] = (await rows(admin, 'SHOW CLIENTS')).filter(({ application_name }) => application_name === 'the shop');
    expect(row).toMatchObject({ type: 'C', user: server.user, database: 'postgres', state: 'active' });
    const [held] = (await rows(admin, 'SHOW SERVERS')).filter(({ link }) => link === row!.ptr);
    expect(held).toMatchObject({ type: 'S', state: 'active', ptr: row!.link });
    expect((await rows(admin, 'SHOW POOLS')).find(({ database }) => database === 'postgres')).toMatchObject({
      cl_active: 1,
      sv_active: 1,
      pool_mode: 'transaction',
    });
    expect((await rows(admin, 'SHOW DATABASES')).map(({ name }) => name)).toEqual(['pgbouncer', 'postgres']);
    const users = (await rows(admin, 'SHOW USERS')).map(({ name }) => name);
    expect(users).toEqual(expect.arrayContaining(['watcher', 'pgbouncer']));
  });

  test('users that databases name are there from the start, in auth_file or not', async () => {
    const at = `host=${server.host} port=${server.port}`;
    await begin({ databases: `a = ${at} user=forced_one\nb = ${at} auth_user=asking_one` });
    const names = (await rows(await open(), 'SHOW USERS')).map(({ name }) => name);
    expect(names).toEqual(expect.arrayContaining(['asking_one', 'boss', 'forced_one', 'pgbouncer']));
    expect(names).toEqual([...names].sort());
  });

  test('consoles have their address behind their name, too, with application_name_add_host', async () => {
    await begin({ settings: 'application_name_add_host = 1' });
    const [row] = await rows(
      await clients.pg({ user: 'boss', password: 'secret', database: 'pgbouncer' }),
      'SHOW CLIENTS',
    );
    expect(row!.application_name).toBe(`app - 127.0.0.1:${row!.port}`);
  });

  test('a login that waits for its first server counts as waiting, too', async () => {
    await begin();
    const admin = await open();
    await admin.query('PAUSE');
    const login = clients.pg();
    await expect
      .poll(async () => (await rows(admin, 'SHOW POOLS')).find(({ database }) => database === 'postgres')?.cl_waiting)
      .toBe(1);
    await admin.query('RESUME');
    await login;
    const [stats] = (await rows(admin, 'SHOW STATS_TOTALS')).filter(({ database }) => database === 'postgres');
    expect(Number(stats!.wait_time)).toBeGreaterThan(0);
  });

  test('counts what passes', async () => {
    await begin();
    const client = await clients.pg();
    await client.query('begin');
    await client.query('select 1');
    await client.query('commit');
    await client.query('select 2');
    const admin = await open();
    const [stats] = (await rows(admin, 'SHOW STATS_TOTALS')).filter(({ database }) => database === 'postgres');
    expect(stats).toMatchObject({
      xact_count: '2',
      query_count: '4',
      server_assignment_count: '2',
      client_login_count: '1',
    });
    expect(Number(stats!.bytes_sent)).toBeGreaterThan(50);
  });

  test('times what passes, also where nothing else goes on', async () => {
    await begin();
    const client = await clients.pg();
    await client.query('select pg_sleep(0.2)');
    const admin = await open();
    const [stats] = (await rows(admin, 'SHOW STATS_TOTALS')).filter(({ database }) => database === 'postgres');
    for (const name of ['query_time', 'xact_time']) expect(Number(stats![name])).toBeGreaterThanOrEqual(199_000);
  });

  test('what it does not know is an error that says so, and the session goes on', async () => {
    await begin();
    const admin = await open();
    for (const sql of ['SHOW nothing', 'DROP TABLE x', 'SHOW POOLS; SHOW CLIENTS', 'RELOAD now', 'SHUTDOWN maybe'])
      await expect(admin.query(sql)).rejects.toMatchObject({
        message: `invalid command '${sql}', use SHOW HELP;`,
        code: '08P01',
      });
    await expect(admin.query({ text: 'SHOW $1', values: ['POOLS'] })).rejects.toThrow(/takes no parameters/);
    expect((await admin.query('')).rows).toEqual([]);
    expect(await rows(admin, 'show client_encoding')).toEqual([{ client_encoding: 'UTF-8' }]);
    expect((await admin.query("SET client_encoding = 'UTF8'")).command).toBe('SET');
  });
});

describe('PAUSE and RESUME', () => {
  test('PAUSE waits for the transaction under way, holds the next, and RESUME lets it go on', async () => {
    await begin();
    const client = await clients.pg();
    await client.query('begin');
    const admin = await open();
    const paused = admin.query('PAUSE');
    expect(await outcome(paused)).toBe('waits');
    await client.query('commit');
    await paused;
    const held = client.query('select 5 as n');
    expect(await outcome(held)).toBe('waits');
    const second = await open();
    expect((await rows(second, 'SHOW STATE')).find(({ value }) => value === 'yes')).toMatchObject({ key: 'paused' });
    expect((await rows(second, 'SHOW SERVERS')).length).toBe(0);
    await expect(second.query('PAUSE')).rejects.toThrow('already suspended/paused');
    await second.query('RESUME');
    expect((await held).rows).toEqual([{ n: 5 }]);
    await expect(second.query('RESUME')).rejects.toThrow('pooler is not paused/suspended');
  });

  test('who waits too long for a paused pool hears what to type', async () => {
    await begin({ settings: 'query_wait_timeout = 0.5' });
    const client = await clients.pg();
    client.on('error', () => {});
    const admin = await open();
    await admin.query('PAUSE');
    await expect(client.query('select 1')).rejects.toMatchObject({
      message: 'query_wait_timeout',
      detail: expect.stringContaining(`Pool "postgres/${server.user}" is paused`),
      hint: 'Type RESUME in the console, or RESUME postgres where only that database is paused.',
    });
    // So does who waits for its first server.
    await admin.query('RECONNECT');
    await expect(clients.pg({ database: 'template1' })).rejects.toMatchObject({
      hint: expect.stringContaining('RESUME template1'),
    });
  });

  test('of one database, the others go on', async () => {
    await begin({
      databases: `a = host=${server.host} port=${server.port} dbname=postgres\nb = host=${server.host} port=${server.port} dbname=postgres`,
    });
    const [a, b] = [await clients.pg({ database: 'a' }), await clients.pg({ database: 'b' })];
    const admin = await open();
    await admin.query('PAUSE a');
    const held = a.query('select 1 as n');
    expect((await b.query('select 2 as n')).rows).toEqual([{ n: 2 }]);
    expect(await outcome(held)).toBe('waits');
    await admin.query('RESUME a');
    expect((await held).rows).toEqual([{ n: 1 }]);
    await expect(admin.query('RESUME a')).rejects.toThrow('database a is not paused');
    await expect(admin.query('PAUSE nosuch')).rejects.toThrow('no such database: nosuch');
  });

  test('what is waited for elsewhere is not broken off by a RESUME of another database', async () => {
    const at = `host=${server.host} port=${server.port} dbname=postgres`;
    await begin({ databases: `one = ${at}\ntwo = ${at}` });
    const [a, b, c] = [await open(), await open(), await open()];
    const busy = [await clients.pg({ database: 'one' }), await clients.pg({ database: 'two' })];
    for (const client of busy) await client.query('begin');
    const pause = a.query('pause two');
    const other = b.query('pause one').then(
      () => 'done',
      (error: Error) => error.message,
    );
    expect(await outcome(pause)).toBe('waits');
    await c.query('resume one');
    expect(await other).toBe('canceled by RESUME');
    expect(await outcome(pause)).toBe('waits');
    await busy[1]!.query('commit');
    await pause;
    await c.query('resume two');

    await c.query('reconnect one');
    const close = a.query('wait_close one');
    expect(await outcome(close)).toBe('waits');
    await c.query('pause two');
    await c.query('resume two');
    expect(await outcome(close)).toBe('waits');
    await busy[0]!.query('commit');
    await close;
  });

  test('who does not read what it is owed is dropped by a SUSPEND, and the log says why', async () => {
    await begin({ settings: 'suspend_timeout = 1\nlog_disconnections = 1' });
    const { raw } = await RawClient.login({ ...server, port: sluice.port });
    raw.socket.pause();
    raw.send(query("select repeat('x', 1000) from generate_series(1, 200000)"));
    const admin = await open();
    for (;;) {
      const row = (await rows(admin, 'SHOW CLIENTS')).find(({ database }) => database === server.database);
      if (row?.state === 'active') break;
    }
    await new Promise((resolve) => setTimeout(resolve, 300));
    await admin.query('SUSPEND');
    await sluice.waitFor(/closing because: suspend_timeout \(age=/);
    await admin.query('RESUME');
  });

  test('SUSPEND keeps everything as it is, and a console that leaves resumes', async () => {
    await begin();
    const client = await clients.pg();
    await client.query('begin');
    await client.query("select set_config('a.b', 'kept', true)");
    const admin = await open();
    await admin.query('SUSPEND');
    const held = client.query("select current_setting('a.b') as v");
    expect(await outcome(held)).toBe('waits');
    await admin.end();
    expect((await held).rows).toEqual([{ v: 'kept' }]);
    await sluice.waitFor(/admin disappeared when suspended, doing RESUME/);
  });
});

test('a client that leaves while it waits for its first server leaves the queue', async () => {
  await begin();
  const admin = await open();
  await admin.query('PAUSE');
  const early = new pg.Client({ ...server, port: sluice.port });
  const refused = early.connect().catch(() => 'refused');
  const waiting = async () =>
    (await rows(admin, 'SHOW POOLS')).find(({ database }) => database === 'postgres')?.cl_waiting;
  await expect.poll(waiting).toBe(1);
  (early as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy();
  await expect.poll(waiting).toBe(0);
  await refused;
});

describe('taking hold of databases and clients', () => {
  test('DISABLE refuses new clients and leaves those that are there; ENABLE takes it back', async () => {
    await begin();
    const old = await clients.pg();
    const admin = await open();
    await admin.query('DISABLE postgres');
    await expect(clients.pg()).rejects.toThrow('database "postgres" is disabled');
    expect((await old.query('select 1 as n')).rows).toEqual([{ n: 1 }]);
    await admin.query('ENABLE postgres');
    await clients.pg();
    await expect(admin.query('DISABLE')).rejects.toThrow('a database is required');
    const verbs = { DISABLE: 'disable', ENABLE: 'enable', PAUSE: 'pause', KILL: 'kill', WAIT_CLOSE: 'wait in' };
    for (const [command, verb] of Object.entries(verbs))
      await expect(admin.query(`${command} pgbouncer`)).rejects.toThrow(`cannot ${verb} admin db: pgbouncer`);
    await expect(admin.query('RESUME pgbouncer')).rejects.toThrow('database pgbouncer is not paused');
  });

  test('RECONNECT replaces servers as they come free, and WAIT_CLOSE waits for that', async () => {
    await begin();
    const pid = async (client: pg.Client) => (await client.query('select pg_backend_pid() as p')).rows[0].p;
    const client = await clients.pg();
    await client.query('begin');
    const before = await pid(client);
    const admin = await open();
    await admin.query('RECONNECT');
    const closed = admin.query('WAIT_CLOSE postgres');
    expect(await pid(client)).toBe(before);
    expect(await outcome(closed)).toBe('waits');
    await client.query('commit');
    await closed;
    expect(await pid(client)).not.toBe(before);
  });

  test('KILL drops clients and servers and leaves the database paused', async () => {
    await begin();
    const client = await clients.pg();
    await client.query('begin');
    const ended = new Promise((resolve) => client.once('end', resolve));
    const admin = await open();
    await admin.query('KILL postgres');
    await ended;
    expect((await rows(admin, 'SHOW POOLS')).map(({ database }) => database)).toEqual(['pgbouncer']);
    expect((await rows(admin, 'SHOW DATABASES')).find(({ name }) => name === 'postgres')).toMatchObject({ paused: 1 });
    await admin.query('RESUME postgres');
    expect((await (await clients.pg()).query('select 1 as n')).rows).toEqual([{ n: 1 }]);
  });

  test('KILL_CLIENT ends one client by its number', async () => {
    await begin();
    const [one, other] = [await clients.pg({ application_name: 'one' }), await clients.pg()];
    const ended = new Promise((resolve) => one.once('end', resolve));
    const admin = await open();
    const [row] = (await rows(admin, 'SHOW CLIENTS')).filter(({ application_name }) => application_name === 'one');
    await admin.query(`KILL_CLIENT ${row!.id}`);
    await ended;
    expect((await other.query('select 1 as n')).rows).toEqual([{ n: 1 }]);
    await expect(admin.query('KILL_CLIENT 999999')).rejects.toThrow('client not found');
    await expect(admin.query('KILL_CLIENT x')).rejects.toThrow('invalid client pointer supplied');
  });
});

test('what a console had sent is not done any more when KILL_CLIENT has ended it', async () => {
  await begin();
  const client = await clients.pg();
  await client.query('begin');
  const admin = await open();
  const { raw } = await RawClient.login({
    ...server,
    port: sluice.port,
    user: 'boss',
    password: 'secret',
    database: 'pgbouncer',
  });
  raw.send(query('PAUSE'), query(`DISABLE ${server.database}`));
  await sluice.waitFor(/PAUSE command issued/);
  // The youngest client.
  const ids = (await rows(admin, 'SHOW CLIENTS'))
    .filter(({ database }) => database === 'pgbouncer')
    .map(({ id }) => Number(id));
  await admin.query(`KILL_CLIENT ${Math.max(...ids)}`);
  await raw.until('E');
  await client.query('commit');
  await admin.query('RESUME').catch(() => {});
  await client.query('select 1');
  expect(sluice.output()).not.toMatch(/DISABLE .*command issued/);
  raw.end();
});

describe('SET and RELOAD', () => {
  test('SET applies at once, and refuses what makes no sense', async () => {
    await begin();
    const admin = await open();
    expect((await admin.query("SET query_timeout = '1'")).command).toBe('SET');
    expect((await rows(admin, 'SHOW CONFIG')).find(({ key }) => key === 'query_timeout')).toMatchObject({ value: '1' });
    const client = await clients.pg();
    await expect(client.query('select pg_sleep(30)')).rejects.toThrow('query timeout');
    await expect(admin.query('SET query_timeout = soon')).rejects.toThrow(/SET failed.*query_timeout/);
    await expect(admin.query('SET listen_port = 1')).rejects.toThrow(/restart/);
    await expect(admin.query('SET no_such_thing = 1')).rejects.toThrow(/unknown parameter/);
  });

  test('RELOAD takes new databases, users and sizes, drops what is gone, and changes nothing when a line is wrong', async () => {
    await begin({
      databases: `a = host=${server.host} port=${server.port} dbname=postgres\nb = host=${server.host} port=${server.port} dbname=postgres`,
    });
    const file = join(sluice.dir, 'sluice.ini');
    const before = readFileSync(file, 'utf8');
    const [a, b] = [await clients.pg({ database: 'a' }), await clients.pg({ database: 'b' })];
    const gone = new Promise((resolve) => b.once('end', resolve));
    const admin = await open();
    writeFileSync(file, `${before}\npool_mode = never\n`);
    await expect(admin.query('RELOAD')).rejects.toMatchObject({
      message: 'RELOAD failed, see logs for additional details',
      code: 'F0000',
    });
    await sluice.waitFor(/invalid value "never" for parameter pool_mode/);
    expect((await b.query('select 1 as n')).rows).toEqual([{ n: 1 }]);
    writeFileSync(file, before.replace(/^b = /m, 'c = ').replace(/^a = (.*)$/m, 'a = $1 pool_size=3'));
    writeFileSync(join(sluice.dir, 'userlist.txt'), `"${server.user}" "${server.password}"\n"boss" "changed"\n`);
    await admin.query('RELOAD');
    await gone;
    expect((await a.query('select 1 as n')).rows).toEqual([{ n: 1 }]);
    expect((await rows(admin, 'SHOW DATABASES')).map(({ name, pool_size }) => [name, pool_size])).toEqual([
      ['a', 3],
      ['c', 20],
      ['pgbouncer', 2],
    ]);
    await sluice.waitFor(/WARNING dropping database 'b' as it does not exist anymore/);
    await expect(clients.pg({ database: 'b' })).rejects.toThrow('no such database: b');
    await expect(open()).rejects.toThrow(/authentication failed/);
  });

  test.each([
    ['pool_mode', 'session', 'transaction', ''],
    ['pool_mode', 'session', 'transaction', 'session_state = follow'],
    ['session_state', 'pgbouncer', 'follow', ''],
    ['session_state', 'pgbouncer', 'refuse', ''],
  ])(
    'what a client had left while %s was %s is not there for others when it is %s (%s)',
    async (name, before, after, more) => {
      await begin({ settings: `${more}\ndefault_pool_size = 1\n${name} = ${before}` });
      const [first, boss] = [await clients.pg(), await open()];
      await first.query('set role pg_monitor; create temp table left_behind (n int); select pg_advisory_lock(77)');
      const ini = join(sluice.dir, 'sluice.ini');
      writeFileSync(ini, readFileSync(ini, 'utf8').replace(`${name} = ${before}`, `${name} = ${after}`));
      await boss.query('reload');
      await first.query('select 1').catch(() => {});
      const second = await clients.pg();
      const { rows: seen } = await second.query(
        `select current_user as who, to_regclass('left_behind') as it,
        (select count(*)::int from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()) as locks`,
      );
      expect(seen[0]).toEqual({ who: server.user, it: null, locks: 0 });
    },
  );

  test('a changed address moves the pool', async () => {
    await begin({ databases: `a = host=${server.host} port=${server.port} dbname=postgres` });
    const client = await clients.pg({ database: 'a' });
    expect((await client.query('select current_database() as d')).rows).toEqual([{ d: 'postgres' }]);
    const file = join(sluice.dir, 'sluice.ini');
    writeFileSync(file, readFileSync(file, 'utf8').replace('dbname=postgres', 'dbname=template1'));
    sluice.signal('SIGHUP');
    await sluice.waitFor(/RELOAD: the configuration and the files/);
    expect((await client.query('select current_database() as d')).rows).toEqual([{ d: 'template1' }]);
  });
});

describe('limits on clients', () => {
  test('of one database and of one user, counted from the login on', async () => {
    await begin({
      databases: `a = host=${server.host} port=${server.port} dbname=postgres max_db_client_connections=1\n* = host=${server.host} port=${server.port}`,
      users: `${server.user} = max_user_client_connections=2`,
    });
    const first = await clients.pg({ database: 'a' });
    await expect(clients.pg({ database: 'a' })).rejects.toThrow(
      'client connections exceeded (max_db_client_connections)',
    );
    await clients.pg();
    await expect(clients.pg()).rejects.toThrow('client connections exceeded (max_user_client_connections)');
    await first.end();
    await expect.poll(() => clients.pg({ database: 'a' }).then(() => 'in')).toBe('in');
  });
});
