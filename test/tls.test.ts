/** TLS from clients and to servers, with real certificates: who gets through, over what, and who is told what. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect as connectTcp, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { cancelRequest, sslRequest, startupMessage } from '@sluice/wire';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { attempt } from './support/attempt.ts';
import { Authority, OPENSSL, type Pair, renew } from './support/certificates.ts';
import { postgres } from './support/postgres.ts';
import { PSQL, runProgram } from './support/programs.ts';
import { errorOf, RawClient } from './support/raw.ts';
import { launch, ON_BUN, type Sluice, type SluiceOptions, startSluice } from './support/sluice.ts';

const server = postgres();
const dir = mkdtempSync(join(tmpdir(), 'sluice-tls-'));
let ours: Authority;
let strangers: Authority;
let site: Pair;

beforeAll(() => {
  ours = new Authority(dir, 'ours');
  strangers = new Authority(dir, 'strangers');
  site = ours.issue('localhost', 'DNS:localhost,IP:127.0.0.1');
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const running: Sluice[] = [];
afterAll(() => Promise.all(running.splice(0).map((sluice) => sluice.stop())));

/** A daemon that shows `site` to its clients; later lines of `settings` win. */
async function withTls(settings: string, options: SluiceOptions = {}): Promise<Sluice> {
  const files = [`client_tls_key_file = ${site.key}`, `client_tls_cert_file = ${site.cert}`];
  const all = ['client_tls_sslmode = require', ...files, 'server_tls_sslmode = disable', settings];
  const sluice = await startSluice(server, { ...options, settings: all.join('\n') });
  running.push(sluice);
  return sluice;
}

/** What a client is told: the answer to its query, or its error. */
async function ask(
  { host, port }: { host: string; port: number },
  config: pg.ClientConfig,
  sql = 'select 1 as x',
): Promise<string> {
  const { user, password, database } = server;
  return (await attempt({ host, port, user, password, database, ...config }, sql)).text;
}

/** Runs psql with a connection string of libpq's own words. */
async function psql(at: Sluice, options: string, sql = 'select 1'): Promise<string> {
  const { code, stdout, stderr } = await runProgram(PSQL!, ['-XAtc', sql, options], { ...server, ...place(at) });
  return code === 0 ? stdout.trim() : stderr.trim();
}

const place = ({ host, port }: Sluice) => ({ host, port });
const trusted = () => ({ ca: readFileSync(ours.ca), servername: 'localhost' });

describe.skipIf(!OPENSSL)('client_tls_sslmode', () => {
  test.each(['allow', 'prefer'])('%s takes clients with TLS and without', async (mode) => {
    const sluice = await withTls(`client_tls_sslmode = ${mode}`);
    expect(await ask(sluice, { ssl: trusted() })).toBe('1');
    expect(await ask(sluice, { ssl: false })).toBe('1');
  });

  test('require refuses clients without TLS, and says what to do', async () => {
    const sluice = await withTls('');
    expect(await ask(sluice, { ssl: trusted() })).toBe('1');
    const raw = await RawClient.connect(sluice.host, sluice.port);
    raw.send(startupMessage({ major: 3, minor: 0, params: { user: server.user } }));
    expect(errorOf(await raw.until('E'))).toMatchObject({ severity: 'FATAL', code: '08P01', message: 'SSL required' });
    expect(await raw.next()).toBeNull();
  });

  test('disable answers N, and goes on in plain', async () => {
    const sluice = await withTls('client_tls_sslmode = disable');
    const raw = await RawClient.connect(sluice.host, sluice.port);
    raw.send(sslRequest());
    expect(await raw.byte()).toBe('N');
    raw.send(startupMessage({ major: 3, minor: 0, params: { user: server.user, database: server.database } }));
    expect((await raw.until('R')).map(({ type }) => type)).toEqual(['R']);
    raw.end();
  });

  test.each(['verify-ca', 'verify-full'])('%s takes clients with a valid certificate only', async (mode) => {
    const sluice = await withTls(`client_tls_sslmode = ${mode}\nclient_tls_ca_file = ${ours.ca}`);
    const shown = (pair: Pair) => ({ ...trusted(), key: readFileSync(pair.key), cert: readFileSync(pair.cert) });
    expect(await ask(sluice, { ssl: shown(ours.issue('somebody')) })).toBe('1');
    expect(await ask(sluice, { ssl: shown(strangers.issue('somebody')) })).toMatch(
      /certificate verify failed|terminated/,
    );
    expect(await ask(sluice, { ssl: trusted() })).toMatch(/certificate required|ECONNRESET|terminated/);
    expect(await ask(sluice, { ssl: false })).toBe('SSL required');
  });

  test('with a CA and a mode that asks for no certificate, one that is shown must be valid', async () => {
    const sluice = await withTls(`client_tls_ca_file = ${ours.ca}`);
    const wrong = strangers.issue('somebody');
    const ssl = { ...trusted(), key: readFileSync(wrong.key), cert: readFileSync(wrong.cert) };
    expect(await ask(sluice, { ssl })).toMatch(/certificate verify failed/);
    expect(await ask(sluice, { ssl: trusted() })).toBe('1');
  });
});

describe.skipIf(!OPENSSL)('what a TLS connection carries', () => {
  let sluice: Sluice;
  beforeAll(async () => {
    sluice = await withTls('');
  });

  test('large results and large queries pass whole', async () => {
    const big = 'x'.repeat(3_000_000);
    expect(await ask(sluice, { ssl: trusted() }, `select length('${big}') as x`)).toBe('3000000');
    const sum = 'select md5(string_agg(repeat(i::text, 50), null)) as x from generate_series(1, 50000) i';
    const rows = 'select repeat(i::text, 50) as x from generate_series(1, 50000) i';
    const { user, password, database } = server;
    const client = new pg.Client({ ...place(sluice), user, password, database, ssl: trusted() });
    await client.connect();
    const { createHash } = await import('node:crypto');
    const whole = (await client.query(rows)).rows.map(({ x }) => x).join('');
    const expected = (await client.query(sum)).rows[0].x;
    await client.end();
    expect(createHash('md5').update(whole).digest('hex')).toBe(expected);
  });

  test('a cancel request comes over TLS too', async () => {
    const { user, password, database } = server;
    const client = new pg.Client({ ...place(sluice), user, password, database, ssl: trusted() });
    await client.connect();
    const sleeping = client.query('select pg_sleep(60)').catch((error: Error) => error.message);
    while ((await ask(sluice, { ssl: trusted() }, RUNNING)) !== '1');
    const { processID, secretKey } = client as unknown as { processID: number; secretKey: number };
    const key = Buffer.alloc(4);
    key.writeInt32BE(secretKey);
    const { tls } = await handshake(sluice);
    tls.write(cancelRequest(processID, key));
    expect(await sleeping).toMatch(/canceling statement due to user request/);
    await client.end();
  });

  test('a client that drops its connection in the handshake, or after it, leaves the others alone', async () => {
    for (const bytes of [0, 1, 5, 40]) {
      const socket = connectTcp(sluice.port, sluice.host);
      socket.on('error', () => {});
      const answered = new Promise((resolve) => socket.once('data', resolve));
      socket.write(sslRequest());
      expect(String(await answered)).toBe('S');
      socket.write(Buffer.alloc(bytes, 0x16));
      socket.resetAndDestroy();
    }
    const { socket } = await handshake(sluice);
    socket.resetAndDestroy();
    expect(await ask(sluice, { ssl: trusted() })).toBe('1');
    expect(sluice.output()).not.toMatch(/unexpected eof while|bug|Unhandled/i);
  });

  test('bytes that follow the request in plain are refused', async () => {
    const raw = await RawClient.connect(sluice.host, sluice.port);
    raw.send(sslRequest(), startupMessage({ major: 3, minor: 0, params: { user: server.user } }));
    expect(errorOf(await raw.until('E')).message).toBe('received unencrypted data after SSL request');
    expect(await raw.next()).toBeNull();
  });

  test('a second request inside TLS is refused', async () => {
    const { tls } = await handshake(sluice);
    const said = new Promise<string>((resolve) => tls.once('data', (chunk) => resolve(chunk.toString())));
    tls.write(sslRequest());
    expect(await said).toMatch(/SSL req inside SSL/);
    tls.destroy();
  });

  test('a handshake that never goes on is ended by client_login_timeout', async () => {
    const slow = await withTls('client_login_timeout = 1');
    const socket = connectTcp(slow.port, slow.host);
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket.on('error', () => {});
    socket.on('data', () => {});
    socket.write(sslRequest());
    await closed;
    expect(await ask(slow, { ssl: trusted() })).toBe('1');
  });
});

const RUNNING = "select count(*) as x from pg_stat_activity where query = 'select pg_sleep(60)'";

/** Asks for TLS and shakes hands; sends nothing more. */
async function handshake(at: Sluice): Promise<{ tls: TLSSocket; socket: Socket }> {
  const socket = connectTcp(at.port, at.host);
  const answered = new Promise((resolve) => socket.once('data', resolve));
  socket.write(sslRequest());
  await answered;
  const tls = connectTls({ socket, rejectUnauthorized: false });
  socket.on('error', () => {});
  tls.on('error', () => {});
  await new Promise((resolve) => tls.once('secureConnect', resolve));
  return { tls, socket };
}

describe.skipIf(!OPENSSL)('direct TLS from clients', () => {
  function direct(at: Sluice, protocols: string[]): Promise<string> {
    return new Promise((resolve) => {
      const ALPNProtocols = protocols.length > 0 ? { ALPNProtocols: protocols } : {};
      const tls = connectTls({ host: at.host, port: at.port, rejectUnauthorized: false, ...ALPNProtocols });
      tls.on('error', (error) => resolve(error.message));
      tls.on('close', () => resolve('closed'));
      tls.on('data', (chunk: Buffer) => resolve(chunk.toString('latin1')));
      tls.write(startupMessage({ major: 3, minor: 0, params: { user: server.user, database: server.database } }));
    });
  }

  test('begins with the handshake and goes on with the login', async () => {
    const sluice = await withTls('');
    expect(await direct(sluice, ['postgresql'])).toMatch(/^R.*SCRAM-SHA-256-PLUS/s);
  });

  test('needs the protocol named in ALPN', async () => {
    const sluice = await withTls('');
    expect(await direct(sluice, [])).toMatch(/without ALPN protocol negotiation/);
    expect(await direct(sluice, ['http/1.1'])).toMatch(/no application protocol/);
  });

  test('is closed where TLS is disabled', async () => {
    const sluice = await withTls('client_tls_sslmode = disable');
    expect(await direct(sluice, ['postgresql'])).toMatch(/closed|disconnected|ECONNRESET/);
    await sluice.waitFor(/client_tls_sslmode is disable/);
  });
});

describe.skipIf(!OPENSSL)('protocols and ciphers', () => {
  const choices = [
    [
      'client_tls_protocols = tlsv1.2\nclient_tls_ciphers = ECDHE-ECDSA-AES128-GCM-SHA256',
      'TLSv1.2/ECDHE-ECDSA-AES128-GCM-SHA256',
    ],
    [
      'client_tls_protocols = tlsv1.3\nclient_tls13_ciphers = TLS_CHACHA20_POLY1305_SHA256',
      'TLSv1.3/TLS_CHACHA20_POLY1305_SHA256',
    ],
    [
      'client_tls13_ciphers = TLS_AES_128_GCM_SHA256\nclient_tls_ecdhcurve = prime256v1',
      'TLSv1.3/TLS_AES_128_GCM_SHA256',
    ],
  ] as const;
  test.each(choices.filter(([settings]) => !(ON_BUN && settings.includes('tls13'))))(
    '%s',
    async (settings, described) => {
      const sluice = await withTls(settings);
      expect(await ask(sluice, { ssl: trusted() })).toBe('1');
      await sluice.waitFor(new RegExp(`tls=${described}`));
    },
  );

  test('an old version is not spoken unless it is allowed', async () => {
    const sluice = await withTls('client_tls_protocols = tlsv1.3');
    expect(await ask(sluice, { ssl: { ...trusted(), maxVersion: 'TLSv1.2' } })).toMatch(/protocol version/);
  });
});

describe.skipIf(!OPENSSL || PSQL === null)('libpq', () => {
  test('checks our certificate and host name, binds its SCRAM login to the channel, and says what it uses', async () => {
    const sluice = await withTls('');
    const full = `sslmode=verify-full sslrootcert=${ours.ca} host=localhost`;
    expect(await psql(sluice, `${full} channel_binding=require`)).toBe('1');
    expect(await psql(sluice, `${full} channel_binding=disable`)).toBe('1');
    const wrong = `sslmode=verify-full sslrootcert=${strangers.ca} host=localhost`;
    expect(await psql(sluice, wrong)).toMatch(/certificate verify failed/);
  });

  test.each(['sha256', 'sha384', 'sha512'])('binds to a certificate signed with %s', async (digest) => {
    const { key, cert } = ours.issue('localhost', 'DNS:localhost', digest);
    const sluice = await withTls(`client_tls_key_file = ${key}\nclient_tls_cert_file = ${cert}`);
    expect(await psql(sluice, 'sslmode=require channel_binding=require')).toBe('1');
  });
});

describe.skipIf(!OPENSSL)('files that are no good', () => {
  test('stop the start, with setting, file and reason', async () => {
    const started = withTls(`client_tls_cert_file = ${dir}/missing.crt`);
    await expect(started).rejects.toThrow(
      /TLS setup failed: cannot read client_tls_cert_file ".*missing.crt": No such file/,
    );
    writeFileSync(join(dir, 'junk'), 'junk');
    const junk = startSluice(server, { settings: `server_tls_sslmode = verify-ca\nserver_tls_ca_file = ${dir}/junk` });
    await expect(junk).rejects.toThrow(/server_tls_ca_file ".*junk" holds no certificate/);
  });
});

test.skipIf(!OPENSSL)('sluice check names a file that is no good, where it is given', async () => {
  const ini = join(dir, 'check.ini');
  const lines = ['[pgbouncer]', 'listen_addr = 127.0.0.1', `client_tls_key_file = ${site.key}`];
  writeFileSync(ini, [...lines, `client_tls_cert_file = ${dir}/none`, 'client_tls_sslmode = require'].join('\n'));
  const checked = launch(['check', ini]);
  expect((await checked.exit).code).toBe(1);
  expect(checked.output()).toMatch(/check.ini:4: error: TLS setup failed: .*"\/.*none": No such file or directory/);
  await checked.stop();
});

test.skipIf(!OPENSSL)(
  'a certificate that is renewed in place is shown after SIGHUP, and no client is dropped',
  async () => {
    const pair = ours.issue('localhost', 'DNS:localhost');
    const sluice = await withTls(`client_tls_key_file = ${pair.key}\nclient_tls_cert_file = ${pair.cert}`);
    const { user, password, database } = server;
    const old = new pg.Client({ ...place(sluice), user, password, database, ssl: trusted() });
    await old.connect();
    renew(pair, strangers.issue('localhost', 'DNS:localhost'));
    sluice.signal('SIGHUP');
    await sluice.waitFor(/RELOAD: the configuration and the files that it names were read again/);
    expect(await ask(sluice, { ssl: { ca: readFileSync(strangers.ca), servername: 'localhost' } })).toBe('1');
    expect(await ask(sluice, { ssl: trusted() })).toMatch(/unable to verify|self.signed|unable to get/);
    writeFileSync(pair.cert, 'half a file');
    sluice.signal('SIGHUP');
    await sluice.waitFor(
      /client_tls_cert_file ".*" holds no certificate in PEM format \(.*:\d+\); RELOAD failed, nothing was changed/,
    );
    expect(await ask(sluice, { ssl: { ca: readFileSync(strangers.ca), servername: 'localhost' } })).toBe('1');
    expect((await old.query('select 1 as x')).rows).toEqual([{ x: 1 }]);
    await old.end();
  },
);
