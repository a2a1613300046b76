/** Logins without a password of the pooler's: any, access rules, certificates, peers of Unix sockets; and forced users. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { startupMessage } from '@sluice/wire';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { attempt } from './support/attempt.ts';
import { Authority, OPENSSL, type Pair } from './support/certificates.ts';
import { postgres } from './support/postgres.ts';
import { RawClient } from './support/raw.ts';
import { launch, type Sluice, type SluiceOptions, startSluice } from './support/sluice.ts';

const server = postgres();
const dir = mkdtempSync(join(tmpdir(), 'sluice-auth-'));
const admin = new pg.Client(server);
const running: Sluice[] = [];
const ROLE = 'auth_role';
const ME = userInfo().username;
const FORCED = `postgres = host=${server.host} port=${server.port} user=${server.user} password=${server.password}`;

beforeAll(async () => {
  await admin.connect();
  await admin.query(`create role ${ROLE} login password 'right'`);
});
afterAll(async () => {
  await admin.end();
  rmSync(dir, { recursive: true, force: true });
});
afterEach(() => Promise.all(running.splice(0).map((sluice) => sluice.stop())));

async function start(options: SluiceOptions): Promise<Sluice> {
  const sluice = await startSluice(server, { userlist: `"${ROLE}" "right"\n"${ME}" "mine"\n`, ...options });
  running.push(sluice);
  return sluice;
}

function file(name: string, text: string): string {
  const path = join(dir, name);
  writeFileSync(path, text);
  return path;
}

/** The user that a query runs as, or what the client is told. */
async function login({ host, port }: Sluice, config: pg.ClientConfig & { replication?: string }): Promise<string> {
  return (await attempt({ host, port, user: ROLE, password: 'right', database: 'postgres', ...config })).text;
}

describe('auth_type any', () => {
  test('takes any name, and logs in to the server as the forced user', async () => {
    const sluice = await start({ databases: FORCED, settings: 'auth_type = any' });
    for (const user of ['whoever', ROLE]) expect(await login(sluice, { user, password: 'x' })).toBe(server.user);
  });

  test('without a forced user it is a configuration error', async () => {
    const sluice = await start({ settings: 'auth_type = any' });
    expect(await login(sluice, {})).toBe('bouncer config error');
    await sluice.waitFor(/auth_type=any requires forced user/);
  });
});

describe('the console under auth_type any', () => {
  test('lets everybody look, and admin_users do everything', async () => {
    const sluice = await start({ databases: FORCED, settings: `auth_type = any\nadmin_users = ${ME}` });
    const told = async (user: string, sql: string) => {
      const client = new pg.Client({ host: sluice.host, port: sluice.port, user, database: 'pgbouncer' });
      await client.connect();
      const answer = await client.query(sql).then(
        () => 'done',
        (error: Error) => error.message,
      );
      await client.end();
      return answer;
    };
    expect(await told('whoever', 'show version')).toBe('done');
    expect(await told('whoever', 'pause')).toMatch(/admin access needed/);
    expect(await told(ME, 'set verbose = 0')).toBe('done');
  });
});

describe('a forced user', () => {
  test('brings its own entry of [users], whoever comes first', async () => {
    const sluice = await start({
      databases: `* = host=${server.host} port=${server.port} user=${server.user} password=${server.password}`,
      users: `${server.user} = pool_mode=session\n${ROLE} = pool_mode=statement`,
      settings: 'auth_type = trust',
    });
    const client = new pg.Client({ host: sluice.host, port: sluice.port, user: ROLE, database: 'postgres' });
    await client.connect();
    await client.query('begin');
    expect((await client.query('select current_user as u')).rows[0].u).toBe(server.user);
    await client.end();
  });
});

describe('auth_type hba', () => {
  const rules = (text: string, more = '') => ({
    settings: `auth_type = hba\nauth_hba_file = ${file('hba.conf', text)}\n${more}`,
  });

  test('the first rule that holds decides, by database, user and address', async () => {
    const sluice = await start(
      rules(`
host  postgres   ${ME}     all           reject
host  postgres   ${ROLE}   10.0.0.0/8    trust
host  sameuser   all       127.0.0.1/32  trust
host  "postgres" ${ROLE}   127.0.0.0/8   scram-sha-256
`),
    );
    expect(await login(sluice, {})).toBe(ROLE);
    expect(await login(sluice, { password: 'wrong' })).toBe('SASL authentication failed');
    expect(await login(sluice, { user: ME, password: 'mine' })).toBe('login rejected');
    expect(await login(sluice, { user: 'stranger' })).toBe('no authentication method is found');
    expect(await login(sluice, { user: 'stranger', database: 'stranger' })).toBe('"trust" authentication failed');
    expect(await login(sluice, { database: ROLE })).toMatch(/database "auth_role" does not exist/);
  });

  test.each([
    ['trust', 'auth_role', 'auth_role'],
    ['password', 'auth_role', 'password authentication failed for user "auth_role"'],
    ['md5', 'auth_role', 'password authentication failed for user "auth_role"'],
    ['scram-sha-256', 'auth_role', 'SASL authentication failed'],
    ['reject', 'login rejected', 'login rejected'],
    ['cert', 'certificate authentication failed', 'certificate authentication failed'],
    ['peer', 'unix socket login rejected', 'unix socket login rejected'],
  ])('method %s', async (method, right, wrong) => {
    const sluice = await start(rules(`host all all all ${method}\n`));
    expect(await login(sluice, {})).toBe(right);
    expect(await login(sluice, { password: 'wrong' })).toBe(wrong);
  });

  test('a WAL sender needs a rule for replication, however the client asks for it', async () => {
    const sluice = await start(rules('host replication all all reject\nhost all all all trust\n'));
    for (const replication of ['true', 't', 'TR', 'y', 'ye', 'on', '1'])
      expect(await login(sluice, { replication }), replication).toBe('login rejected');
    for (const replication of ['false', 'F', 'of', 'no', '0'])
      expect(await login(sluice, { replication }), replication).toBe(ROLE);
    // Let in; it is PostgreSQL that finds it may not replicate.
    expect(await login(sluice, { replication: 'database' })).toBe('login failed');
    expect(await login(sluice, { replication: 'perhaps' })).toBe(
      'invalid value for parameter "replication": "perhaps"',
    );
  });

  test('without the file nobody gets in, until RELOAD finds it; once read, its rules outlive it', async () => {
    const path = file('late.conf', '');
    rmSync(path);
    const sluice = await start({ settings: `auth_type = hba\nauth_hba_file = ${path}` });
    expect(await login(sluice, {})).toBe('no authentication method is found');
    file('late.conf', `host all ${ROLE} all trust\n`);
    sluice.signal('SIGHUP');
    await sluice.waitFor(/LOG RELOAD: /);
    expect(await login(sluice, {})).toBe(ROLE);
    rmSync(path);
    sluice.signal('SIGHUP');
    await sluice.waitFor(/ERROR .*could not open hba config file .*late\.conf/);
    expect(await login(sluice, {})).toBe(ROLE);
    expect(await login(sluice, { user: ME, password: 'mine' })).toBe('no authentication method is found');
  });

  test('a rule that cannot be read is left out with a warning, and the others hold', async () => {
    const map = 'staff root\n';
    const rules = `host all ${ROLE} samenet trust\nhost all ${ME} all trust map=staff\nhost all ${ROLE} all md5\n`;
    const sluice = await start({
      settings: `auth_type = hba\nauth_hba_file = ${file('odd.conf', rules)}\nauth_ident_file = ${file('odd-map.conf', map)}`,
    });
    await sluice.waitFor(/WARNING hba line 1: failed to parse address.*could not parse hba config line 1/);
    await sluice.waitFor(/WARNING hba line 2: Ident map "staff" is not found/);
    await sluice.waitFor(/WARNING could not parse ident config line 1/);
    expect(await login(sluice, {})).toBe(ROLE);
    expect(await login(sluice, { password: 'wrong' })).toMatch(/^password authentication failed/);
    expect(await login(sluice, { user: ME, password: 'mine' })).toBe('no authentication method is found');
  });

  test('a rule that cannot be read and may be one that keeps out stops the start, with its line', async () => {
    const path = file('bad.conf', 'host all all all trust\nhost all all all rejct\n');
    const ini = file(
      'bad.ini',
      `[databases]\n${FORCED}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = 0\nunix_socket_dir =\nauth_type = hba\nauth_hba_file = ${path}\n`,
    );
    const sluice = launch(['start', ini]);
    running.push(sluice);
    expect((await sluice.exit).code).toBe(1);
    await sluice.waitFor(/hba line 2: unsupported method: "rejct".*bad\.conf/s);
  });
});

describe.runIf(process.platform === 'linux')('peers of Unix sockets', () => {
  const sockets = mkdtempSync(join(tmpdir(), 'sluice-peer-'));
  afterAll(() => rmSync(sockets, { recursive: true, force: true }));

  async function withRules(rule: string, map: string): Promise<Sluice> {
    return start({
      databases: FORCED,
      settings: `unix_socket_dir = ${sockets}\nauth_type = hba\nauth_hba_file = ${file('peer.conf', rule)}\nauth_ident_file = ${file('ident.conf', map)}`,
    });
  }

  test('a user of the same name comes in without a password, nobody else does', async () => {
    const sluice = await withRules('local all all peer\n', '');
    await sluice.waitFor(/listening on unix:/);
    expect(await login(sluice, { host: sockets, user: ME })).toBe(server.user);
    expect(await login(sluice, { host: sockets, user: ROLE })).toBe('unix socket login rejected');
    expect(await login(sluice, { host: sockets, user: 'stranger' })).toBe('unix socket login rejected');
    expect(await login(sluice, { user: ME })).toBe('no authentication method is found');
  });

  test('a map lets one system user be several database users', async () => {
    const sluice = await withRules(
      'local all all peer map=m\n',
      `other ${ME} ${ME}\nm ${ME} ${ROLE}\nm somebody ${ME}\n`,
    );
    await sluice.waitFor(/listening on unix:/);
    expect(await login(sluice, { host: sockets, user: ROLE })).toBe(server.user);
    expect(await login(sluice, { host: sockets, user: ME })).toBe('unix socket login rejected');
    await sluice.waitFor(/ident map m cannot be matched/);
  });
});

describe.skipIf(!OPENSSL)('auth_type cert', () => {
  let ours: Authority;
  let site: Pair;
  beforeAll(() => {
    ours = new Authority(dir, 'ours');
    site = ours.issue('localhost', 'DNS:localhost');
  });

  const tls = (mode: string, more: string) =>
    [
      `client_tls_sslmode = ${mode}`,
      `client_tls_key_file = ${site.key}`,
      `client_tls_cert_file = ${site.cert}`,
      `client_tls_ca_file = ${ours.ca}`,
      more,
    ].join('\n');
  const shown = (pair: Pair | null) => ({
    ca: readFileSync(ours.ca),
    servername: 'localhost',
    ...(pair === null ? {} : { key: readFileSync(pair.key), cert: readFileSync(pair.cert) }),
  });

  test('the common name is the user; another one, and one that nobody knows, is refused', async () => {
    const sluice = await start({ databases: FORCED, settings: tls('verify-full', 'auth_type = cert') });
    const ssl = shown(ours.issue(ROLE, `DNS:${ME}`));
    expect(await login(sluice, { ssl, password: 'not asked for' })).toBe(server.user);
    // Case counts for nothing, as in PgBouncer.
    expect(await login(sluice, { ssl: shown(ours.issue(ROLE.toUpperCase())) })).toBe(server.user);
    expect(await login(sluice, { ssl, user: ME })).toBe('certificate authentication failed');
    await sluice.waitFor(/TLS certificate name mismatch/);
    expect(await login(sluice, { ssl: shown(ours.issue('stranger')), user: 'stranger' })).toBe(
      'certificate authentication failed',
    );
  });

  test('a rule with a map lets a certificate be several users, and asks for one where TLS alone does not', async () => {
    const hba = file('cert.conf', 'hostssl all all all cert map=m\n');
    const ident = file('cert-ident.conf', `m app.example.org ${ROLE}\nm admin.example.org all\n`);
    const sluice = await start({
      databases: FORCED,
      settings: tls('require', `auth_type = hba\nauth_hba_file = ${hba}\nauth_ident_file = ${ident}`),
    });
    const [app, all] = [ours.issue('app.example.org'), ours.issue('admin.example.org')];
    expect(await login(sluice, { ssl: shown(app) })).toBe(server.user);
    expect(await login(sluice, { ssl: shown(app), user: ME })).toBe('certificate authentication failed');
    await sluice.waitFor(/ident map: m does not have a match/);
    expect(await login(sluice, { ssl: shown(all), user: ME })).toBe(server.user);
    expect(await login(sluice, { ssl: shown(null) })).toBe('certificate authentication failed');
    await sluice.waitFor(/TLS client certificate required/);
  });
});

test.each(['pgbouncer', 'follow'])(
  'options name no other user, database or purpose, session_state = %s',
  async (follows) => {
    const sluice = await start({ settings: `auth_type = trust\nsession_state = ${follows}\n` });
    for (const replication of [undefined, 'database'])
      for (const name of ['user', 'database', 'replication', 'options', 'USER'])
        expect(await login(sluice, { options: `-c ${name}=template1`, replication })).toBe(
          `unrecognized configuration parameter "${name}" in options`,
        );
  },
);

describe('auth_file', () => {
  test('is read again when it has changed, and servers are logged in to with what it says now', async () => {
    const sluice = await start({ settings: 'auth_type = plain\nserver_idle_timeout = 1' });
    expect(await login(sluice, {})).toBe(ROLE);
    await admin.query(`create role auth_later login password 'x'`);
    await admin.query(`alter role ${ROLE} password 'changed'`);
    writeFileSync(join(sluice.dir, 'userlist.txt'), `"${ROLE}" "changed"\n"auth_later" "x"\n`);
    await sluice.waitFor(/closing because: server idle timeout/);
    expect(await login(sluice, { user: 'auth_later', password: 'x' })).toBe('auth_later');
    expect(await login(sluice, { password: 'right' })).toMatch(/password authentication failed/);
    expect(await login(sluice, { password: 'changed' })).toBe(ROLE);
    await admin.query(`alter role ${ROLE} password 'right'`);
  });
});

describe('an auth_file that is not there', () => {
  test('keeps nobody from starting; it is read when it has come', async () => {
    const users = join(dir, 'later.txt');
    const sluice = await start({ settings: `auth_type = plain\nauth_file = ${users}` });
    await sluice.waitFor(/could not open auth_file .*later\.txt: ENOENT/);
    expect(await login(sluice, {})).toMatch(/password authentication failed/);
    writeFileSync(users, `"${ROLE}" "right"\n`);
    while ((await login(sluice, {})) !== ROLE) await new Promise((resolve) => setTimeout(resolve, 100));
  });

  test('any more at a RELOAD leaves the users as they were', async () => {
    const users = file('gone.txt', `"${ROLE}" "right"\n"${ME}" "mine"\n`);
    const sluice = await start({ settings: `auth_type = plain\nauth_file = ${users}\nadmin_users = ${ME}` });
    rmSync(users);
    const admin = new pg.Client({
      host: sluice.host,
      port: sluice.port,
      user: ME,
      password: 'mine',
      database: 'pgbouncer',
    });
    await admin.connect();
    await admin.query('RELOAD');
    await admin.end();
    await sluice.waitFor(/could not open auth_file .*gone\.txt/);
    expect(await login(sluice, {})).toBe(ROLE);
  });
});

describe('nonsense instead of a proof', () => {
  test.each(['plain', 'md5', 'scram-sha-256'])(
    'under auth_type %s lets nobody in and harms nobody',
    async (authType) => {
      const sluice = await start({ settings: `auth_type = ${authType}\nclient_login_timeout = 5` });
      const random = seeded(20_261);
      for (let round = 0; round < 150; round++) {
        const raw = await RawClient.connect(sluice.host, sluice.port);
        raw.send(
          startupMessage({ major: 3, minor: 0, params: { user: round % 2 ? ROLE : 'nobody', database: 'postgres' } }),
        );
        await raw.next();
        for (let i = 0; i < 1 + random(3); i++) raw.send(nonsense(random));
        raw.socket.end();
        const told = (await raw.until('never')).map(({ type }) => type).join('');
        expect(told).not.toMatch(/[ZK]/);
        raw.end();
      }
      expect(await login(sluice, {})).toBe(ROLE);
      expect(sluice.output()).not.toMatch(/bug:|internal error/);
    },
  );
});

/** Numbers below a bound, the same in every run. */
function seeded(seed: number): (bound: number) => number {
  let state = seed;
  return (bound) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fff_ffff;
    return (state >> 8) % bound;
  };
}

/** A password message, nearly: words of SASL and bytes of all kinds, with a length that is mostly right. */
function nonsense(random: (bound: number) => number): Uint8Array {
  const words = [
    'SCRAM-SHA-256\0',
    'SCRAM-SHA-256-PLUS\0',
    'n,,n=,r=',
    'y,,',
    'c=biws,r=',
    ',p=',
    'md5',
    '\0',
    '\xff\xff\xff\xff',
    '\0\0\0\x20',
    'x'.repeat(random(3_000)),
  ];
  const body = Buffer.from(Array.from({ length: random(8) }, () => words[random(words.length)]!).join(''), 'latin1');
  const message = Buffer.alloc(5 + body.length);
  message.write(random(12) === 0 ? 'Q' : 'p');
  message.writeInt32BE(random(10) === 0 ? random(100_000) - 10 : body.length + 4, 1);
  body.copy(message, 5);
  return message;
}
