/** TLS to servers: every server_tls_sslmode against servers that have TLS, lack it, demand it or are not who they say. */
import { chmodSync, chownSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cancelRequest, gssEncRequest, startupMessage } from '@sluice/wire';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { type Config, parseConfig } from '../packages/sluice/src/config/index.ts';
import { Daemon } from '../packages/sluice/src/daemon.ts';
import { type EmbeddedPostgres, startEmbedded } from '../packages/sluice/src/embedded/postgres.ts';
import { Log } from '../packages/sluice/src/telemetry/log.ts';
import { attempt } from './support/attempt.ts';
import { Authority, OPENSSL, type Pair, renew } from './support/certificates.ts';
import type { Coordinates } from './support/global-setup.ts';
import { ManInTheMiddle } from './support/man-in-the-middle.ts';
import { postgres } from './support/postgres.ts';
import { errorOf, RawClient } from './support/raw.ts';
import { launch, ON_BUN, type Sluice, startSluice } from './support/sluice.ts';

const plain = postgres();
const dir = mkdtempSync(join(tmpdir(), 'sluice-tlss-'));
chmodSync(dir, 0o755);
let ours: Authority;
let strangers: Authority;
let bouncer: Pair;
let server: EmbeddedPostgres;

/** First match counts. Nobody is let in without a password or a certificate. */
const HBA = `
hostssl   all tlsonly   all scram-sha-256
hostssl   all plainonly all reject
hostssl   all certonly  all cert
hostnossl all tlsonly   all reject
hostnossl all plainonly all scram-sha-256
hostnossl all certonly  all reject
host      all all       all scram-sha-256
`;

/** Gives files to the uid that PostgreSQL runs under. */
function give(...paths: string[]): void {
  for (const path of paths) {
    chmodSync(path, 0o600);
    if (process.getuid?.() === 0) chownSync(path, 65_534, 65_534);
  }
}

beforeAll(async () => {
  if (!OPENSSL) return;
  ours = new Authority(dir, 'ours');
  strangers = new Authority(dir, 'strangers');
  const site = ours.issue('localhost', 'DNS:localhost');
  bouncer = ours.issue('certonly');
  const owned = join(dir, 'owned');
  mkdirSync(owned, { mode: 0o755 });
  const [hba, ca, key, cert] = ['hba', 'ca', 'key', 'cert'].map((name) => join(owned, name)) as [
    string,
    string,
    string,
    string,
  ];
  writeFileSync(hba, HBA);
  writeFileSync(ca, readFileSync(ours.ca));
  writeFileSync(key, readFileSync(site.key));
  writeFileSync(cert, readFileSync(site.cert));
  give(hba, ca, key, cert);
  const settings = { ssl: 'on', ssl_ca_file: ca, ssl_key_file: key, ssl_cert_file: cert, hba_file: hba };
  server = await startEmbedded({ dataDir: join(dir, 'pg'), throwaway: true, settings });
  const admin = new pg.Client(coordinates());
  await admin.connect();
  for (const role of ['tlsonly', 'plainonly', 'certonly'])
    await admin.query(`create role ${role} login password '${server.password}'`);
  await admin.query('grant pg_read_all_stats to tlsonly, plainonly, certonly');
  await admin.end();
});

const running: Sluice[] = [];
afterAll(async () => {
  await Promise.all(running.splice(0).map((sluice) => sluice.stop()));
  await server?.stop('immediate');
  rmSync(dir, { recursive: true, force: true });
});

function coordinates(): Coordinates {
  const { host, port, user, password, database } = server;
  return { host, port, user, password, database };
}

interface Given {
  settings: string;
  /** More of the database's connection string. */
  database?: string;
  host?: string;
  at?: { port: number };
}

async function sluiceWith({ settings, database = '', host = 'localhost', at = server }: Given): Promise<Sluice> {
  const userlist = ['postgres', 'tlsonly', 'plainonly', 'certonly']
    .map((user) => `"${user}" "${server.password}"\n`)
    .join('');
  const databases = `* = host=${host} port=${at.port} ${database}`;
  const quick = 'server_login_retry = 1\nquery_wait_timeout = 2';
  const sluice = await startSluice(coordinates(), { databases, userlist, settings: `${quick}\n${settings}` });
  running.push(sluice);
  return sluice;
}

const OVER = 'select coalesce(version, $$plain$$) as x from pg_stat_ssl where pid = pg_backend_pid()';

/** The TLS version of the server connection, 'plain', or the error the client gets. */
async function over(sluice: { host: string; port: number }, user = 'postgres', sql = OVER): Promise<string> {
  const { password, database } = coordinates();
  const { host, port } = sluice;
  return (await attempt({ host, port, user, password, database }, sql)).text;
}

describe.skipIf(!OPENSSL)('server_tls_sslmode', () => {
  test.each([
    ['disable', 'plain', /pg_hba.conf rejects connection .*tlsonly/, 'plain'],
    ['allow', 'TLSv1.3', /^TLSv1.3$/, 'plain'],
    ['prefer', 'TLSv1.3', /^TLSv1.3$/, 'plain'],
    ['require', 'TLSv1.3', /^TLSv1.3$/, /pg_hba.conf rejects connection .*plainonly/],
  ] as const)('%s against a server with TLS', async (mode, anybody, tlsOnly, plainOnly) => {
    const sluice = await sluiceWith({ settings: `server_tls_sslmode = ${mode}` });
    expect(await over(sluice)).toBe(anybody);
    expect(await over(sluice, 'tlsonly')).toMatch(tlsOnly);
    expect(await over(sluice, 'plainonly')).toMatch(plainOnly);
  });

  test.each([
    ['allow', 'plain'],
    ['prefer', 'plain'],
    ['require', /server refused SSL/],
    ['verify-full', /server refused SSL/],
  ] as const)('%s against a server without TLS', async (mode, expected) => {
    const settings = `server_tls_sslmode = ${mode}\nserver_tls_ca_file = ${ours.ca}\nquery_wait_timeout = 1`;
    const sluice = await startSluice(plain, { settings });
    running.push(sluice);
    const client = new pg.Client({ ...plain, host: sluice.host, port: sluice.port });
    client.on('error', () => {});
    const said = client.connect().then(
      async () => (await client.query(OVER)).rows[0].x,
      (error: Error) => error.message,
    );
    if (typeof expected === 'string') expect(await said).toBe(expected);
    else {
      await sluice.waitFor(expected);
      expect(await said).toMatch(/timeout|timed out|waited|cannot connect|refused/i);
    }
    await client.end().catch(() => {});
  });

  test('verify-ca asks for a certificate of the CA, for whatever host', async () => {
    const settings = `server_tls_sslmode = verify-ca\nserver_tls_ca_file = ${ours.ca}`;
    expect(await over(await sluiceWith({ settings, host: '127.0.0.1' }))).toBe('TLSv1.3');
    const wrong = await sluiceWith({ settings: settings.replace(ours.ca, strangers.ca) });
    const refused = over(wrong);
    await wrong.waitFor(/certificate verify failed: .*check server_tls_ca_file/);
    expect(await refused).not.toBe('TLSv1.3');
  });

  test('verify-full asks for the configured host’s certificate', async () => {
    const settings = `server_tls_sslmode = verify-full\nserver_tls_ca_file = ${ours.ca}`;
    expect(await over(await sluiceWith({ settings, host: 'localhost' }))).toBe('TLSv1.3');
    const wrong = await sluiceWith({ settings, host: '127.0.0.1' });
    const refused = over(wrong);
    await wrong.waitFor(/certificate verify failed: .* is for DNS:localhost, not for "127.0.0.1"/);
    expect(await refused).not.toBe('TLSv1.3');
  });

  test('a certificate is shown to a server that asks for it', async () => {
    const files = `server_tls_key_file = ${bouncer.key}\nserver_tls_cert_file = ${bouncer.cert}`;
    const sluice = await sluiceWith({ settings: `server_tls_sslmode = require\n${files}` });
    expect(await over(sluice, 'certonly')).toBe('TLSv1.3');
    const without = await sluiceWith({ settings: 'server_tls_sslmode = require' });
    expect(await over(without, 'certonly')).toMatch(/client certificate/);
  });

  test('protocols and ciphers are those of the settings', async () => {
    const settings = 'server_tls_sslmode = require\nserver_tls_protocols = tlsv1.2';
    const sluice = await sluiceWith({ settings: `${settings}\nserver_tls_ciphers = ECDHE-ECDSA-AES256-GCM-SHA384` });
    expect(await over(sluice)).toBe('TLSv1.2');
    await sluice.waitFor(/SSL established: TLSv1\.2\/ECDHE-ECDSA-AES256-GCM-SHA384/);
    if (ON_BUN) return;
    const suites = 'server_tls_sslmode = require\nserver_tls13_ciphers = TLS_AES_128_GCM_SHA256';
    const cipher = 'select cipher as x from pg_stat_ssl where pid = pg_backend_pid()';
    expect(await over(await sluiceWith({ settings: suites }), 'postgres', cipher)).toBe('TLS_AES_128_GCM_SHA256');
  });
});

describe.skipIf(!OPENSSL)('over TLS to the server', () => {
  test.runIf(inject('release') >= 17)('sslnegotiation=direct begins with the handshake', async () => {
    const settings = `server_tls_sslmode = verify-full\nserver_tls_ca_file = ${ours.ca}`;
    const sluice = await sluiceWith({ settings, database: 'sslnegotiation=direct' });
    expect(await over(sluice)).toBe('TLSv1.3');
    const prefer = await sluiceWith({ settings: 'server_tls_sslmode = prefer', database: 'sslnegotiation=direct' });
    expect(await over(prefer)).toBe('TLSv1.3');
  });

  test('large results pass whole, and a query is cancelled', async () => {
    const sluice = await sluiceWith({ settings: 'server_tls_sslmode = require' });
    const { password, database } = coordinates();
    const client = new pg.Client({ host: sluice.host, port: sluice.port, user: 'postgres', password, database });
    client.on('error', () => {});
    await client.connect();
    const rows = (await client.query('select repeat(i::text, 100) as x from generate_series(1, 30000) i')).rows;
    expect(rows.every(({ x }, index) => x === String(index + 1).repeat(100))).toBe(true);
    expect(rows).toHaveLength(30_000);
    const sleeping = client.query('select pg_sleep(60)').catch((error: Error) => error.message);
    const asleep = "select count(*) as x from pg_stat_activity where query = 'select pg_sleep(60)'";
    while ((await over(sluice, 'postgres', asleep)) !== '1');
    const { processID, secretKey } = client as unknown as { processID: number; secretKey: number };
    const key = Buffer.alloc(4);
    key.writeInt32BE(secretKey);
    const canceller = await RawClient.connect(sluice.host, sluice.port);
    canceller.send(cancelRequest(processID, key));
    expect(await sleeping).toMatch(/canceling statement due to user request/);
    await client.end();
  });

  test.each(['require', 'prefer'])(
    'a man in the middle with a certificate of his own is found out by channel binding (%s)',
    async (mode) => {
      const middle = await ManInTheMiddle.start(server.port, strangers.issue('localhost', 'DNS:localhost'));
      const sluice = await sluiceWith({ settings: `server_tls_sslmode = ${mode}`, at: middle });
      expect(await over(sluice)).toMatch(/channel binding check failed/);
      expect(middle.relayed).toBeGreaterThan(0);
      await middle.stop();
    },
  );

  test.each([
    ['more than one byte', 'Sforged', /received unencrypted data after SSL response/],
    ['an error', 'EFATAL could not fork\0', /bad sslreq answer: the server sent an error/],
    ['S and nothing more', 'S', /no answer from 127.0.0.1:\d+ within 1 s \(server_connect_timeout\)/],
    ['nothing', '', /no answer from 127.0.0.1:\d+ within 1 s \(server_connect_timeout\)/],
  ])('a server that answers the request with %s is given up', async (_, answer, logged) => {
    const odd = createServer((socket) => {
      socket.on('error', () => {});
      socket.once('data', () => socket.write(answer));
    });
    await new Promise<void>((resolve) => odd.listen(0, '127.0.0.1', resolve));
    const settings = 'server_tls_sslmode = require\nserver_connect_timeout = 1';
    const sluice = await sluiceWith({ settings, host: '127.0.0.1', at: odd.address() as { port: number } });
    const refused = over(sluice);
    await sluice.waitFor(logged);
    expect(await refused).not.toMatch(/^TLS|^plain/);
    odd.close();
  });
});

describe.skipIf(!OPENSSL)('sluice start URL', () => {
  const url = ({ port, password }: { port: number; password: string }, params: string) => [
    'start',
    `postgres://postgres:${password}@localhost:${port}/postgres?${params}`,
    '--listen',
    '127.0.0.1:0',
  ];
  const outcome = async (args: string[]) => {
    const sluice = launch(args);
    const { code } = await sluice.exit;
    const text = sluice.output();
    await sluice.stop();
    return { code, text };
  };

  test('keeps to the URL’s sslmode, with libpq’s words for the files', async () => {
    const sluice = launch(url(server, `sslmode=verify-full&sslrootcert=${ours.ca}`));
    running.push(sluice);
    const [, port] = await sluice.waitFor(/listening on 127.0.0.1:(\d+)/);
    expect(await over({ host: '127.0.0.1', port: Number(port) })).toBe('TLSv1.3');
  });

  test('never begins in plain where the URL asks for TLS, or with a server that is not the one', async () => {
    const none = await outcome(url(plain, 'sslmode=require'));
    expect(none).toMatchObject({ code: 1, text: expect.stringMatching(/server refused SSL; check sslmode/) });
    const wrong = await outcome(url(server, `sslmode=verify-ca&sslrootcert=${strangers.ca}`));
    expect(wrong).toMatchObject({ code: 1, text: expect.stringMatching(/certificate verify failed/) });
    const missing = await outcome(url(server, 'sslmode=verify-ca&sslrootcert=/nowhere'));
    expect(missing).toMatchObject({ code: 1, text: expect.stringMatching(/"\/nowhere": No such file or directory/) });
  });
});

describe.skipIf(!OPENSSL)('a reload', () => {
  const lines: string[] = [];
  let daemon: Daemon;
  let current: Config;
  let site: Pair;
  const read = (settings: string) => {
    const text = `[databases]\n* = host=localhost port=${server.port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = 0
pool_mode = transaction
unix_socket_dir =\nauth_type = trust\nauth_file = ${dir}/users\nclient_tls_sslmode = require
client_tls_key_file = ${site.key}\nclient_tls_cert_file = ${site.cert}\n${settings}`;
    return parseConfig(text, { path: 'test.ini', readFile: () => '' }).config;
  };
  const SERVER = 'server_tls_sslmode = require';

  beforeAll(async () => {
    if (!OPENSSL) return;
    site = ours.issue('localhost', 'DNS:localhost');
    writeFileSync(join(dir, 'users'), `"postgres" "${server.password}"\n`);
    const log = new Log([{ write: (line) => lines.push(line) }], { format: 'text', verbose: 0 });
    current = read(SERVER);
    daemon = new Daemon({ config: current, log, reread: () => current });
    await daemon.start();
  });
  afterAll(() => daemon?.stop());

  const client = async (authority: Authority) => {
    const ssl = { ca: readFileSync(authority.ca), servername: 'localhost' };
    const made = new pg.Client({
      host: '127.0.0.1',
      port: daemon.listeners[0]!.port,
      user: 'postgres',
      database: 'postgres',
      ssl,
    });
    made.on('error', () => {});
    await made.connect();
    return made;
  };
  const backend = async (made: pg.Client) => (await made.query('select pg_backend_pid() as x')).rows[0].x;

  test('shows the new certificate to new clients, and drops nobody', async () => {
    const old = await client(ours);
    const before = await backend(old);
    renew(site, strangers.issue('localhost', 'DNS:localhost'));
    current = read(SERVER);
    daemon.reload();
    await expect(client(ours)).rejects.toThrow(/self.signed|unable to/);
    const next = await client(strangers);
    expect(await backend(next)).toBe(before);
    expect(await backend(old)).toBe(before);
    await Promise.all([old.end(), next.end()]);
  });

  test('replaces servers when a server setting changed, between transactions', async () => {
    const held = await client(strangers);
    await held.query('begin');
    const before = await backend(held);
    current = read(`${SERVER}\nserver_tls_protocols = tlsv1.2`);
    daemon.reload();
    expect(await backend(held)).toBe(before);
    await held.query('commit');
    expect(await backend(held)).not.toBe(before);
    expect((await held.query(OVER)).rows[0].x).toBe('TLSv1.2');
    await held.end();
  });

  test('that requires TLS holds for a client that was connected and had not logged in', async () => {
    current = read(`${SERVER}\nclient_tls_sslmode = allow`);
    daemon.reload();
    const early = await RawClient.connect('127.0.0.1', daemon.listeners[0]!.port);
    early.send(gssEncRequest());
    expect(await early.byte()).toBe('N');
    current = read(SERVER);
    daemon.reload();
    early.send(startupMessage({ major: 3, minor: 0, params: { user: 'postgres' } }));
    expect(errorOf(await early.until('E')).message).toBe('SSL required');
  });

  test('that cannot be done changes nothing', async () => {
    current = read(`server_tls_sslmode = verify-ca\nserver_tls_ca_file = ${dir}/missing`);
    expect(() => daemon.reload()).toThrow('RELOAD failed, see logs for additional details');
    expect(lines.join('\n')).toMatch(
      /TLS setup failed: cannot read server_tls_ca_file ".*missing": No such file or directory/,
    );
    current = read(SERVER);
    const still = await client(strangers);
    expect(await backend(still)).toBeGreaterThan(0);
    await still.end();
  });
});
