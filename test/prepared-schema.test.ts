/** A statement that is prepared anew has the types of that moment, whatever another client has prepared by the same text before. */
import * as wire from '@sluice/wire';
import { afterEach, describe, expect, test } from 'vitest';
import { postgres } from './support/postgres.ts';
import { cell, errorOf, RawClient } from './support/raw.ts';
import { type Sluice, startSluice } from './support/sluice.ts';

const server = postgres();
let sluice: Sluice;
const open: RawClient[] = [];

afterEach(async () => {
  for (const client of open.splice(0)) client.end();
  await sluice.stop();
});

async function raw(at: { host: string; port: number }, params = {}): Promise<RawClient> {
  const { raw } = await RawClient.login({ ...server, ...at }, params);
  open.push(raw);
  return raw;
}

async function ask(client: RawClient, sql: string): Promise<string | null> {
  client.send(wire.query(sql));
  const messages = await client.until('Z');
  if (messages.some(({ type }) => type === 'E')) throw new Error(`${sql}: ${errorOf(messages).message}`);
  return messages.some(({ type }) => type === 'D') ? cell(messages) : null;
}

/** Parse by this name, Bind, Execute: the first cell, the command's tag, or the error's code. */
async function run(client: RawClient, name: string, sql: string, values: string[]): Promise<string> {
  client.send(
    wire.parse(name, sql),
    wire.describe('S', name),
    wire.bind('', name, values),
    wire.execute(''),
    wire.sync(),
  );
  const messages = await client.until('Z');
  if (messages.some(({ type }) => type === 'E')) return errorOf(messages).code;
  if (messages.some(({ type }) => type === 'D')) return cell(messages);
  return messages.find(({ type }) => type === 'C')!.body.toString('latin1');
}

interface Story {
  readonly name: string;
  /** Run once before. */
  readonly setUp?: string[];
  readonly text: string;
  readonly first: { readonly before: string[]; readonly values: string[]; readonly after: string[] };
  readonly second: {
    readonly before: string[];
    readonly values: string[];
    readonly read?: string;
    readonly after: string[];
  };
  readonly expected: string[];
  readonly path?: string;
}

const STORIES: Story[] = [
  {
    name: 'a table that was made in a transaction, rolled back, and made otherwise',
    text: 'insert into st values ($1)',
    first: { before: ['begin', 'create table st (x int)'], values: ['1'], after: ['rollback'] },
    second: {
      before: ['begin', 'create table st (x text)'],
      values: ['007'],
      read: 'select x from st',
      after: ['rollback'],
    },
    expected: ['INSERT 0 1\0', '007'],
  },
  {
    name: 'the same behind a savepoint',
    text: 'insert into st values ($1)',
    first: {
      before: ['begin', 'savepoint a', 'create table st (x date)'],
      values: ['2020-01-01'],
      after: ['rollback to a'],
    },
    second: {
      before: ['create table st (x timestamp)'],
      values: ['2020-01-01 10:20:30'],
      read: 'select x::text from st',
      after: ['rollback'],
    },
    expected: ['INSERT 0 1\0', '2020-01-01 10:20:30'],
  },
  {
    name: 'a type that was made again by the same words',
    text: 'insert into st values ($1)',
    first: {
      before: ['begin', 'create domain dm as int; create table st (x dm[])'],
      values: ['{1}'],
      after: ['rollback'],
    },
    second: {
      before: ['begin', 'create domain dm as int; create table st (x dm[])'],
      values: ['{2}'],
      read: 'select x::text from st',
      after: ['rollback'],
    },
    expected: ['INSERT 0 1\0', '{2}'],
  },
  {
    name: 'a function of the same name',
    setUp: [
      'drop function if exists zz(int); drop function if exists zz(text)',
      "create function zz(int) returns text language sql as 'select ''int'''",
    ],
    text: 'select zz($1)',
    first: {
      before: [],
      values: ['1'],
      after: ["create function zz(text) returns text language sql as 'select ''text'''"],
    },
    second: { before: [], values: ['1'], after: ['drop function zz(int); drop function zz(text)'] },
    expected: ['text'],
  },
  ...[
    'create table s9.pt as select 2 as x',
    'select 2 as x into s9.pt',
    'create materialized view s9.pt as select 2 as x',
    "do 'begin create table s9.pt as select 2 as x; end'",
  ].map(
    (making): Story => ({
      name: `a table in a schema that comes earlier: ${making}`,
      setUp: [
        'drop schema if exists s9 cascade; drop table if exists public.pt; create schema s9; create table public.pt as select 1 as x',
      ],
      path: 's9, public',
      text: 'select x from pt',
      first: { before: [], values: [], after: [making] },
      second: { before: [], values: [], after: ['drop schema s9 cascade; drop table public.pt'] },
      expected: ['2'],
    }),
  ),
];

describe.each([1, 0])('beside a direct connection (max_prepared_statements %i00)', (many) => {
  test.each(STORIES)('$name', async ({ setUp = [], text, first, second, expected, path }) => {
    const settings = `pool_mode = transaction\ndefault_pool_size = 1\nmax_prepared_statements = ${many * 100}\nignore_startup_parameters = search_path`;
    sluice = await startSluice(server, {
      settings: many === 0 ? settings.replace('transaction', 'session') : settings,
    });
    const params = path === undefined ? {} : { search_path: path };
    for (const at of [
      { host: server.host, port: server.port },
      { host: sluice.host, port: sluice.port },
    ]) {
      const told: string[] = [];
      const one = await raw(at, params);
      for (const sql of setUp) await ask(one, sql);
      for (const sql of path === undefined ? first.before : [`set search_path = ${path}`, ...first.before])
        await ask(one, sql);
      await run(one, 's1', text, first.values);
      for (const sql of first.after) await ask(one, sql);
      // Behind a savepoint it is the same client's transaction.
      const isSame = first.after[0]?.startsWith('rollback to') === true;
      if (!isSame) one.end();
      const two = isSame ? one : await raw(at, params);
      for (const sql of path === undefined ? second.before : [`set search_path = ${path}`, ...second.before])
        await ask(two, sql);
      told.push(await run(two, 's2', text, second.values));
      if (second.read !== undefined) told.push(String(await ask(two, second.read)));
      for (const sql of second.after) await ask(two, sql);
      two.end();
      expect([at.port === server.port ? 'direct' : 'pooled', ...told]).toEqual([
        at.port === server.port ? 'direct' : 'pooled',
        ...expected,
      ]);
    }
  });
});

test('what changes nothing leaves statements shared', async () => {
  sluice = await startSluice(server, {
    settings: 'pool_mode = transaction\ndefault_pool_size = 1\nmax_prepared_statements = 100',
  });
  const at = { host: sluice.host, port: sluice.port };
  const one = await raw(at);
  const names = async () => {
    await run(one, `n${open.length}`, 'select 4711 + $1', ['1']);
    const count = await ask(one, "select count(*) from pg_prepared_statements where statement = 'select 4711 + $1'");
    const client = await raw(at);
    await run(client, 'x', 'select 4711 + $1', ['2']);
    return count;
  };
  expect(await names()).toBe('1');
  for (const sql of [
    'begin; select 1; savepoint a; select 2; rollback to a; commit',
    'select 1 where false',
    'set application_name = x; reset application_name',
    'begin; declare c cursor for select 1; fetch all from c; close c; rollback',
    'explain select 1; values (1); table pg_class limit 0',
  ])
    await ask(one, sql);
  expect(await run(one, 'none', 'select 1 where $1 = 0', ['1'])).toBe('SELECT 0\0');
  one.send(wire.bind('', 'none', ['1']), wire.execute(''), wire.sync());
  await one.until('Z');
  expect(await names()).toBe('1');
  await ask(one, 'create temp table tt (x int)');
  expect(await names()).toBe('2');
});

describe('behind a change that is not answered yet', () => {
  const both = async (work: (at: { host: string; port: number }) => Promise<unknown>) => {
    sluice = await startSluice(server, {
      settings: 'pool_mode = transaction\ndefault_pool_size = 2\nmax_prepared_statements = 100',
    });
    const direct = await work({ host: server.host, port: server.port });
    expect(await work({ host: sluice.host, port: sluice.port })).toEqual(direct);
    return direct;
  };
  const insert = 'insert into st values ($1)';
  const made = async (at: { host: string; port: number }) => {
    const one = await raw(at);
    await ask(one, 'drop table if exists st');
    await ask(one, 'create table st (x int)');
    await run(one, 'first', insert, ['1']);
    return one;
  };
  const use = (name: string) => [wire.parse(name, insert), wire.bind('', name, ['007']), wire.execute(''), wire.sync()];
  const change = 'alter table st alter x type text';

  test.each([
    ['a query', () => [wire.query(change)], 2],
    ['an exchange', () => [wire.parse('', change), wire.bind('', ''), wire.execute(''), wire.sync()], 2],
    ['the same without a Sync', () => [wire.parse('', change), wire.bind('', ''), wire.execute('')], 1],
    ['one with a name', () => [wire.parse('ddl', change), wire.bind('', 'ddl'), wire.execute('')], 1],
    ['comments before it', () => [wire.query(`/* migration */\n -- 17\n${change}`)], 2],
  ] as const)('a Parse in the same packet is of the schema after it: %s', async (_how, ddl, ends) => {
    const stored = await both(async (at) => {
      const one = await made(at);
      one.send(...ddl(), ...use('second'));
      for (let i = 0; i < ends; i++) await one.until('Z');
      const value = await ask(one, "select x::text from st where x::text like '%7'");
      await ask(one, 'drop table st');
      return value;
    });
    expect(stored).toBe('007');
  });

  test.each(['commit', 'commit\0and the connection cut'])('whose client says goodbye with it: %s', async (how) => {
    const stored = await both(async (at) => {
      const other = await made(at);
      const one = await raw(at);
      await ask(one, 'begin');
      await ask(one, change);
      one.send(wire.query('commit'), ...(how === 'commit' ? [wire.terminate()] : []));
      one.end();
      // It waits for the lock, or comes after it.
      await ask(other, 'select count(*) from st');
      const type = "select data_type from information_schema.columns where table_name = 'st'";
      if ((await ask(other, type)) !== 'text') await ask(other, change);
      await run(other, 'second', insert, ['007']);
      const value = await ask(other, "select x::text from st where x::text like '%7'");
      await ask(other, 'drop table st');
      return value;
    });
    expect(stored).toBe('007');
  });

  test('a ROLLBACK of it', async () => {
    const told = await both(async (at) => {
      const one = await made(at);
      await ask(one, 'begin');
      await ask(one, change);
      await run(one, 'of text', insert, ['1']);
      one.send(wire.query('rollback'), ...use('second'));
      for (let i = 0; i < 2; i++) await one.until('Z');
      const value = await ask(one, "select x::text from st where x::text like '%7'");
      await ask(one, 'drop table st');
      return value;
    });
    expect(told).toBe('7');
  });
});
