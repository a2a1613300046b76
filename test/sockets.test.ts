/** Unix sockets, and settings that PostgreSQL 18 reports. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import pg from 'pg';
import { afterEach, beforeEach, expect, inject, test } from 'vitest';
import { Clients } from './support/clients.ts';
import { postgres } from './support/postgres.ts';
import { PSQL } from './support/programs.ts';
import { startSluice } from './support/sluice.ts';

const server = postgres();
let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'sluice-sock-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

test('clients come in over a Unix socket; its file has the mode asked for and goes with the daemon', async () => {
  const sluice = await startSluice(server, { settings: `unix_socket_dir = ${dir}\nunix_socket_mode = 0770` });
  const path = join(dir, `.s.PGSQL.${sluice.port}`);
  await sluice.waitFor(/listening on unix:/);
  expect(statSync(path).mode & 0o777).toBe(0o770);
  const client = new pg.Client({ ...server, host: dir, port: sluice.port });
  await client.connect();
  expect((await client.query('select 1 as n')).rows).toEqual([{ n: 1 }]);
  await client.end();
  sluice.signal('SIGTERM');
  expect((await sluice.exit).code).toBe(0);
  expect(existsSync(path)).toBe(false);
  await sluice.stop();
});

test.runIf(process.platform === 'linux')('abstract names, towards clients and towards servers', async () => {
  const name = `@sluice-${basename(dir)}`;
  const front = await startSluice(server, { settings: `unix_socket_dir = ${name}` });
  await front.waitFor(new RegExp(`listening on unix:${name}`));
  const names = readFileSync('/proc/net/unix', 'utf8').split('\n');
  expect(names.filter((line) => line.endsWith(` ${name}/.s.PGSQL.${front.port}`))).toHaveLength(1);
  const login = `user=${server.user} password=${server.password}`;
  const databases = `* = host=${name} port=${front.port} ${login}`;
  const behind = await startSluice(server, { databases, settings: 'query_wait_timeout = 1' });
  const client = new pg.Client({ ...server, port: behind.port });
  await client.connect();
  expect((await client.query('select 1 as n')).rows).toEqual([{ n: 1 }]);
  await client.end();
  if (PSQL !== null) {
    const asked = ['-h', name, '-p', String(front.port), '-U', server.user, 'postgres', '-Atc', 'select 2'];
    const env = { ...process.env, PGPASSWORD: server.password };
    expect(spawnSync(PSQL, asked, { env, encoding: 'utf8' }).stdout).toBe('2\n');
  }
  await front.stop();
  // Nobody listens there: that is told as it is.
  const other = new pg.Client({ ...server, port: behind.port, user: server.user });
  other.on('error', () => {});
  await expect(other.connect().then(() => other.query('select 1'))).rejects.toThrow();
  await behind.waitFor(/ECONNREFUSED|closing because/);
  await behind.stop();
});

test('a socket file that nobody listens on is taken over, one that answers is not', async () => {
  const first = await startSluice(server, { settings: `unix_socket_dir = ${dir}` });
  const path = join(dir, `.s.PGSQL.${first.port}`);
  await first.waitFor(/listening on unix:/);
  first.signal('SIGKILL');
  await first.exit;
  expect(existsSync(path)).toBe(true);
  await first.stop();
  const other = createServer();
  const ini = (settings: string) => startSluice(server, { settings: `listen_port = ${first.port}\n${settings}` });
  const again = await ini(`unix_socket_dir = ${dir}`);
  await again.waitFor(/listening on unix:/);
  await again.stop();
  rmSync(path, { force: true });
  await new Promise<void>((resolve) => other.listen(path, resolve));
  const refused = await ini(`unix_socket_dir = ${dir}`);
  expect((await refused.exit).code).toBe(1);
  expect(refused.output()).toMatch(/in use/);
  await refused.stop();
  await new Promise((resolve) => other.close(resolve));
});

// Servers report it from 18 on.
test.runIf(inject('release') >= 18)('search_path follows its client from server to server', async () => {
  const sluice = await startSluice(server, { settings: 'default_pool_size = 1' });
  const clients = new Clients({ ...server, port: sluice.port });
  const [a, b] = [await clients.pg(), await clients.pg({ options: '-c search_path=pg_catalog,public' })];
  await a.query('create schema if not exists "odd, name"');
  await a.query('set search_path = "odd, name", public');
  for (let round = 0; round < 3; round++) {
    expect((await a.query("select current_setting('search_path') as p, current_schemas(false) as s")).rows[0]).toEqual({
      p: '"odd, name", public',
      s: expect.stringContaining('odd, name'),
    });
    expect((await b.query('select current_schemas(false) as s')).rows[0].s).toContain('pg_catalog');
  }
  await clients.end();
  await sluice.stop();
});

const SS = spawnSync('ss', ['-V']).status === 0;

test.skipIf(!SS)(
  'tcp_socket_buffer and tcp_defer_accept hold for those who come in, and a large result gets through',
  async () => {
    const sluice = await startSluice(server, { settings: 'tcp_socket_buffer = 65536\ntcp_defer_accept = 1' });
    const clients = new Clients({ ...server, port: sluice.port });
    const client = await clients.pg();
    const { rows } = await client.query("select repeat('x', 5000000) as text");
    expect(rows[0].text).toHaveLength(5_000_000);
    const shown = spawnSync('ss', ['-tanmH', 'sport', '=', String(sluice.port)], { encoding: 'utf8' }).stdout;
    expect(shown).toMatch(/^LISTEN[^\n]*\n[^\n]*rb131072,t\d+,tb131072/m);
    expect(shown).toMatch(/^ESTAB[^\n]*\n[^\n]*rb131072,t\d+,tb131072/m);
    await clients.end();
    await sluice.stop();
  },
);
