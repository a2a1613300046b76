/** Prepared statements that read alike and mean different things: by search_path, role, temporary tables and altered columns. */
import * as wire from '@sluice/wire';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { Clients } from './support/clients.ts';
import { postgres } from './support/postgres.ts';
import { cell, RawClient } from './support/raw.ts';
import { type Sluice, startSluice } from './support/sluice.ts';

const server = postgres();
const admin = new pg.Client(server);
let sluice: Sluice;
let clients: Clients;

const SCHEMAS = `
  create schema numbers; create table numbers.t(v int);
  create schema words; create table words.t(v text);
  create role reading_role; create schema reading_role authorization reading_role;
  create table reading_role.t(v text); alter table reading_role.t owner to reading_role;
  create table public.t(v int); grant all on public.t to public`;
const DROP =
  'drop schema if exists numbers, words, reading_role cascade; drop table if exists public.t; drop role if exists reading_role';

beforeAll(async () => {
  await admin.connect();
  await admin.query(DROP);
  await admin.query(SCHEMAS);
});
afterAll(async () => {
  await admin.query(DROP);
  await admin.end();
});
afterEach(async () => {
  await clients.end();
  await sluice.stop();
});

async function begin(settings: string): Promise<void> {
  sluice = await startSluice(server, { settings });
  clients = new Clients({ ...server, port: sluice.port });
}

const INSERT = { name: 'insert', text: 'insert into t values ($1) returning v' };
/** What becomes of '007': a number where the parameter is taken for one. */
const insert = async (client: pg.Client, config = INSERT) =>
  (await client.query({ ...config, values: ['007'] })).rows[0].v;

describe.each(['pgbouncer', 'follow'])('session_state = %s', (state) => {
  test('search_path, set by the client', async () => {
    await begin(`default_pool_size = 1\nsession_state = ${state}`);
    const [a, b, c] = [await clients.pg(), await clients.pg(), await clients.pg()];
    for (const client of [a, c]) await client.query('set search_path = numbers');
    await b.query('set search_path = words');
    for (let round = 0; round < 2; round++) {
      expect(await insert(a)).toBe(7);
      expect(await insert(b)).toBe('007');
      expect(await insert(c)).toBe(7);
    }
  });

  test('a constant that is the moment is read anew by whoever prepares the text, with a name or without', async () => {
    await begin(`default_pool_size = 1\nsession_state = ${state}\nprepare_threshold = 1`);
    const text = "select 'now'::timestamptz::text as at";
    const seen = new Set<string>();
    for (let i = 0; i < 3; i++) {
      const client = await clients.pg();
      seen.add((await client.query({ name: 'moment', text })).rows[0].at);
      seen.add((await client.query({ text, values: [] })).rows[0].at);
      seen.add((await client.query({ text: `${text} where $1 = 1`, values: [1] })).rows[0].at);
      const { raw } = await RawClient.login({ ...server, port: sluice.port });
      // Prepared and described in one exchange, run in another.
      raw.send(wire.parse('', text), wire.describe('S', ''), wire.sync());
      await raw.until('Z');
      raw.send(wire.bind('', ''), wire.execute(''), wire.sync());
      seen.add(cell(await raw.until('Z')));
      raw.end();
    }
    expect(seen.size).toBe(12);
  });

  test('columns whose type was altered, for who prepares the text afterwards', async () => {
    await begin(`default_pool_size = 2\nsession_state = ${state}`);
    await admin.query('drop table if exists public.altered; create table public.altered(v int)');
    const into = { name: 'i', text: 'insert into public.altered values ($1) returning v' };
    const [a, b] = [await clients.pg(), await clients.pg()];
    expect(await insert(a, into)).toBe(7);
    await b.query('alter table public.altered alter v type text');
    expect(await insert(await clients.pg(), into)).toBe('007');
    await admin.query('drop table public.altered');
  });

  test('a search_path that changes in the same pipeline misleads nobody else', async () => {
    await begin(`default_pool_size = 1\nsession_state = ${state}`);
    const [a, b] = [await clients.pg(), await clients.pg()];
    await b.query('set search_path = numbers');
    await a.query('set search_path = numbers');
    const both = [a.query('set search_path = words'), insert(a)];
    expect((await Promise.all(both))[1]).toBe('007');
    expect(await insert(b)).toBe(7);
  });
});

describe('session_state = follow', () => {
  test('search_path as a startup parameter', async () => {
    await begin('default_pool_size = 1\nsession_state = follow');
    const at = (path: string) => clients.pg({ options: `-c search_path=${path}` });
    const [a, b] = [await at('numbers'), await at('words')];
    expect(await insert(a)).toBe(7);
    expect(await insert(b)).toBe('007');
  });

  test('the role, by "$user" in search_path', async () => {
    await begin('default_pool_size = 1\nsession_state = follow');
    const [a, b] = [await clients.pg(), await clients.pg()];
    expect(await insert(a)).toBe(7);
    await b.query('set role reading_role');
    expect(await insert(b)).toBe('007');
    // In the transaction that sets it, too.
    await a.query('begin; set local role reading_role');
    expect(await insert(a, { ...INSERT, name: 'again' })).toBe('007');
    await a.query('commit');
    expect(await insert(await clients.pg())).toBe(7);
  });

  test('a temporary table in front of another', async () => {
    await begin('default_pool_size = 2\nsession_state = follow');
    const [a, b] = [await clients.pg(), await clients.pg()];
    for (const client of [a, b]) expect(await insert(client)).toBe(7);
    await b.query('create temp table t(v text)');
    expect(await insert(b, { ...INSERT, name: 'temp' })).toBe('007');
    expect(await insert(a, { ...INSERT, name: 'other' })).toBe(7);
    await b.query('drop table pg_temp.t');
    expect(await insert(await clients.pg())).toBe(7);
  });

  test('prepared on another server anew, by what the client has set meanwhile, it is nobody else’s', async () => {
    await begin('default_pool_size = 2\nserver_round_robin = 1\nsession_state = follow');
    const [a, b] = [await clients.pg(), await clients.pg()];
    for (const client of [a, b]) await client.query('set search_path = numbers');
    expect(await insert(a)).toBe(7);
    await a.query('set search_path = words');
    for (let i = 0; i < 4; i++) await insert(a);
    for (let i = 0; i < 4; i++) expect(await insert(b)).toBe(7);
  });
});
