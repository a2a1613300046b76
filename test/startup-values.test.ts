/** session_state = follow: what a client asks for at its login is tried at its login, as on a direct connection. */
import * as wire from '@sluice/wire';
import { afterEach, describe, expect, test } from 'vitest';
import { nodeCrypto } from '../packages/sluice/src/auth/crypto.ts';
import { Clients } from './support/clients.ts';
import { postgres } from './support/postgres.ts';
import { RawClient } from './support/raw.ts';
import { type Sluice, startSluice } from './support/sluice.ts';

const server = postgres();
const direct = new Clients(server);
let sluice: Sluice;
let clients: Clients;

async function begin(settings = ''): Promise<void> {
  sluice = await startSluice(server, { settings: `session_state = follow\ndefault_pool_size = 1\n${settings}` });
  clients = new Clients({ ...server, port: sluice.port });
}
afterEach(async () => {
  await clients.end();
  await direct.end();
  await sluice.stop();
});

/** Code and message with which a login is refused; null: it is not. */
function refusal(through: Clients, options: string): Promise<string | null> {
  return through.pg({ options }).then(
    () => null,
    ({ code, message, severity }) => `${severity} ${code} ${message}`,
  );
}

/** What a client is told of these parameters when it has logged in. */
async function told(port: number, params: Record<string, string>): Promise<Map<string, string>> {
  const { raw, greeting } = await RawClient.login({ ...server, port }, params);
  const statuses = greeting.filter(({ type }) => type === 'S');
  raw.socket.destroy();
  return new Map(
    statuses.map(({ body }) => {
      const { name, value } = wire.parseParameterStatus(body, 0, body.length);
      return [name, value];
    }),
  );
}

describe('a login is refused in the words of PostgreSQL', () => {
  test.each([
    ['a setting that there is not', '-c statement_timeot=5s'],
    ['a value that makes no sense', '-c DateStyle=Klingon'],
    ['a number out of bounds', '-c work_mem=1'],
    ['a role that does not exist', '-c role=nobody_here'],
    ['a setting that nobody changes', '-c server_version=1'],
  ])('for %s', async (_what, options) => {
    await begin();
    const refused = await refusal(direct, options);
    expect(refused).not.toBeNull();
    expect(await refusal(clients, options)).toBe(refused);
    // The server is as it was, and good for others.
    const other = await clients.pg();
    const { rows } = await other.query('select current_user as name, current_setting($1) as style', ['DateStyle']);
    expect(rows).toEqual([{ name: server.user, style: 'ISO, MDY' }]);
  });

  test('for one that only the begin of a connection can change, with what to do instead', async () => {
    await begin();
    const error = await clients.pg({ options: '-c ignore_system_indexes=on' }).catch((refused) => refused);
    expect(error).toMatchObject({ code: '55P02', hint: expect.stringContaining('ALTER ROLE') });
  });
});

describe('a login is told', () => {
  test.each<Record<string, string>>([
    { DateStyle: 'German' },
    { datestyle: 'iso, dmy', TimeZone: 'utc' },
    { IntervalStyle: 'SQL_STANDARD', standard_conforming_strings: 'true' },
    { client_encoding: 'latin1', TimeZone: '<+01>-01' },
  ])('%o as PostgreSQL writes it', async (params) => {
    await begin();
    const expected = await told(server.port, params);
    for (let i = 0; i < 2; i++) {
      const found = await told(sluice.port, params);
      for (const name of ['DateStyle', 'TimeZone', 'IntervalStyle', 'standard_conforming_strings', 'client_encoding'])
        expect([name, found.get(name)]).toEqual([name, expected.get(name)]);
    }
  });

  test('what was tried before, while all servers are busy', async () => {
    await begin();
    await told(sluice.port, { DateStyle: 'German' });
    const holder = await clients.pg();
    await holder.query('begin');
    expect((await told(sluice.port, { DateStyle: 'German' })).get('DateStyle')).toBe('German, DMY');
  });
});

test('while all servers are busy a login is not held up for long, and its first query finds out', async () => {
  await begin();
  const holder = await clients.pg();
  await holder.query('begin');
  const late = await clients.pg({ options: '-c DateStyle=Klingon' });
  late.on('error', () => {});
  const query = late.query('select 1').catch((error) => error);
  await holder.query('commit');
  expect(await query).toMatchObject({ message: expect.stringContaining('invalid value for parameter "DateStyle"') });
});

test('whoever leaves while it waits gives up its place', async () => {
  await begin();
  const holder = await clients.pg();
  await holder.query('begin');
  const raw = await RawClient.connect('127.0.0.1', sluice.port);
  raw.send(
    wire.startupMessage({
      major: 3,
      minor: 0,
      params: { user: server.user, database: server.database, DateStyle: 'SQL' },
    }),
  );
  await raw.authenticate(server.password, nodeCrypto, server.user);
  raw.socket.destroy();
  await holder.query('commit');
  const { rows } = await holder.query('select 1 as one');
  expect(rows).toEqual([{ one: 1 }]);
});

test('in a session of its own, too', async () => {
  await begin('pool_mode = session');
  expect(await refusal(clients, '-c DateStyle=Klingon')).toMatch(/^FATAL 22023 /);
  expect((await told(sluice.port, { DateStyle: 'German' })).get('DateStyle')).toBe('German, DMY');
});
