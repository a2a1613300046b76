/** The process in PgBouncer's place: its command line, signals, files, and how it ends. */
import { spawn } from 'node:child_process';
import { lookup } from 'node:dns/promises';
import { once } from 'node:events';
import { chmodSync, existsSync, linkSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as wire from '@sluice/wire';
import pg from 'pg';
import { afterEach, describe, expect, test } from 'vitest';
import { freePort } from '../packages/sluice/src/embedded/postgres.ts';
import { postgres } from './support/postgres.ts';
import { errorOf, RawClient, types } from './support/raw.ts';

const server = postgres();
const PROGRAM = join(dirname(dirname(fileURLToPath(import.meta.url))), 'packages', 'sluice', 'bin', 'pgbouncer');
const RUNTIME = process.env.SLUICE_TEST_RUNTIME ?? process.execPath;
/** Root must name another user; the files are made readable for it. */
const AS_USER = process.getuid?.() === 0 ? ['-u', 'nobody'] : [];

interface Process {
  readonly pid: number;
  readonly port: number;
  readonly dir: string;
  readonly ended: Promise<number | null>;
  log(): string;
  signal(name: NodeJS.Signals): void;
}

const running: Process[] = [];
afterEach(async () => {
  for (const { signal, ended, dir } of running.splice(0)) {
    signal('SIGKILL');
    await ended;
    rmSync(dir, { recursive: true, force: true });
  }
});

function write(dir: string, port: number, settings: string): string {
  const ini = join(dir, 'pgbouncer.ini');
  writeFileSync(join(dir, 'users.txt'), `"${server.user}" "${server.password}"\n`, { mode: 0o644 });
  writeFileSync(
    ini,
    `[databases]\n* = host=${server.host} port=${server.port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = ${port}
unix_socket_dir =\nauth_type = scram-sha-256\nauth_file = ${dir}/users.txt\npool_mode = transaction
admin_users = ${server.user}\nlogfile = ${dir}/pgbouncer.log\npidfile = ${dir}/pgbouncer.pid\n${settings}`,
    { mode: 0o644 },
  );
  return ini;
}

function makeDir(): string {
  const dir = mkdtempSync(join(tmpdir(), 'sluice-pgb-'));
  // The user that the process becomes must be able to write its files.
  if (AS_USER.length > 0) spawnChmod(dir);
  return dir;
}

function spawnChmod(dir: string): void {
  chmodSync(dir, 0o777);
}

async function until<T>(what: string, ask: () => T | Promise<T>): Promise<NonNullable<T>> {
  const deadline = Date.now() + 20_000;
  for (;;) {
    const answer = await ask();
    if (answer) return answer as NonNullable<T>;
    if (Date.now() > deadline) throw new Error(`waited in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function start(settings = '', args: string[] = [], dir = makeDir()): Promise<Process> {
  const port = await freePort();
  const ini = write(dir, port, settings);
  const child = spawn(RUNTIME, [PROGRAM, '-q', ...AS_USER, ...args, ini], { stdio: ['ignore', 'inherit', 'inherit'] });
  const log = () => (existsSync(`${dir}/pgbouncer.log`) ? readFileSync(`${dir}/pgbouncer.log`, 'utf8') : '');
  let code: number | null | undefined;
  const process: Process = {
    pid: child.pid!,
    port,
    dir,
    ended: once(child, 'close').then(([exit]) => (code = exit as number | null)),
    log,
    signal: (name) => child.kill(name),
  };
  running.push(process);
  await until('the process to be up', () => {
    if (code !== undefined) throw new Error(`it ended with ${code} before it was up: ${log()}`);
    return log().includes('process up: Sluice');
  });
  return process;
}

async function run(...args: string[]): Promise<{ code: number | null; text: string }> {
  const child = spawn(RUNTIME, [PROGRAM, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (text += chunk));
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  return { code, text };
}

const connect = async (port: number, database = 'postgres') => {
  const client = new pg.Client({ ...server, port, database });
  client.on('error', () => {});
  await client.connect();
  return client;
};

describe('the command line', () => {
  test('version and help, long and short', async () => {
    for (const flag of ['--version', '-V']) expect((await run(flag)).text).toMatch(/^Sluice \d+\.\d+\.\d+\n/);
    for (const flag of ['--help', '-h']) expect((await run(flag)).text).toMatch(/Usage:[\s\S]*-d, --daemon/);
  });

  test('a wrong call, a missing file and a wrong line end it with one line and a code', async () => {
    expect(await run()).toMatchObject({ code: 1, text: expect.stringMatching(/give one configuration file/) });
    expect(await run('-x')).toMatchObject({ code: 1 });
    expect(await run('/no/such/file.ini')).toMatchObject({ code: 1, text: expect.stringMatching(/there is no file/) });
    const dir = makeDir();
    const ini = write(dir, await freePort(), 'pool_mode = never\n');
    const wrong = await run(...AS_USER, ini);
    expect(wrong).toMatchObject({
      code: 1,
      text: expect.stringMatching(/invalid value "never" for parameter pool_mode/),
    });
    rmSync(dir, { recursive: true });
  });

  test('why it does not start is in the log, too, behind what the file says', async () => {
    const dir = makeDir();
    const port = await freePort();
    const logfile = `${dir}/pgbouncer.log`;
    const takeLog = () => {
      const text = readFileSync(logfile, 'utf8');
      writeFileSync(logfile, '');
      return text;
    };
    // As when somebody runs it again: the file is there, and the user may write to it.
    writeFileSync(logfile, '', { mode: 0o666 });
    chmodSync(logfile, 0o666);
    // With -q it is there only.
    expect(await run('-q', ...AS_USER, write(dir, port, 'pool_mode = never\n'))).toEqual({ code: 1, text: '' });
    expect(takeLog()).toMatch(/ERROR .*invalid value "never" for parameter pool_mode[\s\S]*FATAL .*has errors/);
    const taken = net.createServer().listen(port, '127.0.0.1');
    await once(taken, 'listening');
    for (const background of [[], ['-d']]) {
      const ini = write(dir, port, 'max_client_conn = 5\nmax_client_conn = 6\n');
      const { code, text } = await run('-q', ...background, ...AS_USER, ini);
      expect(code).toBe(1);
      if (background.length === 0) expect(text).toBe('');
      const log = takeLog();
      expect(log).toMatch(/WARNING "max_client_conn" was given before[\s\S]*FATAL cannot listen on .*is in use/);
      expect(log.match(/FATAL/g)).toHaveLength(1);
    }
    taken.close();
    rmSync(dir, { recursive: true });
  });

  test.runIf(AS_USER.length > 0)(
    'a socket file that another user left and that it may not remove is named',
    async () => {
      const dir = makeDir();
      const port = await freePort();
      const left = net.createServer().listen(`${dir}/left`);
      await once(left, 'listening');
      // A second name outlives the listener, as the file of a process that was killed.
      linkSync(`${dir}/left`, `${dir}/.s.PGSQL.${port}`);
      await new Promise((resolve) => left.close(resolve));
      const ini = write(dir, port, `unix_socket_dir = ${dir}\nlogfile =\npidfile =\n`);
      // As /tmp is: who may write there may remove his own files only.
      chmodSync(dir, 0o1777);
      const { code, text } = await run(...AS_USER, ini);
      expect(code).toBe(1);
      expect(text).toMatch(
        /cannot listen on unix:.*another user's process and may not be removed; remove it, or choose/,
      );
      rmSync(dir, { recursive: true });
    },
  );

  test.runIf(AS_USER.length > 0)(
    'as root it wants to be told a user, and leaves no log that he could not write',
    async () => {
      const dir = makeDir();
      const { code, text } = await run(write(dir, await freePort(), ''));
      expect([code, text]).toEqual([1, expect.stringMatching(/must not run as root: name a user with -u/)]);
      expect(existsSync(`${dir}/pgbouncer.log`)).toBe(false);
      rmSync(dir, { recursive: true });
    },
  );

  test('-d leaves a process behind that serves, with its number in the pidfile', async () => {
    const dir = makeDir();
    const port = await freePort();
    const ini = write(dir, port, '');
    expect(await run('-q', '-d', ...AS_USER, ini)).toEqual({ code: 0, text: '' });
    const pid = Number(readFileSync(`${dir}/pgbouncer.pid`, 'utf8'));
    const client = await connect(port);
    expect((await client.query('select 1 as n')).rows).toEqual([{ n: 1 }]);
    const second = await run(...AS_USER, write(dir, await freePort(), ''));
    expect(second).toMatchObject({ code: 1, text: expect.stringMatching(/another instance running \(process \d+\)/) });
    await client.end();
    process.kill(pid, 'SIGTERM');
    await until('the pidfile to go', () => !existsSync(`${dir}/pgbouncer.pid`));
    rmSync(dir, { recursive: true });
  });
});

describe('signals', () => {
  test('TERM waits for clients, who work on; the process ends with the last', async () => {
    const up = await start();
    const client = await connect(up.port);
    up.signal('SIGTERM');
    await until('the signal', () => up.log().includes('got SIGTERM, shutting down, waiting for all clients'));
    await expect(connect(up.port)).rejects.toThrow(/ECONNREFUSED/);
    expect((await client.query('select 1 as n')).rows).toEqual([{ n: 1 }]);
    await client.end();
    expect(await up.ended).toBe(0);
    expect(up.log()).toMatch(/client connections dropped, exiting/);
    expect(existsSync(`${up.dir}/pgbouncer.pid`)).toBe(false);
  });

  test('INT lets transactions end and refuses new ones; a second one ends at once', async () => {
    const up = await start();
    const [busy, idle] = [await connect(up.port), await connect(up.port)];
    await busy.query('begin');
    up.signal('SIGINT');
    await until('the signal', () => up.log().includes('got SIGINT'));
    await expect(idle.query('select 1')).rejects.toThrow('server shutting down');
    expect((await busy.query('select 2 as n')).rows).toEqual([{ n: 2 }]);
    up.signal('SIGINT');
    expect(await up.ended).toBe(0);
    await expect(busy.query('select 3')).rejects.toThrow();
  });

  test('QUIT ends at once', async () => {
    const up = await start();
    const client = await connect(up.port);
    await client.query('begin');
    up.signal('SIGQUIT');
    expect(await up.ended).toBe(0);
  });

  test('HUP as soon as the port is open is not the end of it', async () => {
    const dir = makeDir();
    const port = await freePort();
    const child = spawn(RUNTIME, [PROGRAM, '-q', ...AS_USER, write(dir, port, '')], { stdio: 'ignore' });
    const log = () => readFileSync(`${dir}/pgbouncer.log`, 'utf8');
    const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
    running.push({ pid: child.pid!, port, dir, ended, log, signal: (name) => child.kill(name) });
    for (let isOpen = false; !isOpen; ) {
      const socket = net.connect(port, '127.0.0.1');
      isOpen = await new Promise<boolean>((resolve) => {
        socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
      });
      socket.destroy();
    }
    child.kill('SIGHUP');
    await until('the reload', () => /got SIGHUP[\s\S]*RELOAD: /.test(log()));
    await (await connect(port)).end();
  });

  test('addresses that cannot be had are warned of, unless there is no other', async () => {
    const up = await start('listen_addr = 203.0.113.7, 127.0.0.1\n');
    expect(up.log()).toMatch(/WARNING cannot listen on 203\.0\.113\.7:\d+/);
    await (await connect(up.port)).end();
    for (const [addresses, why] of [
      ['203.0.113.7, 198.51.100.7', /no such address/],
      ['', /nowhere to listen on/],
    ] as const) {
      const dir = makeDir();
      const ini = write(dir, await freePort(), `listen_addr = ${addresses}\n`);
      expect(await run(...AS_USER, ini)).toMatchObject({ code: 1, text: expect.stringMatching(why) });
      rmSync(dir, { recursive: true });
    }
  });

  test('the log has the addresses that it listens on: of a name, and of all', async () => {
    const named = await start('listen_addr = localhost\n');
    const own = (await lookup('localhost', { all: true })).map(({ address, family }) =>
      family === 6 ? `[${address}]` : address,
    );
    for (const address of own) expect(named.log()).toContain(` on ${address}:${named.port}`);
    expect(named.log()).toContain(`listening on 127.0.0.1:${named.port}\n`);
    const all = await start('listen_addr = *\n');
    expect(all.log()).toContain(`listening on 0.0.0.0:${all.port}\n`);
    expect(all.log()).not.toContain('*');
  });

  test('USR1 pauses, USR2 resumes', async () => {
    const up = await start();
    const client = await connect(up.port);
    up.signal('SIGUSR1');
    await until('the signal', () => up.log().includes('got SIGUSR1'));
    const held = client.query('select 1 as n');
    const first = await Promise.race([held, new Promise((resolve) => setTimeout(resolve, 300, 'waits'))]);
    expect(first).toBe('waits');
    up.signal('SIGUSR2');
    expect((await held).rows).toEqual([{ n: 1 }]);
  });

  test('HUP opens the log again after it was moved away, and reads the file', async () => {
    const up = await start();
    renameSync(`${up.dir}/pgbouncer.log`, `${up.dir}/old.log`);
    up.signal('SIGHUP');
    await until(
      'the new log',
      () => up.log().length > 0 || readFileSync(`${up.dir}/old.log`, 'utf8').includes('RELOAD: '),
    );
    const client = await connect(up.port);
    await client.end();
    await until('a line in the new log', () => up.log().includes('login attempt'));
  });

  test('TERM lets in who had connected before it, and waits for them', async () => {
    const up = await start();
    const raw = await RawClient.connect('127.0.0.1', up.port);
    raw.send(wire.sslRequest());
    expect(await raw.byte()).toBe('N');
    up.signal('SIGTERM');
    await until('the signal', () => up.log().includes('got SIGTERM'));
    await expect(connect(up.port)).rejects.toThrow(/ECONNREFUSED/);
    const params = { user: server.user, database: 'postgres' };
    raw.send(wire.startupMessage({ major: 3, minor: 0, params }));
    await raw.authenticate(server.password);
    await raw.until('Z');
    raw.send(wire.query('select 1'));
    expect(types(await raw.until('Z'))).toBe('TDCZ');
    raw.send(wire.terminate());
    expect(await up.ended).toBe(0);
  });

  test('SHUTDOWN in the console ends the process', async () => {
    const up = await start();
    const admin = await connect(up.port, 'pgbouncer');
    await expect(admin.query('SHUTDOWN')).rejects.toThrow();
    expect(await up.ended).toBe(0);
  });
});

describe('-R', () => {
  test('the new process takes the port, the old one serves its clients until they leave', async () => {
    const dir = makeDir();
    const first = await start(`unix_socket_dir = ${dir}\n`, [], dir);
    const ini = `${first.dir}/pgbouncer.ini`;
    const old = await connect(first.port);
    await old.query('begin');
    const child = spawn(RUNTIME, [PROGRAM, '-q', '-R', ...AS_USER, ini], { stdio: ['ignore', 'inherit', 'inherit'] });
    const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
    await until('the second process', () => first.log().split('process up: Sluice').length === 3);
    expect(readFileSync(`${first.dir}/pgbouncer.pid`, 'utf8').trim()).toBe(String(child.pid));
    const fresh = await connect(first.port);
    expect((await fresh.query('select 1 as n')).rows).toEqual([{ n: 1 }]);
    expect((await old.query('select 2 as n')).rows).toEqual([{ n: 2 }]);
    await old.end();
    expect(await first.ended).toBe(0);
    expect(existsSync(`${dir}/.s.PGSQL.${first.port}`)).toBe(true);
    expect((await fresh.query('select 3 as n')).rows).toEqual([{ n: 3 }]);
    child.kill('SIGQUIT');
    await ended;
  });

  test('without a pooler to take over from it goes on by itself, and a pidfile of the dead is no obstacle', async () => {
    const dir = makeDir();
    const port = await freePort();
    for (const sockets of ['unix_socket_dir =\n', `unix_socket_dir = ${dir}\n`]) {
      const ini = write(dir, port, sockets);
      writeFileSync(`${dir}/pgbouncer.pid`, '2147483646\n', { mode: 0o666 });
      chmodSync(`${dir}/pgbouncer.pid`, 0o666);
      const child = spawn(RUNTIME, [PROGRAM, '-q', '-R', ...AS_USER, ini], { stdio: ['ignore', 'inherit', 'inherit'] });
      const ended = once(child, 'close');
      const log = () => (existsSync(`${dir}/pgbouncer.log`) ? readFileSync(`${dir}/pgbouncer.log`, 'utf8') : '');
      await until('the process to be up', () => log().includes('process up: Sluice'));
      expect(log()).toMatch(/LOG old process not found, try to continue normally/);
      expect(log()).toMatch(/LOG stale pidfile, removing/);
      expect(log()).toMatch(
        /LOG kernel file descriptor limit: \d+ \(hard: \d+\); max_client_conn: 100, max expected fd use: 110/,
      );
      const client = await connect(port);
      expect((await client.query('select 1 as n')).rows).toEqual([{ n: 1 }]);
      child.kill('SIGQUIT');
      await ended;
      rmSync(`${dir}/pgbouncer.log`);
    }
    rmSync(dir, { recursive: true });
  });
});

describe('JSON', () => {
  test('every line of the log is an object', async () => {
    const up = await start('log_format = json\nmax_client_conn = 10\nmax_client_conn = 20\n');
    await (await connect(up.port)).end();
    const lines = up
      .log()
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(lines.map(({ message }) => message)).toContainEqual(expect.stringMatching(/^login attempt/));
    expect(lines[0]).toMatchObject({ level: 'warning', message: expect.stringMatching(/was given before/) });
    for (const line of lines) expect(line).toMatchObject({ time: expect.any(String), level: expect.any(String) });
  });
});

describe('replication', () => {
  test('a WAL sender streams through, and its server is closed after it', async () => {
    const up = await start('server_reset_query = DISCARD ALL\nquery_timeout = 1\n');
    const at = { ...server, port: up.port };
    const { raw } = await RawClient.login(at, { replication: 'true', application_name: 'a standby' });
    raw.send(wire.query('IDENTIFY_SYSTEM'));
    const identity = await raw.until('Z');
    const row = identity.find(({ type }) => type === 'D')!;
    const [, timeline, position] = wire
      .parseDataRow(row.body, 0, row.body.length)
      .map((value) => Buffer.from(value ?? []).toString());
    raw.send(wire.query('SHOW application_name'));
    const shown = (await raw.until('Z')).find(({ type }) => type === 'D')!;
    expect(shown.body.toString()).toContain('a standby');
    raw.send(wire.query(`START_REPLICATION PHYSICAL ${position} TIMELINE ${timeline}`));
    expect(types(await raw.until('W'))).toBe('W');
    const admin = await connect(up.port, 'pgbouncer');
    const { rows } = await admin.query('SHOW CLIENTS');
    expect(rows.find(({ application_name: name }) => name === 'a standby')).toMatchObject({ replication: 'physical' });
    // Longer than query_timeout: a stream is no query that takes too long.
    const other = await connect(up.port);
    await other.query('select pg_switch_wal()');
    expect((await raw.until('d')).at(-1)!.type).toBe('d');
    raw.send(wire.copyDone());
    await raw.until('Z');
    raw.end();
    await until('its server to be gone', async () => {
      const servers = (await admin.query('SHOW SERVERS')).rows;
      return servers.every(({ replication }) => replication === 'none');
    });
  });

  test('such connections take places of the pool, and those beyond wait their turn', async () => {
    const up = await start('default_pool_size = 2\n');
    const at = { ...server, port: up.port };
    const work = async () => {
      const { raw } = await RawClient.login(at, { replication: 'database' });
      raw.send(wire.query('select pg_sleep(0.05)'));
      expect(types(await raw.until('Z'))).toBe('TDCZ');
      raw.end();
    };
    await Promise.all(Array.from({ length: 8 }, work));
  });

  test('ordinary queries of theirs have the usual limits, a stream has none', async () => {
    const up = await start('query_timeout = 0.5\n');
    const at = { ...server, port: up.port };
    const { raw: query } = await RawClient.login(at, { replication: 'database' });
    const { raw: stream } = await RawClient.login(at, { replication: 'true' });
    stream.send(wire.query('IDENTIFY_SYSTEM'));
    const where = await stream.until('Z');
    const row = where.find(({ type }) => type === 'D')!;
    const lsn = Buffer.from(wire.parseDataRow(row.body, 0, row.body.length)[2]!).toString();
    stream.send(wire.query(`START_REPLICATION PHYSICAL ${lsn}`));
    expect((await stream.next())!.type).toBe('W');
    query.send(wire.query('select pg_sleep(60)'));
    expect(errorOf(await query.until('E'))).toMatchObject({ message: 'query timeout' });
    await new Promise((resolve) => setTimeout(resolve, 700));
    expect(stream.closed).toBe(false);
    stream.end();
  });

  test.each(['PAUSE', 'SHUTDOWN WAIT_FOR_SERVERS'])(
    'a %s waits for them, as for any client at work',
    async (command) => {
      const up = await start();
      const { raw } = await RawClient.login({ ...server, port: up.port }, { replication: 'database' });
      raw.send(wire.query("select pg_sleep(1.5), 'a backup'"));
      const admin = await connect(up.port, 'pgbouncer');
      const done = admin.query(command).catch(() => {});
      expect(types(await raw.until('Z'))).toBe('TDCZ');
      raw.send(wire.query('IDENTIFY_SYSTEM'));
      expect(types(await raw.until('Z'))).toBe('TDCZ');
      raw.end();
      await done;
    },
  );

  test('what a PAUSE has spared is ended by a RECONNECT after it', async () => {
    const up = await start();
    const { raw } = await RawClient.login({ ...server, port: up.port }, { replication: 'database' });
    raw.send(wire.query('IDENTIFY_SYSTEM'));
    await raw.until('Z');
    const admin = await connect(up.port, 'pgbouncer');
    const paused = admin.query('PAUSE').catch(() => {});
    const other = await connect(up.port, 'pgbouncer');
    await until('the pause', () => up.log().includes('PAUSE command issued'));
    await other.query('RESUME');
    await paused;
    raw.send(wire.query('IDENTIFY_SYSTEM'));
    expect(types(await raw.until('Z'))).toBe('TDCZ');
    await other.query('RECONNECT');
    expect(errorOf(await raw.until('E'))).toMatchObject({ message: 'database configuration changed' });
  });

  test('somebody who may not is told that the login failed', async () => {
    const up = await start();
    const at = { ...server, port: up.port };
    const client = await connect(up.port);
    await client.query(
      `do $$ begin if not exists (select from pg_roles where rolname = 'mere') then create role mere login password '${server.password}'; end if; end $$`,
    );
    writeFileSync(join(up.dir, 'users.txt'), `"${server.user}" "${server.password}"\n"mere" "${server.password}"\n`);
    up.signal('SIGHUP');
    await until('the reload', () => up.log().includes('RELOAD: '));
    const raw = await RawClient.connect(at.host, at.port);
    raw.send(
      wire.startupMessage({
        major: 3,
        minor: 0,
        params: { user: 'mere', database: 'postgres', replication: 'database' },
      }),
    );
    await expect(raw.authenticate(server.password).then(() => raw.until('Z'))).rejects.toThrow(/login failed/);
    expect(errorOf).toBeDefined();
  });
});

test('server_fast_close ends nobody for a PAUSE, and everybody between transactions for a RECONNECT', async () => {
  const up = await start('server_fast_close = 1\npool_mode = session\n');
  const { raw } = await RawClient.login({ ...server, port: up.port });
  raw.send(wire.query('select 1'));
  await raw.until('Z');
  const [admin, other] = [await connect(up.port, 'pgbouncer'), await connect(up.port, 'pgbouncer')];
  const paused = admin.query('PAUSE').catch(() => {});
  await new Promise((resolve) => setTimeout(resolve, 700));
  raw.send(wire.query('select 2'));
  expect(types(await raw.until('Z'))).toBe('TDCZ');
  await other.query('RESUME');
  await paused;
  await other.query('RECONNECT');
  expect(errorOf(await raw.until('E'))).toMatchObject({ message: 'database configuration changed' });
});

describe('several processes on one port', () => {
  test.runIf(process.platform === 'linux')(
    'a cancel that reaches another process is sent on to the right one',
    async () => {
      const first = await start('', []);
      const peers = (own: number, ports: readonly number[]) =>
        `so_reuseport = 1\npeer_id = ${own}\n[peers]\n${ports.map((port, i) => `${i + 1} = host=127.0.0.1 port=${port}`).join('\n')}\n`;
      expect(first.port).toBeGreaterThan(0);
      const [a, b] = [await start(peers(1, [1, 2])), await start(peers(2, [1, 2]))];
      for (const [own, up] of [a, b].entries()) {
        write(up.dir, up.port, peers(own + 1, [a.port, b.port]));
        up.signal('SIGHUP');
        await until('the reload', () => up.log().includes('RELOAD: '));
      }
      const { raw, greeting } = await RawClient.login({ ...server, port: a.port });
      const key = greeting.find(({ type }) => type === 'K')!;
      const { pid, key: secret } = wire.parseBackendKeyData(key.body, 0, key.body.length);
      raw.send(wire.query('select pg_sleep(30)'));
      await new Promise((resolve) => setTimeout(resolve, 300));
      const wrong = await RawClient.connect('127.0.0.1', b.port);
      wrong.send(wire.cancelRequest(pid, secret));
      expect(errorOf(await raw.until('Z')).code).toBe('57014');
      raw.end();
    },
  );
});
