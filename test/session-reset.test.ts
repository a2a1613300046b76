/** session_state = follow: what RESET and SET mean to a client with startup parameters, and ways around the scan of texts. */
import * as wire from '@sluice/wire';
import { afterEach, describe, expect, test } from 'vitest';
import type { Clients } from './support/clients.ts';
import { postgres } from './support/postgres.ts';
import { cell, errorOf, type Message, RawClient } from './support/raw.ts';
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

const enter = async (params: Record<string, string> = {}) =>
  (await RawClient.login({ ...server, port: sluice.port }, params)).raw;
const ask = async (raw: RawClient, sql: string): Promise<Message[]> => {
  raw.send(wire.query(sql));
  return raw.until('Z');
};
const show = async (raw: RawClient, name: string) => cell(await ask(raw, `show ${name}`));
const reported = (messages: readonly Message[]) =>
  messages
    .filter(({ type }) => type === 'S')
    .map(({ body }) => body.toString('latin1').replace('\0', '=').slice(0, -1));

describe('a client with startup parameters', () => {
  test.each([
    ['statement_timeout', '300ms', "set statement_timeout = '0'", '0'],
    ['work_mem', '9MB', "begin; set work_mem = '4MB'; commit", '4MB'],
    ['role', 'pg_monitor', 'set role none', 'none'],
  ])('may set %s to what the server itself begins with', async (name, first, sql, expected) => {
    await begin();
    const raw = await enter({ options: `-c ${name}=${first}` });
    expect(await show(raw, name)).toBe(first);
    await ask(raw, sql);
    for (let i = 0; i < 4; i++) expect(await show(raw, name)).toBe(expected);
  });

  test.each(['reset %', 'set % to default', 'reset all', 'discard all', 'begin; reset %; commit'])(
    'goes back to them by "%s"',
    async (how) => {
      await begin();
      const first = { statement_timeout: '7s', 'app.tenant': 'red', timezone: 'Asia/Tokyo', datestyle: 'German, DMY' };
      const options = `-c statement_timeout=7s -c app.tenant=red`;
      const raw = await enter({ options, timezone: 'Asia/Tokyo', datestyle: 'German, DMY' });
      const other = { statement_timeout: '9s', 'app.tenant': 'blue', timezone: 'Europe/Paris', datestyle: 'SQL, MDY' };
      for (const [name, value] of Object.entries(other)) await ask(raw, `set ${name} = ${wire.sqlLiteral(value)}`);
      for (const [name, value] of Object.entries(other)) expect(await show(raw, name)).toBe(value);
      const all = /all/.test(how);
      const answers: Message[] = [];
      for (const name of Object.keys(all ? { once: 1 } : other))
        answers.push(...(await ask(raw, how.replace('%', name))));
      for (let i = 0; i < 3; i++)
        for (const [name, value] of Object.entries(first)) {
          const answer = await ask(raw, `show ${name}`);
          answers.push(...answer);
          expect(cell(answer)).toBe(value);
        }
      // Whoever listens to what is reported has learnt the same.
      const told = reported(answers);
      expect(told.filter((line) => line.startsWith('TimeZone=')).at(-1)).toBe('TimeZone=Asia/Tokyo');
      expect(told.filter((line) => line.startsWith('DateStyle=')).at(-1)).toBe('DateStyle=German, DMY');
    },
  );

  test('gets its encoding back after DISCARD ALL', async () => {
    await begin();
    const raw = await enter({ client_encoding: 'LATIN1' });
    await ask(raw, 'discard all');
    const row = (await ask(raw, 'select chr(233)')).find(({ type }) => type === 'D')!;
    expect([...wire.parseDataRow(row.body, 0, row.body.length)[0]!]).toEqual([0xe9]);
  });

  test('that rolls a RESET back keeps what it had set', async () => {
    await begin();
    const raw = await enter({ timezone: 'Asia/Tokyo', options: '-c work_mem=9MB' });
    await ask(raw, "set timezone = 'Europe/Paris'; set work_mem = '7MB'");
    await ask(raw, 'begin; reset all; rollback');
    for (let i = 0; i < 3; i++) {
      expect(await show(raw, 'timezone')).toBe('Europe/Paris');
      expect(await show(raw, 'work_mem')).toBe('7MB');
    }
  });

  test.each([
    ['overridden in its text', 'reset all; set statement_timeout = 0'],
    ['overridden in its transaction', 'begin; reset statement_timeout; set statement_timeout = 0; commit'],
    ['rolled back', 'begin; reset statement_timeout; rollback'],
    ['of a transaction that fails', 'begin; reset all; select 1/0', 'rollback'],
    ['refused', 'begin; discard all', 'rollback'],
  ])('does not go back by a RESET that is %s', async (_what, ...texts) => {
    await begin();
    const raw = await enter({ options: '-c statement_timeout=5s -c role=pg_monitor', timezone: 'Asia/Tokyo' });
    await ask(raw, "set statement_timeout = 0; set role none; set timezone = 'Europe/Paris'");
    for (const sql of texts) await ask(raw, sql);
    for (let i = 0; i < 3; i++) {
      expect(await show(raw, 'statement_timeout')).toBe('0');
      expect(await show(raw, 'role')).toBe('none');
      expect(await show(raw, 'timezone')).toBe(texts[0]!.startsWith('reset all;') ? 'Asia/Tokyo' : 'Europe/Paris');
    }
  });

  test('that are ignored is not given them by its first SET', async () => {
    await begin('ignore_startup_parameters = extra_float_digits, no_such_thing');
    const raw = await enter({ extra_float_digits: '0', no_such_thing: '1' });
    await ask(raw, "set work_mem = '1MB'");
    for (let i = 0; i < 3; i++) {
      expect(await show(raw, 'extra_float_digits')).toBe('1');
      expect(await show(raw, 'work_mem')).toBe('1MB');
    }
  });

  test('is refused when the rules change while it logs in', async () => {
    await begin();
    const operator = await clients.pg({ database: 'pgbouncer' });
    const raw = await RawClient.connect(sluice.host, sluice.port);
    const params = { user: server.user, database: server.database, options: '-c role=pg_monitor' };
    raw.send(wire.startupMessage({ major: 3, minor: 0, params }));
    await new Promise((resolve) => raw.socket.once('data', resolve));
    await operator.query("set session_state = 'refuse'");
    await expect(raw.authenticate(server.password)).rejects.toThrow(/unsupported startup parameter/);
  });

  test.each([
    ['session', 0, 'RESET ALL'],
    ['session', 0, 'DISCARD ALL'],
    ['transaction', 1, 'RESET ALL'],
    ['transaction', 1, 'DISCARD ALL'],
  ])('has them in %s mode with server_reset_query_always = %i, server_reset_query = %s', async (mode, always, sql) => {
    await begin(`pool_mode = ${mode}\nserver_reset_query = ${sql}\nserver_reset_query_always = ${always}`);
    for (let i = 0; i < 4; i++) {
      const raw = await enter({ options: '-c statement_timeout=5s -c app.tenant=t1' });
      for (let k = 0; k < 2; k++) {
        expect(await show(raw, 'statement_timeout')).toBe('5s');
        expect(await show(raw, 'app.tenant')).toBe('t1');
      }
      raw.send(wire.terminate());
      raw.end();
    }
  });
});

test('a setting that its role may not change is set all the same where another role had set it, and taken back', async () => {
  await begin();
  const [a, b] = [await enter(), await enter()];
  for (const raw of [a, b]) await ask(raw, 'set role pg_monitor');
  await ask(a, 'begin; reset role; set log_min_duration_statement = 1000000; set role pg_monitor; commit');
  for (let i = 0; i < 6; i++) {
    expect(await show(a, 'log_min_duration_statement')).toBe('1000s');
    expect(await show(b, 'log_min_duration_statement')).toBe('-1');
    for (const raw of [a, b]) expect(cell(await ask(raw, 'select current_user'))).toBe('pg_monitor');
  }
});

describe('however it is said', () => {
  const oid = async (name: string) => Number(cell(await ask(await enter(), `select '${name}'::regprocedure::oid`)));

  test.each([
    ['behind a comment that ends with a carriage return', "--x\rset work_mem = '6MB'"],
    ['by a name in Unicode escapes', `select U&"set\\005fconfig"('work_mem', '6MB', false)`],
    ['by EXPLAIN ANALYZE EXECUTE', 'explain analyze execute p'],
  ])('a setting follows: %s', async (_what, sql) => {
    await begin();
    const [raw, other] = [await enter(), await enter()];
    await ask(raw, "prepare p as select set_config('work_mem', '6MB', false)");
    await ask(raw, sql);
    for (let i = 0; i < 4; i++) {
      expect(await show(raw, 'work_mem')).toBe('6MB');
      expect(await show(other, 'work_mem')).toBe('4MB');
    }
  });

  test('a setting follows, and a lock pins, by a function call of the protocol', async () => {
    await begin();
    const [raw, other] = [await enter(), await enter()];
    raw.send(wire.functionCall(await oid('set_config(text, text, boolean)'), ['work_mem', '6MB', 'false']));
    await raw.until('Z');
    for (let i = 0; i < 4; i++) {
      expect(await show(raw, 'work_mem')).toBe('6MB');
      expect(await show(other, 'work_mem')).toBe('4MB');
    }
    raw.send(wire.functionCall(await oid('pg_advisory_lock(bigint)'), ['7']));
    await raw.until('Z');
    const console = await clients.pg({ database: 'pgbouncer' });
    // What there is, the server is asked when it has answered: the pin comes a moment later than that answer.
    const pins = async () => (await console.query('show pins')).rows.length;
    while ((await pins()) === 0);
    expect(await pins()).toBe(1);
  });

  test.each([
    'set search_path = pg_temp, public',
    "select set_config('search_path', 'pg_temp,public', false)",
    'begin; set local search_path = pg_temp; create table made_somewhere (n int); commit',
    `begin; set local search_path = "$user", pg_temp; create table made_somewhere (n int); commit`,
    "begin; select set_config('search_path', 'PG_TEMP', true); create table made_somewhere (n int); commit",
  ])('a temporary table pins its server where search_path begins with pg_temp: %s', async (sql) => {
    await begin();
    const raw = await enter();
    await ask(raw, sql);
    await ask(raw, 'create table if not exists made_somewhere (n int)');
    for (let i = 0; i < 4; i++) expect(cell(await ask(raw, 'select count(*) from made_somewhere'))).toBe('0');
  });

  test.each(['follow', 'refuse'])(
    'nothing of a function call is left for others (session_state = %s)',
    async (state) => {
      await begin(`session_state = ${state}\ndefault_pool_size = 1`);
      const [raw, other] = [await enter(), await enter()];
      raw.send(wire.functionCall(await oid('set_config(text, text, boolean)'), ['work_mem', '6MB', 'false']));
      await raw.until('Z');
      expect(await show(other, 'work_mem')).toBe('4MB');
    },
  );
});

test.each(['pgbouncer', 'refuse'])('a pin ends when session_state becomes %s', async (state) => {
  await begin('default_pool_size = 1');
  const [raw, operator] = [await enter(), await clients.pg({ database: 'pgbouncer' })];
  await ask(raw, 'create temp table pinning (n int)');
  await operator.query(`set session_state = '${state}'`);
  await ask(raw, 'select 1');
  expect(cell(await ask(await enter(), "select to_regclass('pinning') is null"))).toBe('t');
});

test.each(['pgbouncer', 'follow', 'refuse'])(
  'who sends the beginning of a message and stops has a server no longer than query_timeout (session_state = %s)',
  async (state) => {
    await begin(`session_state = ${state}\ndefault_pool_size = 1\nquery_timeout = 1`);
    for (const message of [wire.query("select 'some text'"), wire.parse('', "select 'some text'")])
      for (const length of [5, 9, 20]) {
        const raw = await enter();
        raw.send(message.subarray(0, length));
        expect(errorOf(await raw.until('nothing')).message).toBe('query timeout');
      }
    expect(cell(await ask(await enter(), 'select 1'))).toBe('1');
  },
);

test('session_state = refuse has no temporary tables by way of search_path', async () => {
  await begin('session_state = refuse');
  const raw = await enter();
  for (const sql of ['set local search_path = pg_temp', "select set_config('search_path', 'pg_temp', true)"])
    expect(errorOf(await ask(raw, `begin; ${sql}; create table hidden (n int); commit`)).code).toBe('0A000');
});
