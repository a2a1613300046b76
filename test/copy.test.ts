/** COPY in and out, to its end and to all the others. */
import { bind, cancelRequest, copyData, copyDone, copyFail, execute, flush, parse, query, sync } from '@sluice/wire';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { postgres } from './support/postgres.ts';
import { cell, errorOf, keyOf, type Message, RawClient, types } from './support/raw.ts';
import { type Sluice, startSluice } from './support/sluice.ts';

const server = postgres();
let sluice: Sluice;
const open: RawClient[] = [];

beforeAll(async () => {
  sluice = await startSluice(server, { settings: 'default_pool_size = 2' });
});
afterEach(() => {
  for (const raw of open.splice(0)) raw.end();
});
afterAll(() => sluice.stop());

const at = () => ({ ...server, port: sluice.port });

async function login(): Promise<RawClient> {
  const { raw } = await RawClient.login(at());
  open.push(raw);
  return raw;
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

describe('copy', () => {
  const table = async (raw: RawClient) => {
    raw.send(query('create table if not exists raw_copy (n int); truncate raw_copy'));
    await raw.until('Z');
  };

  test('in, failed by the client, and with bad data: each ends in order', async () => {
    const raw = await login();
    await table(raw);
    raw.send(query('copy raw_copy from stdin'));
    expect(types([(await raw.next())!])).toBe('G');
    raw.send(copyData(bytes('1\n2\n')), copyDone());
    expect(types(await raw.until('Z'))).toBe('CZ');
    raw.send(query('copy raw_copy from stdin'), copyData(bytes('3\n')), copyFail('changed my mind'));
    const failed = await raw.until('Z');
    expect([types(failed), errorOf(failed).code]).toEqual(['GEZ', '57014']);
    raw.send(query('copy raw_copy from stdin'), copyData(bytes('word\n')), copyData(bytes('4\n')), copyDone());
    const bad = await raw.until('Z');
    expect([types(bad), errorOf(bad).code]).toEqual(['GEZ', '22P02']);
    raw.send(query('select count(*) from raw_copy'));
    expect(cell(await raw.until('Z'))).toBe('2');
  });

  test('that has failed while its data was still coming keeps the server for nobody', async () => {
    const small = await startSluice(server, { settings: 'default_pool_size = 1' });
    try {
      const at = { ...server, port: small.port };
      const [a, b] = [(await RawClient.login(at)).raw, (await RawClient.login(at)).raw];
      open.push(a, b);
      await table(a);
      const rest = copyData(bytes('more than six bytes\n'));
      for (const start of [
        [query('copy raw_copy from stdin'), copyData(bytes('word\n'))],
        [query('copy no_such_table from stdin')],
      ]) {
        a.send(...start, rest.subarray(0, 6));
        await a.until('Z');
        a.send(rest.subarray(6), copyDone());
        b.send(query("select 'served'"));
        expect(cell(await b.until('Z'))).toBe('served');
      }
    } finally {
      await small.stop();
    }
  });

  test('in by the extended protocol, with the Sync sent before the data as libpq does', async () => {
    const raw = await login();
    await table(raw);
    raw.send(parse('', 'copy raw_copy from stdin'), bind('', ''), execute(''), sync());
    expect(types(await raw.until('G'))).toBe('12G');
    raw.send(copyData(bytes('5\n')), copyDone(), sync());
    expect(types(await raw.until('Z'))).toBe('CZ');
    raw.send(query('select sum(n) from raw_copy'));
    expect(cell(await raw.until('Z'))).toBe('5');
  });

  test('out, and a stray CopyDone afterwards is ignored', async () => {
    const raw = await login();
    await table(raw);
    raw.send(query('insert into raw_copy select generate_series(1, 3)'));
    await raw.until('Z');
    raw.send(query('copy raw_copy to stdout'));
    expect(types(await raw.until('Z'))).toBe('HdddcCZ');
    raw.send(copyDone(), copyData(bytes('x')), query('select 9'));
    expect(cell(await raw.until('Z'))).toBe('9');
  });

  describe('is cancelled', () => {
    const cancel = async (greeting: readonly Message[]) => {
      const raw = await RawClient.connect(sluice.host, sluice.port);
      open.push(raw);
      const { pid, key } = keyOf(greeting);
      raw.send(cancelRequest(pid, key));
      expect(await raw.next()).toBeNull();
    };
    const usable = async (raw: RawClient) => {
      for (const one of [raw, await login()]) {
        one.send(query('select count(*) from raw_copy'));
        const answer = await one.until('Z');
        expect([types(answer), cell(answer)]).toEqual(['TDCZ', '0']);
      }
    };

    test('while it goes in: the client is told at its next data, what it still sends is ignored, and all is as before', async () => {
      const { raw, greeting } = await RawClient.login(at());
      open.push(raw);
      await table(raw);
      raw.send(query('copy raw_copy from stdin'), copyData(bytes('1\n')));
      await raw.until('G');
      await cancel(greeting);
      raw.send(copyData(bytes('2\n')));
      const error = await raw.until('E');
      expect(errorOf(error).code).toBe('57014');
      raw.send(copyData(bytes('3\n')), copyDone());
      expect(types(await raw.until('Z'))).toBe('Z');
      await usable(raw);
    });

    test('while it goes in by the extended protocol: the Sync ends it', async () => {
      const { raw, greeting } = await RawClient.login(at());
      open.push(raw);
      await table(raw);
      raw.send(parse('', 'copy raw_copy from stdin'), bind('', ''), execute(''), flush());
      await raw.until('G');
      await cancel(greeting);
      raw.send(copyData(bytes('1\n')));
      expect(errorOf(await raw.until('E')).code).toBe('57014');
      raw.send(copyData(bytes('2\n')), copyFail('told to'), sync());
      expect(types(await raw.until('Z'))).toBe('Z');
      await usable(raw);
    });

    test('while it goes out, to a client that reads and to one that had stopped', async () => {
      const { raw, greeting } = await RawClient.login(at());
      open.push(raw);
      await table(raw);
      for (const stops of [false, true]) {
        raw.send(query("copy (select repeat('x', 10000), generate_series(1, 1000000000)) to stdout"));
        await raw.until('d');
        if (stops) raw.socket.pause();
        const ending = raw.until('Z');
        await cancel(greeting);
        raw.socket.resume();
        const end = await ending;
        expect([types(end.slice(-2)), errorOf(end).code]).toEqual(['EZ', '57014']);
        await usable(raw);
      }
    });
  });
});
