/** The unnamed prepared statement in transaction mode: used again in a later exchange, on whichever server, and never anybody else's. */
import * as wire from '@sluice/wire';
import { afterEach, describe, expect, inject, test } from 'vitest';
import { errorOf, RawClient, types } from './support/raw.ts';
import { type Sluice, startSluice } from './support/sluice.ts';

const server = inject('postgres');
let sluice: Sluice;
afterEach(() => sluice.stop());

const begin = async (settings: string) => {
  sluice = await startSluice(server, { settings });
};
const login = async () => (await RawClient.login({ ...server, port: sluice.port })).raw;
const USE = [wire.bind('', ''), wire.execute(''), wire.sync()];
const AT_ONCE = (sql: string) => [wire.parse('', sql), wire.bind('', ''), wire.execute(''), wire.sync()];

async function ask(client: RawClient, ...messages: Uint8Array[]): Promise<string> {
  client.send(...messages);
  const answer = await client.until('Z');
  const row = answer.find(({ type }) => type === 'D');
  if (types(answer).includes('E')) return errorOf(answer).message;
  return row === undefined
    ? types(answer)
    : Buffer.from(wire.parseDataRow(row.body, 0, row.body.length)[0]!).toString();
}

describe.each(['pgbouncer', 'follow'])('session_state = %s', (state) => {
  test('prepared and described in one exchange, run in others, as drivers do that ask for the types first', async () => {
    await begin(`default_pool_size = 3\nserver_round_robin = 1\nsession_state = ${state}`);
    const everybody = await Promise.all(Array.from({ length: 6 }, login));
    for (let round = 0; round < 3; round++) {
      await Promise.all(
        everybody.map(async (client, i) => {
          const prepare = [wire.parse('', `select '${i}/${round}'`), wire.describe('S', ''), wire.sync()];
          expect(await ask(client, ...prepare)).toBe('1tTZ');
          for (let again = 0; again < 3; again++) expect(await ask(client, ...USE)).toBe(`${i}/${round}`);
          expect(await ask(client, wire.describe('S', ''), wire.sync())).toBe('tTZ');
        }),
      );
    }
  });

  test('nobody runs what somebody else has prepared without a name', async () => {
    await begin(`default_pool_size = 1\nsession_state = ${state}`);
    const [a, b] = [await login(), await login()];
    expect(await ask(a, ...AT_ONCE("select 'of a'"))).toBe('of a');
    expect(await ask(b, ...AT_ONCE("select 'of b'"))).toBe('of b');
    expect(await ask(a, ...USE)).toBe('unnamed prepared statement does not exist');
    expect(await ask(a, wire.describe('S', ''), wire.sync())).toBe('unnamed prepared statement does not exist');
    expect(await ask(await login(), ...USE)).toBe('unnamed prepared statement does not exist');
  });

  test('the last one counts, whether it is run at once or later', async () => {
    await begin(`default_pool_size = 2\nserver_round_robin = 1\nsession_state = ${state}`);
    const a = await login();
    expect(await ask(a, wire.parse('', "select 'first'"), wire.sync())).toBe('1Z');
    expect(await ask(a, wire.parse('', "select 'second'"), wire.sync())).toBe('1Z');
    expect(await ask(a, ...USE)).toBe('second');
    expect(await ask(a, ...AT_ONCE("select 'third'"))).toBe('third');
    expect(await ask(a, ...USE)).toBe('unnamed prepared statement does not exist');
    expect(await ask(a, wire.parse('', "select 'fourth'"), wire.sync())).toBe('1Z');
    expect(await ask(a, wire.parse('', 'selec'), wire.sync())).toMatch(/syntax error/);
    expect(await ask(a, ...USE)).toBe('unnamed prepared statement does not exist');
    expect(await ask(a, wire.parse('', "select 'fifth'"), wire.sync())).toBe('1Z');
    expect(await ask(a, wire.close('S', ''), wire.sync())).toBe('3Z');
    expect(await ask(a, ...USE)).toBe('unnamed prepared statement does not exist');
  });

  test('in one transaction it stays where it is', async () => {
    await begin(`default_pool_size = 1\nsession_state = ${state}`);
    const a = await login();
    expect(await ask(a, ...AT_ONCE('begin'))).toBe('12CZ');
    expect(await ask(a, ...AT_ONCE("select 'once'"))).toBe('once');
    expect(await ask(a, ...USE)).toBe('once');
    expect(await ask(a, wire.parse('', "select 'kept'"), wire.sync())).toBe('1Z');
    expect(await ask(a, ...USE)).toBe('kept');
    expect(await ask(a, ...AT_ONCE('commit'))).toBe('12CZ');
  });

  test('every cut of the conversation comes to the same', async () => {
    await begin(`default_pool_size = 1\nsession_state = ${state}`);
    const [a, b] = [await login(), await login()];
    const prepare = wire.concat(wire.parse('', "select 'cut'"), wire.describe('S', ''), wire.sync());
    const run = wire.concat(...USE);
    const half = async (whole: Uint8Array, at: number) => {
      a.send(whole.subarray(0, at));
      await new Promise((resolve) => setTimeout(resolve, 3));
      return ask(a, whole.subarray(at));
    };
    for (let at = 1; at < prepare.length; at++) {
      expect(await half(prepare, at)).toBe('1tTZ');
      expect(await ask(b, ...AT_ONCE("select 'other'"))).toBe('other');
      expect(await half(run, 1 + (at % (run.length - 1)))).toBe('cut');
    }
  });
});

test('with follow, a setting that it changes when it is run later stays the client’s own', async () => {
  await begin('default_pool_size = 1\nsession_state = follow');
  const [a, b] = [await login(), await login()];
  expect(await ask(a, wire.parse('', "select set_config('app.tenant', 'a', false)"), wire.sync())).toBe('1Z');
  expect(await ask(b, ...AT_ONCE("select 'between'"))).toBe('between');
  expect(await ask(a, ...USE)).toBe('a');
  const tenant = wire.query("select coalesce(current_setting('app.tenant', true), '')");
  expect(await ask(b, tenant)).toBe('');
  expect(await ask(a, tenant)).toBe('a');
});
