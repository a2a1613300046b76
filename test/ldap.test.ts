/** Passwords checked by an LDAP server: simple binds, searches, TLS in both forms; the password goes on to PostgreSQL. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { attempt } from './support/attempt.ts';
import { Authority, OPENSSL } from './support/certificates.ts';
import { postgres } from './support/postgres.ts';
import { SLAPD, Slapd } from './support/slapd.ts';
import { type Sluice, startSluice } from './support/sluice.ts';

const server = postgres();
const dir = mkdtempSync(join(tmpdir(), 'sluice-ldap-'));
const running: Sluice[] = [];
const admin = new pg.Client(server);

afterEach(() => Promise.all(running.splice(0).map((sluice) => sluice.stop())));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

async function login({ host, port }: Sluice, user: string, password: string): Promise<string> {
  return (await attempt({ host, port, user, password, database: 'postgres' })).text;
}

async function start(settings: string): Promise<Sluice> {
  const sluice = await startSluice(server, { settings });
  running.push(sluice);
  return sluice;
}

const REFUSED = 'LDAP authentication failed';

describe.skipIf(!SLAPD || !OPENSSL)('an LDAP server', () => {
  let slapd: Slapd;
  let ca: string;
  beforeAll(async () => {
    await admin.connect();
    await admin.query(`create role ldap_one login password 'secret one'`);
    await admin.query(`create role ldap_two login password 'sècret'`);
    const ours = new Authority(dir, 'ours');
    ca = ours.ca;
    slapd = await Slapd.start(dir, ours.issue('localhost', 'DNS:localhost,IP:127.0.0.1'), ca);
  });
  afterAll(async () => {
    await slapd?.stop();
    await admin.end();
  });

  const withOptions = (options: string) => start(`auth_type = ldap\nauth_ldap_options = ${options}`);
  const withRule = (options: string) => {
    const path = join(dir, 'hba.conf');
    writeFileSync(path, `host all all 127.0.0.1/32 ldap ${options}\n`);
    return start(`auth_type = hba\nauth_hba_file = ${path}`);
  };
  const at = (rest: string) => `ldapserver=127.0.0.1 ldapport=${slapd.port} ${rest}`;

  test('a simple bind takes the right password to PostgreSQL, and no other', async () => {
    const sluice = await withOptions(at('ldapprefix="uid=" ldapsuffix=",dc=example,dc=net"'));
    expect(await login(sluice, 'ldap_one', 'secret one')).toBe('ldap_one');
    expect(await login(sluice, 'ldap_one', 'wrong')).toBe(REFUSED);
    expect(await login(sluice, 'nobody', 'wrong')).toBe(REFUSED);
    expect(await login(sluice, 'ldap_one', 'secret one')).toBe('ldap_one');
    await sluice.waitFor(
      /LDAP login failed for user uid=ldap_one,dc=example,dc=net on server 127\.0\.0\.1:\d+: Invalid credentials/,
    );
  });

  test.each([
    ['the attribute uid', 'ldapbasedn="dc=example,dc=net"'],
    ['a filter', 'ldapbasedn="dc=example,dc=net" ldapsearchfilter="(|(uid=$username)(mail=$username))"'],
    ['a filter without parentheses', 'ldapbasedn="dc=example,dc=net" ,ldapsearchfilter="uid=$username"'],
    [
      'another user to search as',
      'ldapbasedn="dc=example,dc=net" ldapbinddn="cn=admin,dc=example,dc=net" ldapbindpasswd=top',
    ],
  ])('a search by %s finds users wherever they are', async (_, options) => {
    const sluice = await withRule(at(options));
    expect(await login(sluice, 'ldap_one', 'secret one')).toBe('ldap_one');
    expect(await login(sluice, 'ldap_two', 'sècret')).toBe('ldap_two');
    expect(await login(sluice, 'ldap_two', 'secret')).toBe(REFUSED);
    for (const user of ['ldap_twin', 'nobody', 'ldap_*', 'ldap_one)(uid=*'])
      expect(await login(sluice, user, 'twin')).toBe(REFUSED);
    await sluice.waitFor(/LDAP user "ldap_twin" is not unique/);
    await sluice.waitFor(/invalid character in user name for LDAP authentication/);
  });

  test('an URL names server, base, attribute and scope; the scope is the base alone unless given', async () => {
    const url = (rest: string) => `ldapurl="ldap://127.0.0.1:${slapd.port}/dc=example,dc=net${rest}"`;
    const sub = await withOptions(url('?uid?sub'));
    expect(await login(sub, 'ldap_two', 'sècret')).toBe('ldap_two');
    const one = await withOptions(url('?uid?one'));
    expect(await login(one, 'ldap_one', 'secret one')).toBe('ldap_one');
    expect(await login(one, 'ldap_two', 'sècret')).toBe(REFUSED);
    expect(await login(await withOptions(url('?uid')), 'ldap_one', 'secret one')).toBe(REFUSED);
  });

  test('a wrong search user is a refusal, with the reason in the log', async () => {
    const sluice = await withRule(
      at('ldapbasedn="dc=example,dc=net" ldapbinddn="cn=admin,dc=example,dc=net" ldapbindpasswd=no'),
    );
    expect(await login(sluice, 'ldap_one', 'secret one')).toBe(REFUSED);
    await sluice.waitFor(/could not perform initial LDAP bind for ldapbinddn "cn=admin,dc=example,dc=net"/);
    expect(sluice.output()).not.toMatch(/ldapbindpasswd=no/);
  });

  test('the next of several servers is asked when one does not answer', async () => {
    const sluice = await withOptions(
      `ldapserver="127.0.0.1:1 127.0.0.1" ldapport=${slapd.port} ldapprefix="uid=" ldapsuffix=",dc=example,dc=net"`,
    );
    expect(await login(sluice, 'ldap_one', 'secret one')).toBe('ldap_one');
  });

  describe('over TLS', () => {
    const secure = (port: number, scheme: string, rest = '') =>
      `ldapurl="${scheme}://127.0.0.1:${port}/dc=example,dc=net?uid?sub" ${rest}`;
    const trusting = { LDAPTLS_REQCERT: 'demand', LDAPTLS_CACERT: '' };
    beforeAll(() => {
      trusting.LDAPTLS_CACERT = ca;
    });
    async function under(env: Record<string, string>, options: string): Promise<Sluice> {
      Object.assign(process.env, env);
      try {
        return await withRule(options);
      } finally {
        for (const name of Object.keys(env)) delete process.env[name];
      }
    }

    test('ldaps and StartTLS, with a certificate that is checked', async () => {
      for (const options of [secure(slapd.tlsPort, 'ldaps'), secure(slapd.port, 'ldap', 'ldaptls=1')]) {
        expect(await login(await under(trusting, options), 'ldap_one', 'secret one')).toBe('ldap_one');
        expect(await login(await under({ LDAPCONF: '/dev/null' }, options), 'ldap_one', 'secret one')).toBe(REFUSED);
        expect(await login(await under({ LDAPTLS_REQCERT: 'never' }, options), 'ldap_one', 'secret one')).toBe(
          'ldap_one',
        );
      }
    });

    test('TLS on the wrong port, or twice, is refused by the directory and not by client_login_timeout', async () => {
      for (const options of [
        secure(slapd.port, 'ldaps'),
        secure(slapd.tlsPort, 'ldap', 'ldaptls=1'),
        secure(slapd.tlsPort, 'ldaps', 'ldaptls=1'),
        secure(slapd.port, 'ldaps', 'ldaptls=1'),
      ]) {
        expect(await login(await under(trusting, options), 'ldap_one', 'secret one')).toBe(REFUSED);
      }
    });
  });

  test('auth_user of the database and LDAP exclude each other', async () => {
    const sluice = await startSluice(server, {
      databases: `postgres = host=${server.host} port=${server.port} auth_user=ldap_one`,
      settings: `auth_type = ldap\nauth_ldap_options = ${at('ldapbasedn="dc=example,dc=net"')}`,
    });
    running.push(sluice);
    expect(await login(sluice, 'ldap_one', 'secret one')).toBe('bouncer config error');
    await sluice.waitFor(/LDAP can't be used together with database authentication/);
  });
});

describe('an LDAP server that does not answer', () => {
  const sockets = new Set<import('node:net').Socket>();
  let silent: Server;
  beforeAll(async () => {
    silent = createServer((socket) => sockets.add(socket.on('error', () => {})));
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  });
  afterAll(() => {
    for (const socket of sockets) socket.destroy();
    silent.close();
  });

  test('holds up its own clients only, and no longer than client_login_timeout', async () => {
    const { port } = silent.address() as { port: number };
    const hba = join(dir, 'silent.conf');
    writeFileSync(
      hba,
      `host all ldap_one all ldap ldapserver=127.0.0.1 ldapport=${port} ldapprefix=a\nhost all all all scram-sha-256\n`,
    );
    const sluice = await start(`auth_type = hba\nauth_hba_file = ${hba}\nclient_login_timeout = 2`);
    const held = Promise.all(Array.from({ length: 100 }, () => login(sluice, 'ldap_one', 'x')));
    const first = await Promise.race([held, login(sluice, server.user, server.password)]);
    expect(first).toBe(server.user);
    for (const message of await held) expect(message).toMatch(/client_login_timeout/);
  });
});
