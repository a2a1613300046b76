/** The protocol byte by byte: what no driver sends, and what the answers must look like. COPY is in copy.test.ts. */
import {
  bind,
  cancelRequest,
  close,
  describe as describeMessage,
  execute,
  flush,
  functionCall,
  gssEncRequest,
  parse,
  parseBackendKeyData,
  parseNegotiate,
  parseParameterStatus,
  query,
  sslRequest,
  startupMessage,
  sync,
} from '@sluice/wire';
import { afterAll, afterEach, beforeAll, describe, expect, inject, test } from 'vitest';
import { postgres } from './support/postgres.ts';
import { FaultyProxy } from './support/proxy.ts';
import { cell, errorOf, keyOf, RawClient, types } from './support/raw.ts';
import { type Sluice, startSluice } from './support/sluice.ts';

const server = postgres();
let sluice: Sluice;
const open: RawClient[] = [];

beforeAll(async () => {
  sluice = await startSluice(server, { settings: 'default_pool_size = 2\nclient_login_timeout = 2' });
});
afterEach(() => {
  for (const raw of open.splice(0)) raw.end();
});
afterAll(() => sluice.stop());

const at = () => ({ ...server, port: sluice.port });

async function login(params: Record<string, string> = {}, minor = 0): Promise<RawClient> {
  const { raw } = await RawClient.login(at(), params, minor);
  open.push(raw);
  return raw;
}

async function bare(): Promise<RawClient> {
  const raw = await RawClient.connect(sluice.host, sluice.port);
  open.push(raw);
  return raw;
}

/** A server that does not report search_path, as those before PostgreSQL 18: its name is spoilt on the way. */
async function startSilentServer(): Promise<FaultyProxy> {
  const silent = await FaultyProxy.start(server);
  silent.rewrite = (chunk) =>
    Buffer.from(chunk.toString('latin1').replaceAll('search_path\0', 'search_pat_\0'), 'latin1');
  return silent;
}

describe('startup', () => {
  test('encryption requests are answered and the login goes on in plain', async () => {
    const raw = await bare();
    raw.send(sslRequest());
    expect(await raw.byte()).toBe('N');
    raw.send(gssEncRequest());
    expect(await raw.byte()).toBe('N');
    raw.send(startupMessage({ major: 3, minor: 0, params: { user: server.user, database: server.database } }));
    await raw.authenticate(server.password);
    expect(types(await raw.until('Z'))).toMatch(/^S+KZ$/);
  });

  test('the greeting carries what the server reports, in its words, and a key of four bytes', async () => {
    const { raw, greeting } = await RawClient.login(at(), { client_encoding: 'utf-8' });
    open.push(raw);
    const reported = new Map(
      greeting
        .filter(({ type }) => type === 'S')
        .map(({ body }) => {
          const { name, value } = parseParameterStatus(body, 0, body.length);
          return [name, value];
        }),
    );
    expect(reported.get('server_version')).toMatch(new RegExp(`^${inject('release')}`));
    expect(reported.get('client_encoding')).toBe('UTF8');
    const key = greeting.find(({ type }) => type === 'K')!;
    expect(parseBackendKeyData(key.body, 0, key.body.length).key).toHaveLength(4);
  });

  test('and with every name of an encoding in PostgreSQL’s own', async () => {
    for (const [asked, reported] of [
      ['euc-jp', 'EUC_JP'],
      ['windows-1252', 'WIN1252'],
    ] as const) {
      const greeted = async (port: number) => {
        const { raw, greeting } = await RawClient.login({ ...at(), port }, { client_encoding: asked });
        raw.end();
        const statuses = greeting
          .filter(({ type }) => type === 'S')
          .map(({ body }) => body.toString('latin1').split('\0'));
        return statuses.find(([name]) => name === 'client_encoding')?.[1];
      };
      expect([await greeted(at().port), await greeted(server.port)]).toEqual([reported, reported]);
    }
  });

  test('protocol 3.2 is spoken, with a long cancel key', async () => {
    const { raw, greeting } = await RawClient.login(at(), {}, 2);
    open.push(raw);
    expect(types(greeting)).not.toContain('v');
    const key = greeting.find(({ type }) => type === 'K')!;
    expect(parseBackendKeyData(key.body, 0, key.body.length).key).toHaveLength(32);
  });

  test('a newer minor version and unknown options are negotiated down', async () => {
    const { raw, greeting } = await RawClient.login(at(), { '_pq_.future': 'on' }, 9999);
    open.push(raw);
    const offer = greeting.find(({ type }) => type === 'v')!;
    expect(parseNegotiate(offer.body, 0, offer.body.length)).toEqual({ minor: 2, unsupported: ['_pq_.future'] });
  });

  test.each([
    [2, 0],
    [4, 1],
  ])('protocol %i.%i is refused in the protocol’s own way', async (major, minor) => {
    const raw = await bare();
    raw.send(startupMessage({ major, minor, params: { user: 'postgres' } }));
    expect(errorOf(await raw.until('E'))).toMatchObject({
      severity: 'FATAL',
      code: '0A000',
      message: expect.stringContaining(`unsupported frontend protocol ${major}.${minor}`),
    });
  });

  test('a startup parameter that is neither followed nor ignored is refused by name', async () => {
    await expect(RawClient.login(at(), { work_mem: '1MB' })).rejects.toThrow('unsupported startup parameter: work_mem');
  });

  test('a search_path that the server does not report is refused, or without effect, and never the next client’s', async () => {
    const older = await startSilentServer();
    const databases = `* = host=127.0.0.1 port=${older.port}`;
    const asked = { options: '-c search_path=pg_catalog' };
    const settings = 'default_pool_size = 1\n';
    const [usual, tracking] = [
      await startSluice(server, { databases, settings }),
      await startSluice(server, { databases, settings: `${settings}track_extra_parameters = search_path` }),
    ];
    try {
      const login = async (port: number, params = {}) => {
        const { raw } = await RawClient.login({ ...server, port }, params);
        open.push(raw);
        return raw;
      };
      await expect(login(usual.port, asked)).rejects.toThrow('unsupported startup parameter in options: search_path');
      const clients = [asked, {}, { options: '-c search_path=public' }, {}, asked, {}];
      for (const params of clients) {
        const raw = await login(tracking.port, params);
        raw.send(query("select current_setting('search_path')"));
        expect(cell(await raw.until('Z'))).toBe('"$user", public');
      }
    } finally {
      await usual.stop();
      await tracking.stop();
      await older.stop();
    }
  });

  test('followed startup parameters apply', async () => {
    const raw = await login({ application_name: 'raw', TimeZone: 'Asia/Tokyo', IntervalStyle: 'iso_8601' });
    raw.send(
      query(
        "select current_setting('application_name') || current_setting('TimeZone') || current_setting('IntervalStyle')",
      ),
    );
    expect(cell(await raw.until('Z'))).toBe('rawAsia/Tokyoiso_8601');
  });

  test('a startup parameter that PostgreSQL does not accept ends the session with its error', async () => {
    const raw = await login({ TimeZone: 'Nowhere/Land' });
    raw.send(query('select 1'));
    expect(errorOf(await raw.until('E'))).toMatchObject({
      severity: 'FATAL',
      message: expect.stringContaining('Nowhere/Land'),
    });
  });

  test.each([
    ['garbage', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
    ['an oversize length', Buffer.from([0x7f, 0xff, 0xff, 0xff, 0, 3, 0, 0])],
    ['a length below its own size', Buffer.from([0, 0, 0, 1, 0, 3, 0, 0])],
    ['a startup message without its end', Buffer.from([0, 0, 0, 13, 0, 3, 0, 0, 117, 115, 101, 114, 0])],
  ])('%s: the connection is closed, the daemon goes on', async (_, garbage) => {
    const raw = await bare();
    raw.send(garbage);
    expect(errorOf(await raw.until('E'))).toMatchObject({ severity: 'FATAL', code: '08P01' });
    expect(await raw.next()).toBeNull();
    const other = await login();
    other.send(query('select 1'));
    expect(types(await other.until('Z'))).toBe('TDCZ');
  });

  test('a stalled handshake is ended by client_login_timeout', async () => {
    const raw = await bare();
    raw.send(Buffer.from([0, 0, 0]));
    expect(errorOf(await raw.until('E'))).toMatchObject({ message: 'client_login_timeout' });
    expect(await raw.next()).toBeNull();
    const who = String.raw`C-0x[0-9a-f]+: \(nodb\)/\(nouser\)@127\.0\.0\.1:\d+`;
    await sluice.waitFor(new RegExp(`LOG ${who} closing because: client_login_timeout \\(age=2s\\)`));
    await sluice.waitFor(new RegExp(`WARNING ${who} pooler error: client_login_timeout`));
  });
});

describe('simple query', () => {
  test('empty query, several statements and an error among them', async () => {
    const raw = await login();
    raw.send(query(''));
    expect(types(await raw.until('Z'))).toBe('IZ');
    raw.send(query('select 1; select 2; select 3'));
    expect(types(await raw.until('Z'))).toBe('TDCTDCTDCZ');
    raw.send(query('select 1; select 1/0; select 3'));
    expect(types(await raw.until('Z'))).toBe('TDCEZ');
  });

  test('many queries in one chunk are answered one by one, in order', async () => {
    const raw = await login();
    raw.send(...Array.from({ length: 200 }, (_, i) => query(`select ${i}`)));
    for (let i = 0; i < 200; i++) expect(cell(await raw.until('Z'))).toBe(String(i));
  });

  test('a query that arrives byte by byte', async () => {
    const raw = await login();
    for (const byte of query('select 42')) {
      raw.send(Uint8Array.of(byte));
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(cell(await raw.until('Z'))).toBe('42');
  });

  test('disable_pqexec refuses it, whole or in pieces, and lets the extended protocol through', async () => {
    const strict = await startSluice(server, { settings: 'disable_pqexec = 1' });
    try {
      for (const piece of [query('select 1'), query('select 1').subarray(0, 8)]) {
        const { raw } = await RawClient.login({ ...server, port: strict.port });
        open.push(raw);
        raw.send(parse('', 'select 5'), bind('', ''), execute(''), sync());
        expect(types(await raw.until('Z'))).toBe('12DCZ');
        raw.send(piece);
        expect(errorOf(await raw.until('E'))).toMatchObject({ code: '08P01', message: 'PQexec disallowed' });
        expect(await raw.next()).toBeNull();
      }
    } finally {
      await strict.stop();
    }
  });

  test('function call', async () => {
    const raw = await login();
    raw.send(query("select 'pg_catalog.int4pl'::regproc::oid"));
    const oid = Number(cell(await raw.until('Z')));
    raw.send(functionCall(oid, ['20', '22']));
    const answer = await raw.until('Z');
    expect(types(answer)).toBe('VZ');
    expect(answer[0]!.body.subarray(4).toString()).toBe('42');
  });
});

describe('extended query', () => {
  test('a pipeline with many Syncs in flight', async () => {
    const raw = await login();
    const one = (i: number) => [parse('', `select ${i}`), bind('', ''), describeMessage('P', ''), execute(''), sync()];
    raw.send(...Array.from({ length: 50 }, (_, i) => one(i)).flat());
    for (let i = 0; i < 50; i++) {
      const answer = await raw.until('Z');
      expect([types(answer), cell(answer)]).toEqual(['12TDCZ', String(i)]);
    }
  });

  test('Flush brings the answers without ending the exchange, and the server stays', async () => {
    const raw = await login();
    raw.send(parse('', 'select pg_backend_pid()'), bind('', ''), execute(''), flush());
    const first = await raw.until('C');
    raw.send(bind('', ''), execute(''), flush());
    const second = await raw.until('C');
    expect(cell(second)).toBe(cell(first));
    raw.send(sync());
    expect(types(await raw.until('Z'))).toBe('Z');
  });

  test('an error in mid pipeline skips to its Sync, and the next exchange is untouched', async () => {
    const raw = await login();
    raw.send(
      ...[parse('', 'select 1'), bind('', ''), execute('')],
      ...[parse('', 'select broken'), bind('', ''), execute(''), sync()],
      ...[parse('', 'select 3'), bind('', ''), execute(''), sync()],
    );
    expect(types(await raw.until('Z'))).toBe('12DCEZ');
    const next = await raw.until('Z');
    expect([types(next), cell(next)]).toEqual(['12DCZ', '3']);
  });

  test('a portal is read in parts inside a transaction', async () => {
    const raw = await login();
    raw.send(query('begin'));
    await raw.until('Z');
    raw.send(parse('', 'select * from generate_series(1, 5)'), bind('p', ''), execute('p', 2), sync());
    expect(types(await raw.until('Z'))).toBe('12DDsZ');
    raw.send(execute('p', 2), sync());
    expect(types(await raw.until('Z'))).toBe('DDsZ');
    raw.send(execute('p', 2), close('P', 'p'), sync());
    expect(types(await raw.until('Z'))).toBe('DC3Z');
    raw.send(query('commit'));
    await raw.until('Z');
  });

  test('named statements: prepared once, bound after other clients had the server', async () => {
    const raw = await login();
    raw.send(parse('st', 'select $1::int + 1', [23]), describeMessage('S', 'st'), sync());
    expect(types(await raw.until('Z'))).toBe('1tTZ');
    const other = await login();
    for (let i = 0; i < 5; i++) {
      other.send(parse('', 'select 0'), bind('', ''), execute(''), sync());
      await other.until('Z');
      raw.send(bind('', 'st', [String(i)]), execute(''), sync());
      const answer = await raw.until('Z');
      expect([types(answer), cell(answer)]).toEqual(['2DCZ', String(i + 1)]);
    }
    raw.send(close('S', 'st'), sync());
    expect(types(await raw.until('Z'))).toBe('3Z');
    raw.send(bind('', 'st', ['1']), execute(''), sync());
    expect(errorOf(await raw.until('Z'))).toMatchObject({
      code: '26000',
      message: 'prepared statement "st" does not exist',
    });
  });

  test('the same text under two names and by two clients is one statement on the server', async () => {
    const [a, b] = [await login(), await login()];
    const text = 'select 77 as shared_text';
    for (const raw of [a, b])
      for (const name of ['x', 'y']) {
        raw.send(parse(name, text), bind('', name), execute(''), sync());
        expect(types(await raw.until('Z'))).toBe('12DCZ');
      }
    a.send(
      query("select count(*) from pg_prepared_statements where statement like '%shared_text' and name not like '_'"),
    );
    expect(cell(await a.until('Z'))).toBe('1');
  });

  test('a name that is taken is refused as PostgreSQL refuses it, and the first statement stays', async () => {
    const raw = await login();
    raw.send(parse('taken', 'select 1'), sync());
    await raw.until('Z');
    raw.send(parse('taken', 'select 2'), sync());
    expect(errorOf(await raw.until('Z'))).toMatchObject({ code: '42P05' });
    raw.send(bind('', 'taken'), execute(''), sync());
    expect(cell(await raw.until('Z'))).toBe('1');
  });

  test('a statement whose Parse failed or was skipped does not exist afterwards', async () => {
    const raw = await login();
    raw.send(parse('bad', 'select broken'), parse('never', 'select 5'), sync());
    expect(types(await raw.until('Z'))).toBe('EZ');
    raw.send(bind('', 'never'), execute(''), sync());
    expect(errorOf(await raw.until('Z')).code).toBe('26000');
    raw.send(parse('never', 'select 6'), bind('', 'never'), execute(''), sync());
    expect(cell(await raw.until('Z'))).toBe('6');
  });

  test('DISCARD ALL and DEALLOCATE ALL forget the names', async () => {
    const raw = await login();
    for (const command of ['DISCARD ALL', 'DEALLOCATE ALL']) {
      raw.send(parse('gone', 'select 1'), sync());
      expect(types(await raw.until('Z'))).toBe('1Z');
      raw.send(query(command));
      await raw.until('Z');
      raw.send(bind('', 'gone'), sync());
      expect(errorOf(await raw.until('Z')).code).toBe('26000');
    }
  });
});

describe('cancel', () => {
  const cancel = async (pid: number, key: Uint8Array) => {
    const raw = await bare();
    raw.send(cancelRequest(pid, key));
    expect(await raw.next()).toBeNull();
  };

  /** Asks until the server runs a query with this word in it. */
  const running = async (word: string) => {
    const watch = await login();
    for (let seen = '0'; seen === '0'; ) {
      watch.send(query(`select count(*) from pg_stat_activity where query like '%${word}' and state = 'active'`));
      seen = cell(await watch.until('Z'));
    }
  };

  test.each([0, 2])('reaches the running query (protocol 3.%i)', async (minor) => {
    const { raw, greeting } = await RawClient.login(at(), {}, minor);
    open.push(raw);
    const { pid, key } = keyOf(greeting);
    raw.send(query('select pg_sleep(60) as cancel_me'));
    await running('cancel_me');
    await cancel(pid, key);
    expect(errorOf(await raw.until('Z')).code).toBe('57014');
    raw.send(query('select 1'));
    expect(types(await raw.until('Z'))).toBe('TDCZ');
  });

  test('with a wrong key does nothing', async () => {
    const { raw, greeting } = await RawClient.login(at());
    open.push(raw);
    const { pid, key } = keyOf(greeting);
    raw.send(query('select pg_sleep(0.5) as leave_me'));
    await running('leave_me');
    await cancel(
      pid,
      key.map((byte) => byte ^ 1),
    );
    expect(types(await raw.until('Z'))).toBe('TDCZ');
  });

  test('never hits the query of a later client on the same server', async () => {
    const { raw: a, greeting } = await RawClient.login(at());
    const b = await login();
    open.push(a);
    const { pid, key } = keyOf(greeting);
    for (let round = 0; round < 30; round++) {
      a.send(query('select 1'));
      const cancelled = cancel(pid, key);
      await a.until('Z');
      b.send(query('select pg_sleep(0.01)'));
      expect(types(await b.until('Z'))).toBe('TDCZ');
      await cancelled;
    }
  });

  test('of a query that still waits for a server is answered as PostgreSQL answers it', async () => {
    const holders = [await login(), await login()];
    for (const holder of holders) {
      holder.send(query('begin'));
      await holder.until('Z');
    }
    const { raw, greeting } = await RawClient.login(at());
    open.push(raw);
    raw.send(query('select 1'));
    const { pid, key } = keyOf(greeting);
    await cancel(pid, key);
    expect(errorOf(await raw.until('Z')).code).toBe('57014');
    for (const holder of holders) {
      holder.send(query('rollback'));
      await holder.until('Z');
    }
    raw.send(query('select 2'));
    expect(cell(await raw.until('Z'))).toBe('2');
  });
});

describe('bad messages after login', () => {
  test.each([
    ['an unknown type', Buffer.from([0x7e, 0, 0, 0, 4])],
    ['a length below four', Buffer.from([0x51, 0, 0, 0, 3])],
    ['a negative length', Buffer.from([0x51, 0xff, 0xff, 0xff, 0xff])],
  ])('%s ends that session only', async (_, garbage) => {
    const [raw, other] = [await login(), await login()];
    raw.send(garbage);
    expect(errorOf(await raw.until('E'))).toMatchObject({ severity: 'FATAL', code: '08P01' });
    expect(await raw.next()).toBeNull();
    other.send(query('select 1'));
    expect(types(await other.until('Z'))).toBe('TDCZ');
  });
});
