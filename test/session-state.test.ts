/** session_state in transaction mode: what a client did to its session follows it, pins its server, or is refused. */
import * as wire from '@sluice/wire';
import type pg from 'pg';
import { afterEach, describe, expect, test } from 'vitest';
import type { Clients } from './support/clients.ts';
import { postgres } from './support/postgres.ts';
import { errorOf, RawClient, types } from './support/raw.ts';
import type { Sluice } from './support/sluice.ts';
import { startOnTwo } from './support/two-servers.ts';

const server = postgres();
let sluice: Sluice;
let clients: Clients;

async function begin(settings = ''): Promise<void> {
  ({ sluice, clients } = await startOnTwo(server, settings));
}
afterEach(async () => {
  await clients.end();
  await sluice.stop();
});

async function value(client: pg.Client, sql: string, params: unknown[] = []): Promise<unknown> {
  const { rows } = await client.query(sql, params);
  return rows[0] === undefined ? undefined : Object.values(rows[0])[0];
}

const pid = (client: pg.Client) => value(client, 'select pg_backend_pid()');

async function pins(): Promise<Record<string, unknown>[]> {
  const console = await clients.pg({ database: 'pgbouncer' });
  const { rows } = await console.query('show pins');
  await console.end();
  return rows;
}

describe('settings follow their client', () => {
  test.each([
    ['SET', "set statement_timeout = '12s'", 'statement_timeout', '12s'],
    ['SET SESSION', 'set session work_mem to 12345', 'work_mem', '12345kB'],
    ['a custom setting', "set app.tenant = 'münchen'", 'app.tenant', 'münchen'],
    ['set_config', "select set_config('app.tenant', 'a ''quoted'' one\\', false)", 'app.tenant', "a 'quoted' one\\"],
    ['a list', 'set search_path = "$user", public, pg_catalog', 'search_path', '"$user", public, pg_catalog'],
    [
      'SESSION CHARACTERISTICS',
      'set session characteristics as transaction read only',
      'default_transaction_read_only',
      'on',
    ],
    ['a role', 'set role pg_read_all_stats', 'role', 'pg_read_all_stats'],
    ['one in a transaction', 'begin; set enable_seqscan = off; commit', 'enable_seqscan', 'off'],
    ['one behind comments', '/* x */ set -- y\n enable_sort = off', 'enable_sort', 'off'],
    [
      'one in a procedure',
      "create or replace procedure sets_jit() language plpgsql as $$ begin perform set_config('jit', 'off', false); end $$; call sets_jit()",
      'jit',
      'off',
    ],
    [
      'one in a DO block',
      "do $$ begin perform set_config('jit', 'off', false); set enable_material = off; end $$",
      'enable_material',
      'off',
    ],
  ])('%s', async (_what, statement, name, expected) => {
    await begin();
    const [a, b] = [await clients.pg(), await clients.pg()];
    const before = await value(b, `select current_setting('${name}', true)`);
    await a.query(statement);
    const seen = new Set();
    for (let i = 0; i < 6; i++) {
      seen.add(await pid(a));
      expect(await value(a, `select current_setting('${name}', true)`)).toBe(expected);
      expect((await value(b, `select current_setting('${name}', true)`)) || null).toBe(before || null);
    }
    expect(seen.size).toBe(2);
  });

  test('what is not in force any more is not carried along', async () => {
    await begin();
    const a = await clients.pg();
    const now = () => value(a, "select current_setting('statement_timeout')");
    await a.query('begin; set statement_timeout = 1000; rollback');
    expect(await now()).toBe('0');
    await a.query('begin; set local statement_timeout = 1000; commit');
    expect(await now()).toBe('0');
    await a.query(
      'begin; set statement_timeout = 1000; savepoint s; set statement_timeout = 2000; rollback to s; commit',
    );
    for (let i = 0; i < 3; i++) expect(await now()).toBe('1s');
    await a.query('reset statement_timeout');
    for (let i = 0; i < 3; i++) expect(await now()).toBe('0');
    await a.query("set statement_timeout = 1000; set work_mem = '7MB'");
    await a.query('reset all');
    for (let i = 0; i < 3; i++) expect(await now()).toBe('0');
    await a.query("set work_mem = '7MB'");
    await a.query('discard all');
    for (let i = 0; i < 3; i++) expect(await value(a, "select current_setting('work_mem')")).toBe('4MB');
  });

  test('in the extended protocol, with parameters and as a named statement', async () => {
    await begin();
    const a = await clients.pg();
    await a.query('select set_config($1::text, $2, false)', ['app.x', 'one']).catch(() => {});
    await a.query("select set_config('app.y', $1, false)", ['two']);
    for (let i = 0; i < 3; i++) expect(await value(a, "select current_setting('app.y')")).toBe('two');
    const named = { name: 'tenant', text: "select set_config('app.z', $1, false)" };
    for (const tenant of ['red', 'blue', 'green']) {
      await a.query({ ...named, values: [tenant] });
      for (let i = 0; i < 3; i++) expect(await value(a, "select current_setting('app.z')")).toBe(tenant);
    }
  });

  test('a role and its rights come and go with the client, whatever was set under it', async () => {
    await begin();
    const [a, b] = [await clients.pg(), await clients.pg()];
    await a.query("set role pg_monitor; set app.x = 'by monitor'");
    await b.query('set session authorization pg_signal_backend');
    for (let i = 0; i < 4; i++) {
      expect(await value(a, "select current_user || ' ' || current_setting('app.x')")).toBe('pg_monitor by monitor');
      expect(await value(b, "select session_user || ' ' || current_user")).toBe('pg_signal_backend pg_signal_backend');
    }
    await b.query('reset session authorization');
    expect(await value(b, 'select session_user')).toBe(server.user);
    expect(await value(a, 'select current_user')).toBe('pg_monitor');
  });

  test('startup parameters and options are applied to whichever server serves the client', async () => {
    await begin();
    const { raw } = await RawClient.login(
      { ...server, port: sluice.port },
      {
        options: '-c statement_timeout=7s --work_mem=9MB -c app.name=some\\ text',
        extra_float_digits: '3',
        lock_timeout: '5s',
      },
    );
    const plain = await clients.pg();
    const sql =
      "select concat_ws(',', current_setting('statement_timeout'), current_setting('work_mem'), current_setting('app.name', true), current_setting('extra_float_digits'), current_setting('lock_timeout'))";
    for (let i = 0; i < 4; i++) {
      raw.send(wire.query(sql));
      const row = (await raw.until('Z')).find(({ type }) => type === 'D')!;
      expect(Buffer.from(wire.parseDataRow(row.body, 0, row.body.length)[0]!).toString()).toBe('7s,9MB,some text,3,5s');
      expect(await value(plain, sql)).toMatch(/^0,4MB,,?1,0$/);
    }
    // RESET goes back to what the login asked for, from the next transaction on.
    raw.send(wire.query("set work_mem = '5MB'"));
    await raw.until('Z');
    raw.send(wire.query('reset work_mem'));
    await raw.until('Z');
    raw.send(wire.query("select current_setting('work_mem')"));
    const row = (await raw.until('Z')).find(({ type }) => type === 'D')!;
    expect(Buffer.from(wire.parseDataRow(row.body, 0, row.body.length)[0]!).toString()).toBe('9MB');
  });

  test('many clients with settings of their own never see those of others', async () => {
    await begin();
    const names = Array.from({ length: 12 }, (_, i) => `tenant ${i}`);
    await Promise.all(
      names.map(async (name, i) => {
        const client = await clients.pg();
        for (let round = 0; round < 15; round++) {
          const mine = `${name} ${round}`;
          if (round % 3 === 0) await client.query(`begin; set app.mine = '${mine}'; commit`);
          else if (round % 3 === 1) await client.query("select set_config('app.mine', $1, false)", [mine]);
          else await client.query(`set app.mine = '${mine}'; set statement_timeout = ${60_000 + i}`);
          expect(await value(client, "select current_setting('app.mine')")).toBe(mine);
          expect(await value(client, "select current_setting('app.mine')")).toBe(mine);
        }
      }),
    );
  });

  test('a setting that PostgreSQL takes no more ends the session with its error, and the next client is unharmed', async () => {
    await begin();
    const admin = await clients.pg();
    await admin.query('drop role if exists follow_gone; create role follow_gone');
    const a = await clients.pg();
    a.on('error', () => {});
    await a.query('set role follow_gone');
    // Elsewhere the role is taken away.
    for (let i = 0; i < 2; i++) await admin.query('select 1');
    await admin.query('drop role follow_gone');
    const outcomes = [];
    for (let i = 0; i < 4; i++)
      outcomes.push(
        await a.query('select 1').then(
          () => 'ok',
          (error) => error.message,
        ),
      );
    expect(outcomes.join()).toMatch(
      /role "follow_gone" does not exist|invalid server parameter|Connection terminated|not queryable/,
    );
    for (let i = 0; i < 4; i++) expect(await value(admin, 'select current_user')).toBe(server.user);
  });
});

describe.each(['follow', 'refuse'])('with session_state = %s the last value of a sequence', (state) => {
  test('is refused where it would be the value of whoever had the server before', async () => {
    await begin(`session_state = ${state}`);
    const [mine, other] = [await clients.pg(), await clients.pg()];
    await mine.query('create sequence numbers');
    try {
      for (const ask of ["select currval('numbers')", 'select lastval()']) {
        await other.query("select nextval('numbers')");
        for (const params of [undefined, []] as const)
          expect(await mine.query(ask, params as never).catch((error) => error)).toMatchObject({
            code: '55000',
            hint: expect.stringContaining('RETURNING'),
          });
      }
      expect(await value(mine, 'select 1')).toBe(1);
    } finally {
      await mine.query('drop sequence numbers');
    }
  });

  test('is there in the transaction that has drawn it, and after it where the server is still the same', async () => {
    await begin(`session_state = ${state}`);
    const mine = await clients.pg();
    await mine.query('create sequence numbers');
    try {
      await mine.query('begin');
      const drawn = await value(mine, "select nextval('numbers')");
      expect(await value(mine, "select currval('numbers')")).toBe(drawn);
      expect(await value(mine, 'select lastval()', [])).toBe(drawn);
      await mine.query('commit');
      const pipelined = (await mine.query("select nextval('numbers') as n; select currval('numbers') as n")) as never;
      expect((pipelined as { rows: { n: string }[] }[]).map(({ rows }) => rows[0]!.n)).toEqual(['2', '2']);
    } finally {
      await mine.query('drop sequence numbers');
    }
  });
});

test('a statement_timeout that is too short for what comes next hits nobody but its own client', async () => {
  await begin('default_pool_size = 1\nserver_round_robin = 0');
  const [hasty, other] = [await clients.pg(), await clients.pg()];
  const big = 'x'.repeat(200_000);
  await other.query(`set app.big = '${big}'`);
  for (let i = 0; i < 5; i++) {
    await hasty.query('set statement_timeout = 1').catch(() => {});
    // Its server has to be brought in line under a timeout of a millisecond, or another one is taken.
    expect(await value(other, "select length(current_setting('app.big'))")).toBe(big.length);
  }
});

describe('what cannot be replayed pins its server, as long as it exists', () => {
  test.each([
    ['temporary object', 'create temp table mine (a int)', 'insert into mine values (1)', 'drop table mine'],
    ['temporary object', 'select 1 as a into temporary mine', 'select * from mine', 'discard temp'],
    [
      'temporary object',
      'create table pg_temp.mine as select 1',
      'select * from pg_temp.mine',
      'drop table pg_temp.mine',
    ],
    [
      'temporary object',
      "create function pg_temp.f() returns int language sql as 'select 1'",
      'select pg_temp.f()',
      'drop function pg_temp.f()',
    ],
    [
      'cursor WITH HOLD',
      'begin; declare c cursor with hold for select generate_series(1, 9); commit',
      'fetch 1 from c',
      'close c',
    ],
    [
      'session advisory lock',
      'select pg_advisory_lock(4711)',
      'select pg_try_advisory_lock(4711)',
      'select pg_advisory_unlock_all()',
    ],
    ['LISTEN', 'listen mine', "notify mine, 'x'", 'unlisten *'],
  ])('%s: %s', async (what, create, use, end) => {
    await begin();
    const [a, b] = [await clients.pg(), await clients.pg()];
    const heard: string[] = [];
    a.on('notification', ({ payload }) => heard.push(payload ?? ''));
    await a.query(create);
    const mine = await pid(a);
    const before = await pins();
    expect(before).toHaveLength(1);
    expect(before[0]).toMatchObject({ user: server.user, remote_pid: mine, statement: create });
    expect(before[0]!.pinned_by).toContain(what);
    for (let i = 0; i < 4; i++) {
      await a.query(use);
      expect(await pid(a)).toBe(mine);
      expect(await pid(b)).not.toBe(mine);
    }
    if (what === 'LISTEN') expect(heard).toHaveLength(4);
    await a.query(end);
    const seen = new Set([await pid(a), await pid(a), await pid(a)]);
    expect(await pins()).toHaveLength(0);
    expect(seen.size).toBe(2);
  });

  test('what ends with its transaction pins nothing', async () => {
    await begin();
    const a = await clients.pg();
    await a.query('begin; create temp table gone (a int) on commit drop; select pg_advisory_xact_lock(1); commit');
    await a.query('begin; create temp table gone (a int); select pg_advisory_xact_lock(1); rollback');
    await a.query('begin; declare c cursor for select 1; commit');
    expect(await pins()).toHaveLength(0);
    expect(new Set([await pid(a), await pid(a), await pid(a)]).size).toBe(2);
  });

  test('a notification reaches a client that listens and does nothing else', async () => {
    await begin();
    const [a, b] = [await clients.pg(), await clients.pg()];
    const heard = new Promise((resolve) => a.once('notification', resolve));
    await a.query('listen idle_ears');
    await b.query("notify idle_ears, 'hello'");
    expect(await heard).toMatchObject({ channel: 'idle_ears', payload: 'hello' });
  });

  test('nothing of it is left when the client goes, in whichever way', async () => {
    await begin('default_pool_size = 1');
    for (const way of ['end', 'destroy', 'at once']) {
      const a = await clients.pg();
      if (way === 'at once') {
        const { raw } = await RawClient.login({ ...server, port: sluice.port });
        raw.send(
          wire.query("create temp table left_behind (a int); set app.remains = 'x'; select pg_advisory_lock(12)"),
          wire.terminate(),
        );
      } else {
        await a.query('begin');
        await a.query(
          "create temp table left_behind (a int); set app.remains = 'x'; select pg_advisory_lock(12); listen l",
        );
        await a.query('commit');
        await a.query('begin');
      }
      if (way === 'destroy')
        (a as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy();
      const b = await clients.pg();
      const gone = a.end().catch(() => {});
      expect(await value(b, "select count(*)::int from pg_class where relname = 'left_behind'")).toBe(0);
      expect((await value(b, "select current_setting('app.remains', true)")) || null).toBe(null);
      expect(await value(b, "select count(*)::int from pg_locks where locktype = 'advisory'")).toBe(0);
      expect(await value(b, 'select count(*)::int from pg_listening_channels()')).toBe(0);
      await gone;
      await b.end();
    }
  });

  test('a pinned client between two transactions does not hold up a shutdown', async () => {
    await begin();
    const [a, b] = [await clients.pg(), await clients.pg()];
    await a.query('listen forever');
    await b.query('listen forever');
    await b.query('begin');
    const ended = new Promise((resolve) => a.once('error', resolve));
    sluice.signal('SIGINT');
    expect(await ended).toMatchObject({ code: '57P01', message: 'server shutting down' });
    expect(await value(b, 'select 1')).toBe(1);
    await b.query('commit').catch(() => {});
    expect((await sluice.exit).code).toBe(0);
  });

  test('the error of a client that finds no server says what pins them', async () => {
    await begin('query_wait_timeout = 1\ndefault_pool_size = 1');
    const a = await clients.pg({ application_name: 'listener' });
    await a.query('listen forever');
    const b = await clients.pg();
    const error = await b.query('select 1').catch((thrown) => thrown);
    expect(error).toMatchObject({
      message: 'query_wait_timeout',
      detail: expect.stringMatching(/"listener" \([\d.]+ s, pinned by LISTEN forever\)/),
    });
  });
});

describe('PREPARE, EXECUTE and DEALLOCATE', () => {
  test.each(['follow', 'pgbouncer'])(
    'with session_state = %s a prepared statement is there on every server',
    async (mode) => {
      await begin(`session_state = ${mode}`);
      const [a, b] = [await clients.pg(), await clients.pg()];
      await a.query("prepare p (int) as select 'a' || $1");
      await b.query("prepare p (int) as select 'b; ' || $1");
      for (let i = 0; i < 4; i++) {
        expect(await value(a, `execute p(${i})`)).toBe(`a${i}`);
        expect(await value(b, `execute p(${i})`)).toBe(`b; ${i}`);
      }
      await a.query('deallocate p');
      for (let i = 0; i < 3; i++) await expect(a.query('execute p(1)')).rejects.toThrow(/"p" does not exist/);
      expect(await value(b, 'execute p(9)')).toBe('b; 9');
      await b.query('deallocate all');
      for (let i = 0; i < 3; i++) await expect(b.query('execute p(1)')).rejects.toThrow(/"p" does not exist/);
    },
  );

  test('one that cannot be said again by itself pins its server', async () => {
    await begin();
    const a = await clients.pg();
    await a.query('create table if not exists follow_count (a int); prepare q as select 7');
    const mine = await pid(a);
    expect((await pins())[0]!.pinned_by).toBe('PREPARE q');
    for (let i = 0; i < 3; i++) {
      expect(await value(a, 'execute q')).toBe(7);
      expect(await pid(a)).toBe(mine);
    }
    await a.query('deallocate q; drop table follow_count');
    await pid(a);
    expect(await pins()).toHaveLength(0);
  });

  test('what an executed statement sets follows as well', async () => {
    await begin();
    const a = await clients.pg();
    await a.query("prepare s (text) as select set_config('app.executed', $1, false)");
    await a.query("execute s('yes')");
    for (let i = 0; i < 3; i++) expect(await value(a, "select current_setting('app.executed')")).toBe('yes');
  });
});

const pinnedBy = async (client: pg.Client) => {
  await pid(client); // by now it is known what the last transaction has left
  return (await pins()).map(({ pinned_by }) => pinned_by);
};

describe('a search_path with pg_temp', () => {
  test('pins its server until there is another, and what was made in it as long as that exists', async () => {
    await begin();
    const a = await clients.pg();
    await a.query('set search_path = pg_temp, public');
    expect(await pinnedBy(a)).toEqual(['search_path = pg_temp']);
    await a.query('create table in_temp (a int)');
    await a.query('begin');
    await a.query('set search_path = public');
    await a.query('rollback');
    expect(await pinnedBy(a)).toContain('search_path = pg_temp');
    await a.query('reset search_path');
    expect(await pinnedBy(a)).toEqual(['temporary object in_temp']);
    await a.query('drop table pg_temp.in_temp');
    expect(await pinnedBy(a)).toEqual([]);
    await a.query('set search_path = pg_temp');
    await a.query('set search_path = public');
    expect(await pinnedBy(a)).toEqual([]);
  });
});

describe('session_state = refuse', () => {
  test.each([
    ['set work_mem = 1234', /^SET work_mem does not outlive/, /SET LOCAL/],
    ["select set_config('app.x', 'y', false)", /^set_config\('app.x'\)/, /SET LOCAL/],
    ['create temp table t (a int)', /^the temporary relation t/, /ON COMMIT DROP/],
    ['declare c cursor with hold for select 1', /^a cursor WITH HOLD/, /without hold/],
    ['select pg_advisory_lock(1)', /^pg_advisory_lock\(\)/, /pg_advisory_xact_lock/],
    ['listen x', /^LISTEN/, /session mode/],
    ['prepare x as select 1', /^PREPARE/, /max_prepared_statements/],
    ['do $$begin perform pg_advisory_lock(9); end$$', /^an advisory lock in DO/, /pg_advisory_xact_lock/],
    ['do $$ begin\n create temp table hidden (a int); end $$', /^a temporary relation in DO/, /ON COMMIT DROP/],
    ["do $$ begin perform set_config('work_mem', '3MB', false); end $$", /^set_config\(\) in DO/, /SET LOCAL/],
    ['do $$ begin set work_mem = 1234; end $$', /^SET in DO/, /SET LOCAL/],
    ['do $$ begin listen x; end $$', /^LISTEN in DO/, /session mode/],
  ])('%s is refused with the alternative, in both protocols', async (sql, message, hint) => {
    await begin('session_state = refuse');
    const a = await clients.pg();
    const simple = await a.query(sql).catch((error) => error);
    expect(simple).toMatchObject({
      code: '0A000',
      message: expect.stringMatching(message),
      hint: expect.stringMatching(hint),
    });
    const extended = await a.query({ text: sql, values: [], name: 'refused' }).catch((error) => error);
    expect(extended).toMatchObject({ code: '0A000', message: expect.stringMatching(message) });
    expect(await value(a, 'select 1')).toBe(1);
  });

  test('it fails its transaction as any error does, and comes in its place in a pipeline', async () => {
    await begin('session_state = refuse');
    const { raw } = await RawClient.login({ ...server, port: sluice.port });
    raw.send(
      wire.query('begin'),
      wire.query('select 1'),
      wire.query('listen x'),
      wire.query('select 2'),
      wire.query('rollback'),
    );
    const answers = [];
    for (let i = 0; i < 5; i++) answers.push(types(await raw.until('Z')));
    expect(answers).toEqual(['CZ', 'TDCZ', 'EZ', 'EZ', 'CZ']);
    raw.send(
      wire.parse('', 'select 1'),
      wire.bind('', ''),
      wire.execute(''),
      wire.parse('', 'listen x'),
      wire.bind('', ''),
      wire.execute(''),
      wire.sync(),
    );
    const answer = await raw.until('Z');
    expect(types(answer)).toBe('12DCEZ');
    expect(errorOf(answer)!.code).toBe('0A000');
  });

  test('one that an error before it skipped has no say in the next', async () => {
    await begin('session_state = refuse');
    const { raw } = await RawClient.login({ ...server, port: sluice.port });
    raw.send(wire.parse('', 'set work_mem = 1'), wire.parse('', 'listen x'), wire.sync());
    raw.send(wire.parse('', 'create temp table t (a int)'), wire.sync());
    const told = [];
    for (let i = 0; i < 2; i++) told.push(errorOf(await raw.until('Z'))!.message);
    expect(told).toEqual([expect.stringMatching(/^SET work_mem/), expect.stringMatching(/temporary relation t/)]);
  });

  test('what ends with the transaction, and what follows anyway, is allowed', async () => {
    await begin('session_state = refuse');
    const a = await clients.pg();
    await a.query("set application_name = 'x'; set timezone = 'UTC'; reset all");
    await a.query(
      'begin; set local work_mem = 1234; create temp table t (a int) on commit drop; select pg_advisory_xact_lock(1); commit',
    );
    // A block may do anything: nothing of it is left.
    await a.query("do $$ begin execute 'set app.hidden to 5'; end $$");
    await a.query("do $$ begin set local work_mem = 1234; perform set_config('app.hidden', 'x', true); end $$");
    await a.query('do $$ begin create temp table t (a int) on commit drop; update t set a = 1; end $$');
    for (let i = 0; i < 3; i++)
      expect((await value(a, "select current_setting('app.hidden', true)")) || null).toBe(null);
  });
});
