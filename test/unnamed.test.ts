/** The unnamed prepared statement in transaction mode: used again in a later exchange, on whichever server, and never anybody else's. */
import * as wire from '@sluice/wire';
import { afterEach, describe, expect, test } from 'vitest';
import { postgres } from './support/postgres.ts';
import { cell, errorOf, RawClient, types } from './support/raw.ts';
import { type Sluice, startSluice } from './support/sluice.ts';

const server = postgres();
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
  return row === undefined ? types(answer) : cell(answer);
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
    expect(await ask(a, ...USE)).toBe('third');
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

  test('one that was skipped by an error is not there: whose is on the server is not run', async () => {
    await begin(`default_pool_size = 1\nsession_state = ${state}`);
    const [victim, a] = [await login(), await login()];
    expect(await ask(victim, ...AT_ONCE("select 'secret of victim'"))).toBe('secret of victim');
    // Two exchanges in one piece: the first is skipped from its first message on.
    a.send(wire.bind('', 'nope'), ...AT_ONCE('select 1'), ...USE);
    expect(errorOf(await a.until('Z')).message).toBe('prepared statement "nope" does not exist');
    expect(errorOf(await a.until('Z')).message).toBe('unnamed prepared statement does not exist');
    expect(await ask(victim, ...AT_ONCE("select 'again'"))).toBe('again');
    // And where the error is known already.
    a.send(wire.bind('', 'nope'), wire.flush());
    await a.until('E');
    a.send(...AT_ONCE('select 1').slice(0, 3));
    a.send(wire.sync(), ...USE);
    await a.until('Z');
    expect(errorOf(await a.until('Z')).message).toBe('unnamed prepared statement does not exist');
  });

  test('one that follows an exchange that failed is the one that counts', async () => {
    await begin(`default_pool_size = 1\nsession_state = ${state}`);
    const a = await login();
    const failing = [wire.parse('n', 'select 1/0'), wire.bind('', 'n'), wire.execute(''), wire.sync()];
    a.send(...failing, wire.parse('', "select 'behind'"), wire.describe('S', ''), ...USE);
    expect(errorOf(await a.until('Z')).code).toBe('22012');
    expect(types(await a.until('Z'))).toBe('1tT2DCZ');
    // One that is kept stays where what was to replace it is skipped, and goes where that fails.
    expect(await ask(a, wire.parse('', "select 'old'"), wire.sync())).toBe('1Z');
    expect(await ask(a, wire.bind('', 'nope'), wire.parse('', 'select 2'), wire.sync())).toMatch(/"nope"/);
    expect(await ask(a, ...USE)).toBe('old');
    a.send(wire.bind('', 'nope'), wire.close('S', ''), wire.sync(), ...AT_ONCE("select 'new'"), ...USE);
    await a.until('Z');
    for (let i = 0; i < 2; i++) expect(cell(await a.until('Z'))).toBe('new');
    expect(await ask(a, wire.parse('', 'selec'), wire.sync())).toMatch(/syntax error/);
    expect(await ask(a, ...USE)).toBe('unnamed prepared statement does not exist');
  });

  test('parts of one group that come apart wait for nothing', async () => {
    await begin(`default_pool_size = 1\nsession_state = ${state}`);
    const a = await login();
    const two = AT_ONCE("select 'two'");
    for (let at = 1; at < two[0]!.length + two[1]!.length; at++) {
      const whole = wire.concat(...AT_ONCE("select 'one'").slice(0, 3), ...two);
      a.send(whole.subarray(0, whole.length - wire.concat(...two).length + at));
      await new Promise((resolve) => setTimeout(resolve, 2));
      a.send(wire.concat(...two).subarray(at));
      expect(types(await a.until('Z'))).toBe('12DC12DCZ');
    }
  });

  test('the end of a copy that is none ends no exchange', async () => {
    await begin(`default_pool_size = 1\nsession_state = ${state}`);
    const a = await login();
    a.send(...AT_ONCE("select 'a'").slice(0, 3), wire.copyDone(), ...USE);
    expect(types(await a.until('Z'))).toBe('12DC2DCZ');
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
