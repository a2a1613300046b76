import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { Classifier } from './classifier.ts';
import { KEEPS_ALL, Keeps, looksSuspicious, sparesSession } from './suspicion.ts';

const classifier = new Classifier();
beforeAll(() => classifier.load());

const names = (sql: string) => [...(classifier.suspicionOf(sql)?.names ?? [])];
const keeps = (sql: string) => classifier.suspicionOf(sql)?.keeps ?? 0;

describe('nothing is suspected of', () => {
  test.each([
    'select 1',
    'update t set a = 1 where b = 2',
    'update t\nset a = 1',
    'insert into t values ($1) on conflict do update set a = 1',
    'begin isolation level serializable read only',
    'set transaction read only',
    "set local work_mem = '1MB'",
    "select set_config('a.b', 'c', true)",
    "select set_config('a.b', $1, 'true'::boolean)",
    'set constraints all deferred',
    "set timezone = 'UTC'",
    "set names 'utf8'",
    'declare c cursor for select 1',
    'select pg_advisory_xact_lock(1)',
    'select temp, temporary from weather',
    "select 'set work_mem = 1'",
    'create function f() returns int language sql set work_mem = 1 as $$ select 1 $$',
    'alter role x set work_mem = 1',
    'create table t (a int)',
    'show work_mem',
  ])('%s', (sql) => {
    expect(classifier.suspicionOf(sql)).toBeNull();
  });
});

describe('what is done to sessions by their numbers', () => {
  const signals = (sql: string) =>
    (classifier.suspicionOf(sql)?.signals ?? []).map(({ kind, numbers, params }) =>
      [kind, ...numbers, ...params.map((param) => `$${param}`)].join(' '),
    );
  test.each([
    ['select pg_cancel_backend(5000000)', ['cancel 5000000']],
    ["select pg_cancel_backend('5000000'::int) as done", ['cancel 5000000']],
    ['SELECT PG_CATALOG.PG_TERMINATE_BACKEND($1, 100)', ['terminate $1']],
    ['select pg_cancel_backend($1::integer), pg_terminate_backend($3)', ['cancel $1', 'terminate $3']],
    ['select pg_terminate_backend(pid) from pg_stat_activity where pid = $1', ['terminate $1']],
    [
      'select pg_cancel_backend(a.pid) from pg_catalog.pg_stat_activity a where a.pid in (5000000, $2)',
      ['cancel 5000000 $2'],
    ],
    [
      'select pg_cancel_backend(pid) from pg_stat_activity where pid = any(array[5000000, 5000001])',
      ['cancel 5000000 5000001'],
    ],
    // Whether it comes to that, and whom they mean, is PostgreSQL's to find out.
    ['begin; select pg_terminate_backend(5000000); commit', []],
    ['select 1/0; select pg_terminate_backend(5000000)', []],
    ['select pg_terminate_backend(5000000), no_such_column', []],
    ['select pg_terminate_backend(5000000), generate_series(1, 0)', []],
    ["select pg_terminate_backend(5000000, 'x')", []],
    ["select pg_terminate_backend('5000000.0')", []],
    ["select pg_terminate_backend('0x4c4b40')", []],
    ['select pg_terminate_backend(5000000::bool::int)', []],
    ['select pg_terminate_backend(5000000::text::varchar(3)::int)', []],
    ['select pg_cancel_backend(5000000)::int8', []],
    ['select pg_terminate_backend(pid) from pg_stat_activity a(x, y, pid, d) where pid = 5000000', []],
    ['select pg_terminate_backend(x.pid) from pg_stat_activity y where y.pid = 5000000', []],
    ['select pg_terminate_backend(pid) from pg_stat_activity y where pg_stat_activity.pid = 5000000', []],
    ['select pg_terminate_backend(pid) from db.pg_catalog.pg_stat_activity where pid = 5000000', []],
    ["select pg_terminate_backend(pid) from pg_stat_activity where pid = any(array['5000000'])", []],
    ["select pg_terminate_backend(5000000), pg_cancel_backend('9999999999')", []],
    ['select pg_terminate_backend(pid) from pg_stat_activity where pid <> 5000000', []],
    ['select pg_terminate_backend(pid) from pg_stat_activity where not pid = 5000000', []],
    ["select pg_terminate_backend(pid) from pg_stat_activity where pid = 5000000 and state = 'idle'", []],
    ["select pg_terminate_backend(pid) from pg_stat_activity where pid = 5000000 or usename = 'x'", []],
    ["select pg_terminate_backend(pid) from pg_stat_activity where usename = 'x' and pid <> $1", []],
    ['select pg_terminate_backend(pid) from pg_stat_activity where pid > 5000000', []],
    ['select pg_terminate_backend(pid) from pg_stat_activity where pid not in (5000000)', []],
    ['select pg_terminate_backend(pid) from pg_stat_activity where pid <> all(array[5000000])', []],
    ['select pg_terminate_backend(pid) from pg_stat_activity, t where pid = 5000000', []],
    ['select pg_terminate_backend(pid) from mine.pg_stat_activity where pid = 5000000', []],
    ['select pg_terminate_backend(pid) from (values (5000000)) as t(pid)', []],
    ['select pg_terminate_backend(5000000) where false', []],
    ['select pg_terminate_backend(5000000) from t', []],
    ['select pg_terminate_backend(5000000) limit 0', []],
    ['select pg_terminate_backend(5000000) union select true', []],
    ['select case when false then pg_terminate_backend(5000000) end', []],
    ['select pg_terminate_backend(5000000 + 1)', []],
    ['select mine.pg_terminate_backend(5000000)', []],
    ['insert into t select pg_terminate_backend(5000000)', []],
    ['insert into t values (1); select pg_terminate_backend(5000000)', []],
    ['prepare p as select pg_terminate_backend(5000000)', []],
    ['explain select pg_terminate_backend(5000000)', []],
    ['create view v as select pg_terminate_backend(5000000)', []],
    ["select 'pg_terminate_backend', 5000000", []],
    ['select my_pg_terminate_backend_log(5000000)', []],
  ])('%s', (sql, expected) => {
    expect(signals(sql)).toEqual(expected);
    const suspicion = classifier.suspicionOf(sql);
    if (expected.length > 0 && suspicion !== null) expect(sparesSession(suspicion)).toBe(true);
  });
});

describe('the last value of a sequence', () => {
  const asks = (sql: string) => classifier.suspicionOf(sql)?.asksLastValue ?? false;

  test.each([
    'select lastval()',
    "SELECT currval('s')",
    "select pg_catalog.currval(pg_get_serial_sequence('t', 'id')) as id",
    "select coalesce(currval('s'), 0) + 1",
  ])('is all that is asked for: %s', (sql) => {
    expect(asks(sql)).toBe(true);
  });

  test.each([
    "select nextval('s'), currval('s')",
    "select my_insert(), currval('s')",
    "with x as (insert into t values (1)) select currval('s')",
    "insert into t values (1); select currval('s')",
    "insert into t values (currval('s'))",
    'select lastval from t',
    'select mine.lastval(3)',
    "select mine.format('x'), currval('s')",
  ])('is not all, or not that: %s', (sql) => {
    expect(asks(sql)).toBe(false);
  });
});

describe('settings', () => {
  test.each([
    ["set work_mem = '1MB'", ['work_mem']],
    ['SET SESSION "Work_Mem" TO 1', ['work_mem']],
    ['select 1; /* x */set enable_sort = off', ['enable_sort']],
    ['-- comment\n  set enable_sort = off', ['enable_sort']],
    [
      'set session characteristics as transaction read only',
      ['default_transaction_isolation', 'default_transaction_read_only', 'default_transaction_deferrable'],
    ],
    ['set role x', ['role']],
    ['set session authorization x', ['session_authorization']],
    ['reset work_mem', ['work_mem']],
    ['set work_mem to default', ['work_mem']],
    ["select set_config('App.X', $1, false)", ['app.x']],
    ["with x as (select pg_catalog.set_config('app.y', 'z', $2)) select * from x", ['app.y']],
    ["prepare p as select set_config('app.z', '1', false)", ['app.z']],
  ])('%s', (sql, expected) => {
    expect(names(sql)).toEqual(expected);
  });

  test('that are not named, or in a body that is not read', () => {
    for (const sql of [
      'reset all',
      'discard all',
      "do $$ begin perform set_config('a.b', 'c', false); end $$",
      'call p(1)',
      'select set_config($1, $2, false)',
    ])
      expect(classifier.suspicionOf(sql)).toMatchObject({ anySetting: true });
    expect(classifier.suspicionOf('select set_config($1, $2, false)')!.unknowable).toMatch(/computed name/);
    expect(
      names("do $$ begin perform set_config( 'App.A', 'c', false); set app.b to 1; update t set n = 2; end $$"),
    ).toEqual(['app.a', 'app.b', 'n']);
  });
});

describe('what stays on the server', () => {
  test.each([
    ['create temp table t (a int)', Keeps.Temporary],
    ['create temporary view v as select 1', Keeps.Temporary],
    ['create temp sequence s', Keeps.Temporary],
    ['create table pg_temp.t as select 1', Keeps.Temporary],
    ['select 1 into temp t', Keeps.Temporary],
    ["create function pg_temp.f() returns int language sql as 'select 1'", Keeps.Temporary],
    ["create type pg_temp.e as enum ('a')", Keeps.Temporary],
    ['drop table t', Keeps.Temporary],
    ['discard temp', Keeps.Temporary],
    ['declare c cursor with hold for select 1', Keeps.Cursor],
    ['close all', Keeps.Cursor],
    ['select pg_try_advisory_lock_shared(1, 2)', Keeps.Lock],
    ['select pg_advisory_unlock_all()', Keeps.Lock],
    ['listen x', Keeps.Listen],
    ['unlisten *', Keeps.Listen],
    ['prepare p as select 1', Keeps.Prepared],
    ['deallocate all', Keeps.Prepared],
    ['discard all', KEEPS_ALL],
    ['listen x; create temp table t (a int)', Keeps.Listen | Keeps.Temporary],
  ])('%s', (sql, expected) => {
    expect(keeps(sql)).toBe(expected);
  });

  test('what is no SQL, or nested too deeply to be read, may be anything', () => {
    expect(classifier.suspicionOf('set work_mem =')).toMatchObject({ anySetting: true, keeps: KEEPS_ALL });
    expect(classifier.suspicionOf(`set x.y = 1; select ${'('.repeat(50_000)}1${')'.repeat(50_000)}`)).toMatchObject({
      anySetting: true,
      keeps: KEEPS_ALL,
    });
    expect(classifier.suspicionOf(`set x.y = 1; select 1${'+1'.repeat(50_000)}`)).toMatchObject({
      anySetting: true,
      keeps: KEEPS_ALL,
    });
    expect(names('set work_mem = 1')).toEqual(['work_mem']);
  });
});

test('only a PREPARE that stands alone can be said again', () => {
  expect(classifier.isPrepare("prepare p as select ';'")).toBe(true);
  expect(classifier.isPrepare('prepare p as select 1; drop table t')).toBe(false);
  expect(classifier.isPrepare('select 1')).toBe(false);
});

test('without its parser a classifier takes everything suspicious for anything', () => {
  const blind = new Classifier();
  expect(blind.suspicionOf('select 1')).toBeNull();
  expect(blind.suspicionOf('set work_mem = 1')).toMatchObject({ anySetting: true, keeps: KEEPS_ALL });
  expect(blind.isPrepare('prepare p as select 1; drop table t')).toBe(false);
});

test('whatever the parser finds something in, the scan has let through', () => {
  const statements = [
    'set a.b = 1',
    'listen x',
    'create temp table t (a int)',
    "select set_config('a', 'b', false)",
    'discard all',
    'close c',
    "load 'x'",
  ];
  const space = fc.constantFrom(' ', '\n', '\t', '/* x */', '-- y\n', '\r\n', '\f');
  fc.assert(
    fc.property(
      fc.array(space),
      fc.constantFrom('', 'select 1;', 'begin;;'),
      fc.constantFrom(...statements),
      (spaces, before, sql) => {
        expect(looksSuspicious(`${before}${spaces.join('')}${sql}`)).toBe(true);
      },
    ),
  );
});

test('the scan takes time in proportion to the text', () => {
  // Quadratic, this would take minutes, and the test its timeout.
  for (const filler of ['\n', ' ', '/', ';', '\n ', 'temp_', '; \t'])
    expect(looksSuspicious(filler.repeat(2_000_000 / filler.length))).toBe(false);
});

test('a text of thousands of statements takes time in proportion to it', () => {
  // Quadratic, this would take longer than the test may.
  const sql = Array.from({ length: 6_000 }, (_, i) => `set a.x${i}=1;drop database d${i}`).join(';');
  const { names, databases } = classifier.suspicionOf(sql)!;
  expect([names.size, databases.size]).toEqual([6_000, 6_000]);
});

describe('databases that a statement has to itself', () => {
  const databases = (sql: string) => [...(classifier.suspicionOf(sql)?.databases ?? [])];

  test.each([
    ['drop database a', ['a']],
    ['DROP DATABASE IF EXISTS "A b" WITH (FORCE)', ['A b']],
    ['-- of the tests\ndrop database a', ['a']],
    ['alter database a rename to b', ['a']],
    ['alter database a set tablespace c', ['a']],
    ['create database b', ['template1']],
    ['create  database b with owner x template a', ['a']],
    ['create database b template default', ['template1']],
    ['drop database a; drop database b', ['a', 'b']],
  ])('%s', (sql, expected) => {
    expect(databases(sql)).toEqual(expected);
  });

  test.each([
    'drop table a',
    'alter database a set work_mem = 1',
    'alter database a connection limit 3',
    'alter table a rename to b',
    "select 'drop database a'",
  ])('there is none: %s', (sql) => {
    expect(databases(sql)).toEqual([]);
  });

  test('are named as the server has them', () => {
    expect(databases(Buffer.from('drop database "münchen"').toString('latin1'))).toEqual(['münchen']);
  });

  test('and nothing is left in the session', () => {
    expect(sparesSession(classifier.suspicionOf('drop database a')!)).toBe(true);
    expect(sparesSession(classifier.suspicionOf('drop database a; set work_mem = 1')!)).toBe(false);
  });
});
