/** auth_query: users that only the database knows, and what nobody learns about those that it does not. */
import { createHash, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, inject, test } from 'vitest';
import { attempt } from './support/attempt.ts';
import { postgres } from './support/postgres.ts';
import { type Sluice, type SluiceOptions, startSluice } from './support/sluice.ts';

const server = postgres();
const admin = new pg.Client(server);
const running: Sluice[] = [];
const ASKER = 'asker';
const DEFAULT_QUERY = `SELECT rolname, rolpassword FROM pg_authid WHERE rolname=$1 AND rolcanlogin`;

beforeAll(async () => {
  await admin.connect();
  await admin.query(`create role ${ASKER} login superuser password 'asker-pw'`);
  await admin.query(`create role aq_scram login password 'right'`);
  await admin.query(`set password_encryption = md5`);
  await admin.query(`create role aq_md5 login password 'right'`);
  await admin.query(`create role aq_none login`);
  await admin.query(`create database aq_other`);
});
afterAll(() => admin.end());
afterEach(() => Promise.all(running.splice(0).map((sluice) => sluice.stop())));

async function start(options: SluiceOptions = {}): Promise<Sluice> {
  const sluice = await startSluice(server, {
    userlist: `"${ASKER}" "asker-pw"\n"listed" "listed-pw"\n`,
    ...options,
    settings: `auth_user = ${ASKER}\n${options.settings ?? ''}`,
  });
  running.push(sluice);
  return sluice;
}

interface Outcome {
  user?: string;
  message?: string;
  detail?: string;
}

/** A secret as PostgreSQL keeps it (RFC 5803). */
function scramSecret(password: string, iterations: number): string {
  const salt = randomBytes(16);
  const salted = pbkdf2Sync(password, salt, iterations, 32, 'sha256');
  const keyed = (text: string) => createHmac('sha256', salted).update(text).digest();
  const stored = createHash('sha256').update(keyed('Client Key')).digest('base64');
  return `SCRAM-SHA-256$${iterations}:${salt.toString('base64')}$${stored}:${keyed('Server Key').toString('base64')}`;
}

async function login({ host, port }: Sluice, user: string, password: string, database = 'postgres'): Promise<Outcome> {
  const { value, error } = await attempt({ host, port, user, password, database });
  if (error === null) return { user: value! };
  return { message: error.message, ...(error.detail === undefined ? {} : { detail: error.detail }) };
}

describe('users that only the database knows', () => {
  test.each(['scram-sha-256', 'md5', 'plain'])(
    'log in by auth_type %s with a SCRAM secret, through to the server',
    async (authType) => {
      const sluice = await start({ settings: `auth_type = ${authType}` });
      expect(await login(sluice, 'aq_scram', 'right')).toEqual({ user: 'aq_scram' });
      expect(await login(sluice, 'aq_scram', 'right')).toEqual({ user: 'aq_scram' });
      expect((await login(sluice, 'aq_scram', 'wrong')).message).toMatch(/^(SASL|password) authentication failed/);
      expect(await login(sluice, ASKER, 'asker-pw')).toEqual({ user: ASKER });
    },
  );

  test('an md5 secret lets in by auth_type md5, and the server by its md5 rule', async () => {
    const sluice = await start({ settings: 'auth_type = md5' });
    expect((await login(sluice, 'aq_md5', 'wrong')).message).toBe('password authentication failed for user "aq_md5"');
    expect((await login(sluice, 'aq_md5', 'right')).message ?? 'in').toMatch(/in|md5/);
  });

  test.each(['pgbouncer', 'follow'])(
    'are asked for as at login, whatever a client of the same user has set (session_state = %s)',
    async (state) => {
      await admin.query(`create schema if not exists evil; create or replace view evil.pg_authid as
        select rolname, '${'md5'.padEnd(35, '0')}'::text as rolpassword, true as rolcanlogin from pg_catalog.pg_authid`);
      const sluice = await start({
        settings: `session_state = ${state}\ndefault_pool_size = 1\ntrack_extra_parameters = search_path
auth_query = SELECT rolname, rolpassword FROM pg_authid WHERE rolname=$1`,
      });
      const { host, port } = sluice;
      const client = new pg.Client({ host, port, user: ASKER, password: 'asker-pw', database: 'postgres' });
      await client.connect();
      await client.query("set search_path = evil, pg_catalog; set client_encoding = 'LATIN1'");
      expect(await login(sluice, 'aq_scram', 'right')).toEqual({ user: 'aq_scram' });
      await client.end();
      await admin.query('drop schema evil cascade');
    },
  );

  test('a changed password holds at once, and an expired one lets nobody in', async () => {
    const sluice = await start();
    await admin.query(`set password_encryption = 'scram-sha-256'`);
    await admin.query(`create role aq_changing login password 'one'`);
    expect(await login(sluice, 'aq_changing', 'one')).toEqual({ user: 'aq_changing' });
    await admin.query(`alter role aq_changing password 'two'`);
    expect((await login(sluice, 'aq_changing', 'one')).message).toBe('SASL authentication failed');
    expect(await login(sluice, 'aq_changing', 'two')).toEqual({ user: 'aq_changing' });
    await admin.query(`alter role aq_changing valid until '1999-01-01'`);
    for (const password of ['two', 'md5', ''])
      expect((await login(sluice, 'aq_changing', password)).user).toBeUndefined();
    await admin.query(`alter role aq_changing valid until 'infinity'`);
    expect(await login(sluice, 'aq_changing', 'two')).toEqual({ user: 'aq_changing' });
    await admin.query('drop role aq_changing');
    expect((await login(sluice, 'aq_changing', 'two')).message).toBe('SASL authentication failed');
  });

  test('a server connection opened after the change of a password uses the new secret', async () => {
    const sluice = await start({ settings: 'server_idle_timeout = 1\nserver_lifetime = 1' });
    await admin.query(`create role aq_renewed login password 'one'`);
    expect(await login(sluice, 'aq_renewed', 'one')).toEqual({ user: 'aq_renewed' });
    await admin.query(`alter role aq_renewed password 'two'`);
    await sluice.waitFor(/closing because: server (idle timeout|lifetime over)/);
    expect(await login(sluice, 'aq_renewed', 'two')).toEqual({ user: 'aq_renewed' });
    await admin.query('drop role aq_renewed');
  });

  test('many logins of one user at once are answered by few questions', async () => {
    const sluice = await start({
      settings: `auth_query = SELECT rolname, rolpassword FROM pg_authid, pg_sleep(0.3) WHERE rolname=$1\ndefault_pool_size = 2`,
    });
    const all = await Promise.all(Array.from({ length: 40 }, () => login(sluice, 'aq_scram', 'right')));
    expect(all).toEqual(all.map(() => ({ user: 'aq_scram' })));
  });

  // Older servers take no such password.
  const longOnes = inject('release') >= 14 ? ['scram-sha-256', 'plain'] : [];
  test.each(longOnes)('a password of 65,534 characters, by auth_type %s', async (authType) => {
    const long = 'a'.repeat(65_534);
    await admin.query(`set password_encryption = 'scram-sha-256'`);
    await admin.query(`create role aq_long login password '${long}'`);
    const sluice = await start({ settings: `auth_type = ${authType}` });
    expect(await login(sluice, 'aq_long', long)).toEqual({ user: 'aq_long' });
    for (const wrong of [`X${long}`, long.slice(1), `${long.slice(1)}b`])
      expect((await login(sluice, 'aq_long', wrong)).message).toMatch(/^(SASL|password) authentication failed/);
    await admin.query('drop role aq_long');
  });

  test('keys that a client proves serve the servers of its database, and survive their loss', async () => {
    const sluice = await start({ settings: 'server_lifetime = 1\nserver_idle_timeout = 1' });
    expect(await login(sluice, 'aq_scram', 'right')).toEqual({ user: 'aq_scram' });
    await sluice.waitFor(/aq_scram@.*closing because: server (idle timeout|lifetime over)/);
    expect(await login(sluice, 'aq_scram', 'wrong')).toMatchObject({ message: 'SASL authentication failed' });
    expect(await login(sluice, 'aq_scram', 'right', 'aq_other')).toEqual({ user: 'aq_scram' });
  });

  test('auth_file goes before: its users are not asked for', async () => {
    const sluice = await start({ settings: `auth_query = SELECT 1/0, 'x'` });
    expect((await login(sluice, 'listed', 'wrong')).message).toBe('SASL authentication failed');
  });
});

describe('nobody learns who exists', () => {
  test.each(['scram-sha-256', 'md5', 'plain'])(
    'auth_type %s says the same of a user that does not exist as of a wrong password',
    async (authType) => {
      const sluice = await start({ settings: `auth_type = ${authType}` });
      await login(sluice, 'aq_scram', 'right');
      const known = await login(sluice, 'aq_scram', 'wrong');
      const unknown = await login(sluice, 'aq_nobody', 'wrong');
      expect(unknown.message!.replace('aq_nobody', 'aq_scram')).toBe(known.message);
      expect(unknown.detail).toBe(known.detail);
      const reserved = await login(sluice, 'aq_none', 'wrong');
      expect(reserved.message!.replace('aq_none', 'aq_scram')).toBe(known.message);
      await sluice.waitFor(/postgres\/aq_nobody@127\.0\.0\.1:\d+ closing because: no such user \(age=0s\)/);
    },
  );

  test('auth_type plain works as much for a user that does not exist', async () => {
    // So much that nothing else counts beside it.
    const secret = scramSecret('right', 100_000);
    const sluice = await start({
      settings: `auth_type = plain\nauth_query = SELECT $1, '${secret}' WHERE $1 = 'aq_slow'`,
    });
    const times = { aq_slow: [] as number[], aq_nobody: [] as number[], listed: [] as number[] };
    const names = ['aq_slow', 'aq_nobody', 'listed'] as const;
    await login(sluice, 'aq_slow', 'wrong');
    for (let i = 0; i < 9; i++)
      for (const user of names) {
        const begin = performance.now();
        await login(sluice, user, 'wrong');
        times[user].push(performance.now() - begin);
      }
    const [known, unknown, listed] = names.map((user) => times[user].sort((a, b) => a - b)[4]!);
    expect(unknown! / known!).toBeGreaterThan(0.3);
    expect(unknown! / known!).toBeLessThan(3);
    // No question is asked for users of auth_file, so they may be faster: that is no secret.
    expect(listed! / known!).toBeLessThan(3);
  });

  test('trust lets in who exists, and says that nobody else does', async () => {
    const sluice = await start({ settings: 'auth_type = trust' });
    expect((await login(sluice, 'aq_nobody', 'x')).message).toBe('no such user');
    expect((await login(sluice, ASKER, '')).user).toBe(ASKER);
  });
});

describe('where the question is asked', () => {
  const databases = (line: string) => `${line}\npostgres = host=${server.host} port=${server.port}\n`;
  const other = (options: string) => databases(`aq_other = host=${server.host} port=${server.port} ${options}`);

  test('auth_dbname, global or of the database, which goes before', async () => {
    const sluice = await start({
      databases: other('auth_dbname=postgres'),
      settings: 'auth_dbname = nowhere',
    });
    expect(await login(sluice, 'aq_scram', 'right', 'aq_other')).toEqual({ user: 'aq_scram' });
    expect((await login(sluice, 'aq_scram', 'right')).message).toBe('bouncer config error');
    await sluice.waitFor(/authentication database "nowhere" is not configured\./);
  });

  test('auth_user and auth_query of the database go before the global ones', async () => {
    const sluice = await start({
      databases: other(
        `auth_user=${ASKER} auth_query='select ''aq_scram''::text, (select rolpassword from pg_authid where rolname = $1)'`,
      ),
      settings: `auth_user =\nauth_query = SELECT 1`,
    });
    expect(await login(sluice, 'aq_scram', 'right', 'aq_other')).toEqual({ user: 'aq_scram' });
    expect((await login(sluice, 'aq_scram', 'right')).message).toBe('SASL authentication failed');
  });

  test('the console is no place to ask', async () => {
    const sluice = await start({ databases: other('auth_dbname=pgbouncer') });
    expect((await login(sluice, 'aq_scram', 'right', 'aq_other')).message).toBe('bouncer config error');
    await sluice.waitFor(/cannot use the reserved "pgbouncer" database as an auth_dbname/);
  });

  test('a forced user of the database is for its clients, not for the question', async () => {
    const sluice = await start({ databases: other(`user=${ASKER} password=asker-pw`) });
    expect(await login(sluice, 'aq_scram', 'right', 'aq_other')).toEqual({ user: ASKER });
  });

  test.each([
    [
      'an error',
      `SELECT rolname, rolpassword FROM no_such_table WHERE $1 = ''`,
      /S: error in auth_query: ERROR: relation "no_such_table" does not exist/,
    ],
    ['one column', 'SELECT $1::text', /S: expected 2 columns from auth_query, not 1/],
  ])('%s is a configuration error, and the log says which', async (_, query, logged) => {
    const sluice = await start({ settings: `auth_query = ${query}` });
    expect((await login(sluice, 'aq_scram', 'right')).message).toBe('bouncer config error');
    await sluice.waitFor(logged);
    // The server that answered so is as good as before.
    expect(await login(sluice, ASKER, 'asker-pw')).toEqual({ user: ASKER });
  });

  test('a row without a name is nobody, one without a secret lets nobody in', async () => {
    const sluice = await start({
      settings: `auth_query = SELECT CASE WHEN $1 = 'aq_nobody' THEN NULL ELSE $1 END, NULL::text`,
    });
    expect((await login(sluice, 'aq_nobody', 'x')).message).toBe('SASL authentication failed');
    expect((await login(sluice, 'aq_scram', 'right')).message).toBe('SASL authentication failed');
    expect((await login(sluice, 'aq_scram', 'md5')).message).toBe('SASL authentication failed');
  });

  test('settings that a client asks for do not reach the question', async () => {
    await admin.query('create schema if not exists aq_evil');
    await admin.query(
      `create or replace view aq_evil.pg_authid as select 'aq_scram'::name as rolname, 'evil'::text as rolpassword, true as rolcanlogin`,
    );
    const sluice = await start({ settings: `track_extra_parameters = search_path\nauth_query = ${DEFAULT_QUERY}` });
    const client = new pg.Client({
      host: sluice.host,
      port: sluice.port,
      user: 'aq_scram',
      password: 'evil',
      database: 'postgres',
      options: '-c search_path=aq_evil,pg_catalog',
    });
    client.on('error', () => {});
    await expect(client.connect()).rejects.toThrow('SASL authentication failed');
  });
});
