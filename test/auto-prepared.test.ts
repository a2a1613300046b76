/** prepare_threshold: unnamed statements that are sent again and again are parsed once a server, and nobody notices but by the time. */
import * as wire from '@sluice/wire';
import { afterEach, describe, expect, test } from 'vitest';
import { Clients } from './support/clients.ts';
import { until } from './support/place.ts';
import { postgres } from './support/postgres.ts';
import { cell, errorOf, type Message, RawClient, types } from './support/raw.ts';
import { type Sluice, startSluice } from './support/sluice.ts';

const server = postgres();
const direct = new Clients(server);
let sluice: Sluice;
afterEach(async () => {
  await direct.end();
  await sluice.stop();
});

const begin = async (settings: string) => {
  const common = `default_pool_size = 1\nadmin_users = ${server.user}\nprepare_threshold = 3\n`;
  sluice = await startSluice(server, { settings: `${common}${settings}` });
};
const login = async () => (await RawClient.login({ ...server, port: sluice.port })).raw;

const RUN = [wire.bind('', ''), wire.describe('P', ''), wire.execute(''), wire.sync()];
const exchange = (sql: string) => [wire.parse('', sql), ...RUN];
const PREPARED = 'select count(*) from pg_prepared_statements';

async function send(client: RawClient, ...messages: Uint8Array[]): Promise<Message[]> {
  client.send(...messages);
  return await client.until('Z');
}

async function ask(client: RawClient, sql: string): Promise<string> {
  const answer = await send(client, ...exchange(sql));
  if (types(answer).includes('E')) return errorOf(answer).message;
  expect(types(answer)).toMatch(/^12[Tn]D*CZ$/);
  return types(answer).includes('D') ? cell(answer) : '';
}

/** How many statements the pool's server has, asked by a simple query, which prepares nothing. */
async function kept(client: RawClient): Promise<number> {
  return Number(cell(await send(client, wire.query(PREPARED))));
}

describe.each(['pgbouncer', 'follow'])('session_state = %s', (state) => {
  test('what is sent for the third time is kept prepared, for whoever sends it', async () => {
    await begin(`session_state = ${state}`);
    const [a, b] = [await login(), await login()];
    for (let i = 0; i < 2; i++) expect(await ask(a, 'select 41 + 1')).toBe('42');
    for (let i = 0; i < 3; i++) for (const client of [a, b]) expect(await ask(client, 'select 41 + 1')).toBe('42');
    const admin = await direct.pg({ port: sluice.port, database: 'pgbouncer' });
    const { rows } = await admin.query('show stats_totals');
    const row = rows.find(({ database }) => database !== 'pgbouncer');
    expect([row.client_parse_count, row.server_parse_count, row.bind_count].map(Number)).toEqual([6, 1, 6]);
  });

  test('every server has its own, and those that have it not get it', async () => {
    await begin(`session_state = ${state}\ndefault_pool_size = 3\nserver_round_robin = 1\nmax_prepared_statements = 2`);
    const everybody = await Promise.all(Array.from({ length: 6 }, login));
    for (let round = 0; round < 5; round++)
      for (let text = 0; text < 4; text++) {
        const answers = await Promise.all(everybody.map((client) => ask(client, `select ${text} + 1000`)));
        expect(answers).toEqual(everybody.map(() => String(text + 1000)));
      }
    for (let i = 0; i < 3; i++) expect(await kept(everybody[0]!)).toBeLessThanOrEqual(2);
  });

  test('a table that changes is read with its new columns', async () => {
    await begin(`session_state = ${state}`);
    const admin = await direct.pg();
    await admin.query('drop table if exists auto_changing; create table auto_changing as select 1 as a');
    const client = await login();
    for (let i = 0; i < 4; i++) expect(await ask(client, 'select * from auto_changing')).toBe('1');
    await admin.query('alter table auto_changing add b int default 7');
    const answer = await send(client, ...exchange('select * from auto_changing'));
    expect(types(answer)).toBe('12TDCZ');
    expect(answer.find(({ type }) => type === 'T')!.body.readInt16BE(0)).toBe(2);
    await admin.query('alter table auto_changing drop a');
    expect(await ask(client, 'select * from auto_changing')).toBe('7');
    await admin.query('drop table auto_changing');
    expect(await ask(client, 'select * from auto_changing')).toBe('relation "auto_changing" does not exist');
    await admin.query('create table auto_changing as select 9 as c');
    expect(await ask(client, 'select * from auto_changing')).toBe('9');
    await admin.query('drop table auto_changing');
  });

  test('errors of parsing, binding and running come as they would, and the next is right again', async () => {
    await begin(`session_state = ${state}`);
    const client = await login();
    for (let i = 0; i < 5; i++) {
      expect(types(await send(client, ...exchange('select 1 from auto_nowhere')))).toBe('EZ');
      expect(types(await send(client, ...exchange('select 1/0')))).toMatch(/^12T?EZ$|^1EZ$/);
      const text = wire.parse('', 'select $1::int + 1');
      const bound = (value: string) =>
        send(client, text, wire.bind('', '', [value]), ...RUN.slice(1)) as Promise<Message[]>;
      expect(types(await bound('x'))).toBe('1EZ');
      expect(cell(await bound('41'))).toBe('42');
      expect(types(await send(client, text, ...RUN))).toBe('1EZ');
    }
  });
});

test('a text with constants, of another kind, in a transaction or without a Describe is parsed each time', async () => {
  await begin('');
  const client = await login();
  for (let i = 0; i < 5; i++) {
    expect(await ask(client, "select 'now'::timestamptz = now()")).toBe('t');
    expect(await ask(client, 'select $$a$$')).toBe('a');
    expect(await ask(client, 'set work_mem = 4096')).toBe('');
    const bare = [wire.parse('', 'select 2'), wire.bind('', ''), wire.execute(''), wire.sync()];
    expect(types(await send(client, ...bare))).toBe('12DCZ');
    expect(types(await send(client, wire.query('begin')))).toBe('CZ');
    expect(await ask(client, 'select 3')).toBe('3');
    expect(types(await send(client, wire.query('commit')))).toBe('CZ');
  }
  expect(await kept(client)).toBe(0);
});

test('the unnamed statement is there for what is sent behind it, and for nobody afterwards', async () => {
  await begin('');
  // Not answered before the next packet is there.
  const SLOW = 'select pg_sleep(0.2)';
  const [client, other] = [await login(), await login()];
  for (let i = 0; i < 4; i++) await ask(client, SLOW);
  // The second exchange binds what the first has parsed, before that is answered.
  const [first, again] = [exchange(SLOW), RUN];
  client.send(...first);
  client.send(...again);
  expect(types(await client.until('Z'))).toBe('12TDCZ');
  expect(types(await client.until('Z'))).toBe('2TDCZ');
  expect(types(await send(client, ...RUN))).toBe('EZ');
  expect(types(await send(other, ...RUN))).toBe('EZ');
  expect(types(await send(client, ...exchange(SLOW)))).toBe('12TDCZ');
  expect(types(await send(client, wire.close('S', ''), wire.sync()))).toBe('3Z');
});

test.each([
  ['closes a statement', wire.close('S', 'mine')],
  ['prepares a text that is known', wire.parse('mine too', 'select 6')],
])('who %s and has not ended the exchange is in nobody’s way', async (_what, begun) => {
  await begin('prepare_threshold = 1');
  const [one, other] = [await login(), await login()];
  await send(one, wire.parse('mine', 'select 6'), wire.sync());
  for (let i = 0; i < 2; i++) expect(await ask(other, 'select 7')).toBe('7');
  one.send(begun);
  await one.next();
  for (let i = 0; i < 2; i++) expect(await ask(other, 'select 7')).toBe('7');
  expect(types(await send(one, wire.sync()))).toBe('Z');
});

test('what is sent behind one that must be run again waits for it', async () => {
  await begin('default_pool_size = 2\nprepare_threshold = 1');
  const admin = await direct.pg();
  await admin.query('drop table if exists auto_locked; create table auto_locked as select 1 as a');
  const client = await login();
  for (let i = 0; i < 2; i++) expect(await ask(client, 'select * from auto_locked')).toBe('1');
  await admin.query('begin; alter table auto_locked add b int default 2');
  client.send(...exchange('select * from auto_locked'));
  const waits = "select 1 from pg_locks where relation = 'auto_locked'::regclass and not granted";
  await until(async () => (await admin.query(waits)).rowCount === 1);
  client.send(...exchange('select 3'));
  client.send(...RUN);
  await admin.query('commit');
  expect(types(await client.until('Z'))).toBe('12TDCZ');
  expect(cell(await client.until('Z'))).toBe('3');
  expect(cell(await client.until('Z'))).toBe('3');
  await admin.query('drop table auto_locked');
});

test('a query whose client has said goodbye behind it runs to its end', async () => {
  await begin('prepare_threshold = 1');
  const admin = await direct.pg();
  const operator = await direct.pg({ port: sluice.port, database: 'pgbouncer' });
  await admin.query('drop table if exists auto_bye; create table auto_bye (n int)');
  await admin.query('select pg_advisory_lock(471109)');
  const client = await login();
  client.send(...exchange('insert into auto_bye select 1 from pg_advisory_xact_lock(471109)'));
  const waits = "select 1 from pg_locks where locktype = 'advisory' and objid = 471109 and not granted";
  await until(async () => (await admin.query(waits)).rowCount === 1);
  client.send(wire.terminate());
  client.end();
  const here = async () =>
    (await operator.query('show clients')).rows.filter(({ database }) => database !== 'pgbouncer');
  await until(async () => (await here()).length === 0);
  await admin.query('select pg_advisory_unlock(471109)');
  await until(async () => (await admin.query('select 1 from auto_bye')).rowCount === 1);
  await admin.query('drop table auto_bye');
});

test('they make room for statements that have a name', async () => {
  await begin('prepare_threshold = 1\nmax_prepared_statement_bytes = 20000');
  const padding = ` /* ${'x'.repeat(800)} */`;
  const everybody = await Promise.all(Array.from({ length: 12 }, login));
  for (const [i, client] of everybody.entries()) await ask(client, `select ${i}${padding}`);
  const named = [wire.parse('named', `select 99${padding}`), wire.sync()];
  expect(types(await send(everybody[0]!, ...named))).toBe('1Z');
  for (const [i, client] of everybody.entries()) expect(await ask(client, `select ${i}${padding}`)).toBe(String(i));
});

test('what was parsed while a transaction changed what it means is parsed again when that has ended', async () => {
  await begin('default_pool_size = 2\nprepare_threshold = 1');
  const [one, other] = [await login(), await login()];
  const create = (type: string) =>
    `create function auto_meaning(${type}) returns text language sql as 'select ''${type}'''`;
  await send(one, wire.query(`drop function if exists auto_meaning(int), auto_meaning(text)`));
  await send(one, wire.query(create('int')));
  const called = async (value: string) => {
    const [, ...rest] = RUN;
    return cell(await send(other, wire.parse('', 'select auto_meaning($1)'), wire.bind('', '', [value]), ...rest));
  };
  expect(await called('1')).toBe('int');
  for (const sql of ['begin', 'drop function auto_meaning(int)', create('text')]) await send(one, wire.query(sql));
  expect(await called('1')).toBe('int');
  await send(one, wire.query('commit'));
  expect(await called('x')).toBe('text');
  await send(one, wire.query('drop function auto_meaning(text)'));
});

test('a text means what it means to who sends it: by search_path, parameter types and the text itself', async () => {
  await begin('session_state = follow');
  const admin = await direct.pg();
  await admin.query(`drop schema if exists auto_one, auto_two cascade; create schema auto_one; create schema auto_two;
    create table auto_one.which as select 1 as n; create table auto_two.which as select 2 as n`);
  const [one, two] = [await login(), await login()];
  await send(one, wire.query('set search_path = auto_one'));
  await send(two, wire.query('set search_path = auto_two'));
  for (let i = 0; i < 6; i++) {
    expect(await ask(one, 'select n from which')).toBe('1');
    expect(await ask(two, 'select n from which')).toBe('2');
    expect(await ask(one, 'select n from which ')).toBe('1');
  }
  await send(one, wire.query('set search_path = auto_two'));
  expect(await ask(one, 'select n from which')).toBe('2');
  const typed = (oid: number) => [wire.parse('', 'select pg_typeof($1)', [oid])];
  for (let i = 0; i < 5; i++)
    for (const [oid, name] of [
      [23, 'integer'],
      [25, 'text'],
    ] as const)
      expect(cell(await send(one, ...typed(oid), wire.bind('', '', ['1']), ...RUN.slice(1)))).toBe(name);
  await send(one, wire.query('create temp table another as select 4 as n'));
  for (let i = 0; i < 4; i++) expect(await ask(one, 'select n from which')).toBe('2');
  await send(one, wire.query('create temp table which as select 3 as n'));
  for (let i = 0; i < 4; i++) expect(await ask(one, 'select n from which')).toBe('3');
  await admin.query('drop schema auto_one, auto_two cascade');
});

test('with 0, the default, nothing is kept, and SET changes that for those who are there', async () => {
  await begin('prepare_threshold = 0');
  const client = await login();
  for (let i = 0; i < 5; i++) await ask(client, 'select 8');
  expect(await kept(client)).toBe(0);
  const admin = await direct.pg({ port: sluice.port, database: 'pgbouncer' });
  await admin.query('set prepare_threshold = 1');
  await ask(client, 'select 8');
  await until(async () => (await kept(client)) === 1);
  await admin.query('set prepare_threshold = 0');
  expect(await ask(client, 'select 8')).toBe('8');
});
