/** What pg makes of a config that something was laid over: pg's own client reads it, none is connected. */
import pg from 'pg';
import { describe, expect, test } from 'vitest';
import { withoutString } from './connection-string.ts';
import { type DialOptions, dial } from './dial.ts';
import { Hosts } from './hosts.ts';
import type { RawClientClass } from './raw-client.ts';

const STRINGS = [
  'postgres://u:p@h:5433/db?application_name=x&options=-c%20a%3Db',
  'postgres://u:p@h/db?sslmode=disable',
  'postgres://h/db',
  'postgres://u:50%off@h/db',
  'postgres://u:p@@h/db',
  'postgres://u:p@/db',
  'postgres://h/db?user=u&password=p&port=77',
  'postgres:///db?host=/run/postgresql',
  'postgres://u:p@/db?host=/run/postgresql&port=5433',
  'postgres://u:p@%2Frun%2Fpostgresql/db',
  'postgres://u:p@[::1]:5433/db',
  'socket:/run/postgresql?db=shop&encoding=UTF8',
  'socket://u:p@/run/postgresql?db=shop',
  '/run/postgresql db',
];

/** What pg will go by. */
const NAMES = [
  'user',
  'password',
  'host',
  'port',
  'database',
  'application_name',
  'options',
  'client_encoding',
  'ssl',
] as const;
type Read = Record<(typeof NAMES)[number], unknown>;

const read = (config: object): Read => {
  const { connectionParameters } = new pg.Client(config) as unknown as { connectionParameters: Read };
  return Object.fromEntries(NAMES.map((name) => [name, connectionParameters[name]])) as Read;
};

/** The config that a dial comes to. */
function dialled(options: object, credentials = {}): Promise<Read[]> {
  const configs: Read[] = [];
  const Client = class {
    constructor(config: object) {
      configs.push(read(config));
      throw new Error('no further');
    }
  } as unknown as RawClientClass;
  const at: DialOptions = { options, Client, hosts: new Hosts(options), credentials, timeoutMs: 0 };
  return new Promise((resolve) => {
    dial(
      at,
      () => {},
      () => true,
      () => resolve(configs),
    );
  });
}

describe.each(STRINGS)('%s', (connectionString) => {
  const plain = read({ connectionString });

  test('taken apart is the same to pg', () => {
    expect(read(withoutString({ connectionString }))).toEqual(plain);
    const beside = { connectionString, user: 'beside', host: 'beside', application_name: 'beside', ssl: true };
    expect(read(withoutString(beside))).toEqual(read(beside));
  });

  test.each([
    ['user', 'somebody else'],
    ['password', 'p@ss:w/o?r#d &+%'],
    ['host', '/tmp/a socket'],
    ['port', 6000],
    ['database', 'eu+1?@x:y/z&a=b %#'],
    ['application_name', 'svc/a,b'],
    ['options', '-c search_path=a,b'],
    ['client_encoding', 'LATIN1'],
  ] as const)('beforeConnect changes %s and nothing else', async (name, value) => {
    const beforeConnect = (config: object) => ({ ...config, [name]: value });
    expect(await dialled({ connectionString, beforeConnect })).toEqual([{ ...plain, [name]: value }]);
  });

  test('a hook that changes nothing changes nothing', async () => {
    expect(await dialled({ connectionString, beforeConnect: () => undefined })).toEqual([plain]);
  });

  test('other credentials are taken', async () => {
    const credentials = { user: 'renewed', password: 'p@ss:w/rd%' };
    expect(await dialled({ connectionString }, credentials)).toEqual([{ ...plain, ...credentials }]);
  });

  test('each of several hosts is asked, at its own port or the string’s', async () => {
    const of = (host: string, port?: number) => ({ ...plain, host, ...(port !== undefined && { port }) });
    expect(await dialled({ connectionString, hosts: ['a:1', '/tmp/x', '[::1]'] })).toEqual([
      of('a', 1),
      of('/tmp/x'),
      of('::1'),
    ]);
  });
});

test('a password function beside a string is asked, and so is one that the hook gives', async () => {
  const connectionString = 'postgres://u:p@h/db';
  const password = () => Promise.resolve('asked');
  expect(await dialled({ connectionString, password })).toEqual([expect.objectContaining({ password: 'asked' })]);
  const beforeConnect = (config: object) => ({ ...config, password });
  expect(await dialled({ connectionString, beforeConnect })).toEqual([expect.objectContaining({ password })]);
});

test('several hosts in a string', async () => {
  const read = await dialled({ connectionString: 'postgres://u:p@a:1,b,[::1]:3/db?target_session_attrs=primary' });
  expect(read.map(({ user, host, port, database }) => [user, host, port, database])).toEqual([
    ['u', 'a', 1, 'db'],
    ['u', 'b', 5432, 'db'],
    ['u', '::1', 3, 'db'],
  ]);
});

test('a string that makes no sense fails as with pg', () => {
  expect(() => withoutString({ connectionString: 'postgres://a:b:c' })).toThrow(/Invalid URL/);
});
