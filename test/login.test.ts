/** Who gets in, and who does not: every login method with every kind of secret, towards clients and towards servers. */
import { createHash } from 'node:crypto';
import {
  formatScramSecret,
  md5Secret,
  parseSecret,
  passwordMessage,
  saslInitialResponse,
  scramSecret,
  startupMessage,
} from '@sluice/wire';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { nodeCrypto } from '../packages/sluice/src/auth/crypto.ts';
import { attempt } from './support/attempt.ts';
import { postgres } from './support/postgres.ts';
import { errorOf, RawClient } from './support/raw.ts';
import { type Sluice, startSluice } from './support/sluice.ts';

const server = postgres();
const PASSWORD = 'pässword ’with’ "quotes"';
let scram = '';
const md5 = md5Secret(nodeCrypto, 'login_user', PASSWORD);

async function login({ host, port }: Sluice, user: string, password: string): Promise<string> {
  return (await attempt({ host, port, user, password, database: 'postgres' })).text;
}

beforeAll(async () => {
  const admin = new pg.Client(server);
  await admin.connect();
  await admin.query(`create role login_user login password '${PASSWORD.replaceAll("'", "''")}'`);
  scram = (await admin.query("select rolpassword from pg_authid where rolname = 'login_user'")).rows[0].rolpassword;
  await admin.end();
});

/** Logs in with the empty password, by hand: drivers refuse to send one. */
async function emptyPassword(sluice: Sluice, authType: string): Promise<{ raw: RawClient; error: string }> {
  const raw = await RawClient.connect(sluice.host, sluice.port);
  raw.send(startupMessage({ major: 3, minor: 0, params: { user: 'login_user', database: 'postgres' } }));
  if (authType !== 'md5')
    return {
      raw,
      error: await raw.authenticate('').then(
        () => 'let in',
        (error: Error) => error.message,
      ),
    };
  const asked = (await raw.next())!;
  const hash = createHash('md5').update('login_user').digest('hex');
  const answer = createHash('md5').update(hash).update(asked.body.subarray(4)).digest('hex');
  raw.send(passwordMessage(`md5${answer}`));
  return { raw, error: errorOf(await raw.until('E')).message };
}

const quote = (text: string) => `"${text.replaceAll('"', '""')}"`;

describe.each([
  ['plain', 'plain', (): string => PASSWORD],
  ['md5', 'plain', (): string => PASSWORD],
  ['scram-sha-256', 'plain', (): string => PASSWORD],
  ['scram-sha-256', 'scram', (): string => scram],
  ['md5', 'scram', (): string => scram],
] as const)('auth_type %s with a %s secret', (authType, _kind, secret) => {
  let sluice: Sluice;
  beforeAll(async () => {
    sluice = await startSluice(server, {
      settings: `auth_type = ${authType}`,
      userlist: `"login_user" ${quote(secret())}\n"empty" ""\n`,
    });
  });
  afterAll(() => sluice.stop());

  test('the right password gets in, also through to the server', async () => {
    expect(await login(sluice, 'login_user', PASSWORD)).toBe('login_user');
    expect(await login(sluice, 'login_user', PASSWORD)).toBe('login_user');
  });

  const refused = (user: string) =>
    authType === 'scram-sha-256' ? 'SASL authentication failed' : `password authentication failed for user "${user}"`;

  test.each([
    ['wrong', 'wrong'],
    ['truncated', PASSWORD.slice(0, -1)],
    ['longer', `${PASSWORD}x`],
    ['very long', 'x'.repeat(65_000)],
  ])('a %s password does not', async (_, password) => {
    expect(await login(sluice, 'login_user', password)).toBe(refused('login_user'));
  });

  test('a user that does not exist and one without a password are told the same', async () => {
    expect(await login(sluice, 'nobody', 'x')).toBe(refused('nobody'));
    expect(await login(sluice, 'empty', 'x')).toBe(refused('empty'));
  });

  test.runIf(authType === 'scram-sha-256')(
    'a user that does not exist has a salt of its own, always the same',
    async () => {
      const salt = async (user: string) => {
        const raw = await RawClient.connect('127.0.0.1', sluice.port);
        raw.send(startupMessage({ major: 3, minor: 0, params: { user, database: 'postgres' } }));
        await raw.until('R');
        raw.send(saslInitialResponse('SCRAM-SHA-256', Buffer.from('n,,n=,r=nonce')));
        const { body } = (await raw.next())!;
        raw.end();
        return /s=([^,]+),i=\d+/.exec(body.toString('latin1'))?.[1];
      };
      const [first, again, other] = [await salt('nobody'), await salt('nobody'), await salt('nobody else')];
      expect(first).toEqual(expect.any(String));
      expect([again === first, other === first]).toEqual([true, false]);
    },
  );

  test('an empty password does not', async () => {
    expect(await login(sluice, 'login_user', '')).toMatch(
      /password authentication failed|empty password returned by client|must be a (non-empty )?string|SASL/,
    );
  });
});

describe('other combinations', () => {
  test('auth_type md5 with an md5 secret lets in by hash, and the server’s SCRAM cannot be answered with it', async () => {
    const sluice = await startSluice(server, {
      databases: `postgres = host=${server.host} port=${server.port} user=${server.user} password=${server.password}`,
      settings: 'auth_type = md5',
      userlist: `"login_user" "${md5}"\n`,
    });
    expect(await login(sluice, 'login_user', PASSWORD)).toBe(server.user);
    expect(await login(sluice, 'login_user', 'wrong')).toMatch(/password authentication failed/);
    await sluice.stop();
    const forwarded = await startSluice(server, { settings: 'auth_type = md5', userlist: `"login_user" "${md5}"\n` });
    expect(await login(forwarded, 'login_user', PASSWORD)).toMatch(
      /wants SCRAM-SHA-256 of user "login_user", but only a md5 secret is known/,
    );
    await forwarded.stop();
  });

  test('an empty password in auth_file lets nobody in, not even with the right md5 answer to it', async () => {
    for (const authType of ['md5', 'plain', 'scram-sha-256']) {
      const sluice = await startSluice(server, { settings: `auth_type = ${authType}`, userlist: '"login_user" ""\n' });
      const { raw, error } = await emptyPassword(sluice, authType);
      expect(error).toMatch(/^(password|SASL) authentication failed|^empty password returned by client$/);
      raw.end();
      await sluice.stop();
    }
  });

  test('trust asks for no password, but for a user that is known', async () => {
    const sluice = await startSluice(server, {
      settings: 'auth_type = trust',
      userlist: `"login_user" ${quote(PASSWORD)}\n`,
    });
    expect(await login(sluice, 'login_user', 'whatever')).toBe('login_user');
    expect(await login(sluice, 'stranger', 'whatever')).toBe('"trust" authentication failed');
    await sluice.stop();
  });

  test('a SCRAM secret that is not the server’s own lets the client in, and says what is wrong behind', async () => {
    const other = formatScramSecret(await scramSecret(nodeCrypto, PASSWORD, nodeCrypto.randomBytes(16), 4096));
    expect(parseSecret(other).kind).toBe('scram');
    const sluice = await startSluice(server, { userlist: `"login_user" "${other}"\n` });
    expect(await login(sluice, 'login_user', PASSWORD)).toMatch(
      /password authentication failed for user "login_user"|wrong password type/,
    );
    await sluice.stop();
  });
});

test('who says goodbye before anything else is let go without a word, as by PostgreSQL', async () => {
  const sluice = await startSluice(server);
  try {
    const raw = await RawClient.connect(sluice.host, sluice.port);
    raw.send(Uint8Array.of(0x58, 0, 0, 0, 4));
    expect(await raw.next()).toBeNull();
  } finally {
    await sluice.stop();
  }
});
