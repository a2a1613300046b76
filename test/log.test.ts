/** The lines of the log that alerts match on: PgBouncer's words, levels and names of connections. */
import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sslRequest } from '@sluice/wire';
import pg from 'pg';
import { afterEach, describe, expect, test } from 'vitest';
import { Clients } from './support/clients.ts';
import { until } from './support/place.ts';
import { postgres } from './support/postgres.ts';
import { errorOf, RawClient } from './support/raw.ts';
import { type Sluice, type SluiceOptions, startSluice } from './support/sluice.ts';

const server = postgres();
const at = `host=${server.host} port=${server.port}`;
let sluice: Sluice;
let clients: Clients;

async function begin(options: SluiceOptions = {}): Promise<void> {
  sluice = await startSluice(server, {
    ...options,
    settings: `admin_users = ${server.user}\n${options.settings ?? ''}`,
  });
  clients = new Clients({ ...server, port: sluice.port });
}
afterEach(async () => {
  await clients.end();
  await sluice.stop();
});

const consoleClient = () => clients.pg({ database: 'pgbouncer' });
/** A client's name in the log, for a pattern. */
const client = (database: string) => `C-0x[0-9a-f]+: ${database}/${server.user}@127\\.0\\.0\\.1:\\d+`;
const serverOf = (database: string) => `S-0x[0-9a-f]+: ${database}/${server.user}@${server.host}:${server.port}`;
/** As often as they stand there; the order of the lines is the order of the words. */
const lines = (words: string) => sluice.output().match(new RegExp(words, 'g')) ?? [];

describe('the places that it goes to', () => {
  test('who read standard error is gone: the file has the lines, and nobody else notices', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'sluice-log-'));
    await begin({ settings: `logfile = ${dir}/log` });
    const early = await clients.pg();
    sluice.stopReading();
    const late = await clients.pg();
    for (const one of [early, late]) expect((await one.query('select 1 as n')).rows).toEqual([{ n: 1 }]);
    await until(() => readFileSync(`${dir}/log`, 'utf8').split('login attempt').length === 3);
    sluice.signal('SIGTERM');
    await clients.end();
    expect(await sluice.exit).toEqual({ code: 0, signal: null });
    expect(readFileSync(`${dir}/log`, 'utf8')).toMatch(/client connections dropped, exiting\n$/);
    rmSync(dir, { recursive: true });
  });

  test('a file that was moved away is made again by a RELOAD, one that fails too', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'sluice-log-'));
    await begin({ settings: `logfile = ${dir}/log` });
    renameSync(`${dir}/log`, `${dir}/log.1`);
    const file = join(sluice.dir, 'sluice.ini');
    writeFileSync(file, `${readFileSync(file, 'utf8')}\npool_mode = never\n`);
    sluice.signal('SIGHUP');
    await sluice.waitFor(/WARNING config file loading failed/);
    await until(() =>
      /invalid value "never"[\s\S]*config file loading failed/.test(readFileSync(`${dir}/log`, 'utf8')),
    );
    expect(readFileSync(`${dir}/log.1`, 'utf8')).not.toMatch(/never/);
    rmSync(dir, { recursive: true });
  });
});

describe('clients', () => {
  test('who leaves before a login, as health checks and who is asked for a password do, is no line', async () => {
    await begin({ settings: 'tcp_defer_accept = 0' });
    const asking = async () => {
      const raw = await RawClient.connect(sluice.host, sluice.port);
      raw.send(sslRequest());
      await raw.byte();
      return raw;
    };
    (await RawClient.connect(sluice.host, sluice.port)).end();
    (await asking()).end();
    // In the middle of a message it is one.
    const cut = await asking();
    cut.send(sslRequest().subarray(0, 6));
    cut.socket.end();
    await sluice.waitFor(
      /LOG C-0x[0-9a-f]+: \(nodb\)\/\(nouser\)@127\.0\.0\.1:\d+ closing because: client unexpected eof \(age=0s\)/,
    );
    expect(lines('closing because')).toHaveLength(1);
    expect(lines('pooler error')).toEqual([]);
  });

  test('a startup parameter that is refused stands there with its value', async () => {
    await begin();
    await expect(clients.pg({ options: '-c work_mem=7MB' })).rejects.toThrow(
      'unsupported startup parameter in options: work_mem',
    );
    await sluice.waitFor(
      new RegExp(`WARNING ${client('postgres')} unsupported startup parameter in options: work_mem=7MB`),
    );
    await expect(
      RawClient.login({ ...server, port: sluice.port }, { work_mem: '8MB' }).then(({ raw }) => raw),
    ).rejects.toThrow('unsupported startup parameter: work_mem');
    await sluice.waitFor(new RegExp(`WARNING ${client('postgres')} unsupported startup parameter: work_mem=8MB`));
  });

  test('a database of the "*" entry is registered by the client that asked for it', async () => {
    await begin();
    await clients.pg();
    await sluice.waitFor(new RegExp(`LOG ${client('postgres')} registered new auto-database: postgres`));
  });

  test('a message of an unknown type: PostgreSQL’s words for the client, PgBouncer’s in the log', async () => {
    await begin();
    const { raw } = await RawClient.login({ ...server, port: sluice.port });
    raw.send(Uint8Array.of(0x21, 0, 0, 0, 4));
    expect(errorOf(await raw.until('E'))).toMatchObject({
      severity: 'FATAL',
      code: '08P01',
      message: 'invalid frontend message type 33',
    });
    const who = client('postgres');
    await sluice.waitFor(
      new RegExp(
        `ERROR ${who} unknown pkt from client: 33/0x21[\\s\\S]*LOG ${who} closing because: unknown pkt \\(age=[\\s\\S]*WARNING ${who} pooler error: unknown pkt`,
      ),
    );
    raw.end();
  });

  test.runIf(process.platform === 'linux')('at a Unix socket have the number of their process', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'sluice-log-'));
    await begin({ settings: `unix_socket_dir = ${dir}\napplication_name_add_host = 1` });
    const inner = await startSluice(server, {
      databases: `* = host=${dir} port=${sluice.port} user=${server.user} password=${server.password}`,
      settings: `admin_users = ${server.user}`,
    });
    try {
      const own = new pg.Client({ ...server, host: dir, port: sluice.port });
      await own.connect();
      const { rows } = await own.query('show application_name');
      expect(rows[0].application_name).toMatch(new RegExp(`unix\\(${process.pid}@.*\\):${sluice.port}$`));
      await own.end();
      const who = `C-0x[0-9a-f]+: postgres/${server.user}@unix\\(${process.pid}\\):${sluice.port}`;
      await sluice.waitFor(new RegExp(`${who} login attempt: [\\s\\S]*${who} closing because: client close request`));
      // Nothing is known of the other end of a connection of our own.
      const through = new Clients({ ...server, port: inner.port });
      await through.pg();
      await inner.waitFor(
        new RegExp(`S-0x[0-9a-f]+: postgres/${server.user}@unix:${sluice.port} new connection to server\\n`),
      );
      const admin = await through.pg({ database: 'pgbouncer' });
      expect((await admin.query('show servers')).rows).toMatchObject([
        { addr: 'unix', port: sluice.port, local_addr: 'unix', local_port: inner.port },
      ]);
      await through.end();
    } finally {
      await inner.stop();
      rmSync(dir, { recursive: true, force: true });
    }
  });
});

describe('the console', () => {
  test('an error is one of the log and of its client, and its end has an age', async () => {
    await begin();
    const admin = await consoleClient();
    await expect(admin.query('RESUME')).rejects.toThrow('pooler is not paused/suspended');
    await admin.end();
    const who = client('pgbouncer');
    await sluice.waitFor(new RegExp(`LOG ${who} closing because: client close request \\(age=0s\\)`));
    expect(lines('ERROR pooler is not paused/suspended\\n')).toHaveLength(1);
    expect(lines(`WARNING ${who} pooler error: pooler is not paused/suspended`)).toHaveLength(1);
  });

  test('log_pooler_errors = 0 leaves out what clients are told', async () => {
    await begin({ settings: 'log_pooler_errors = 0' });
    await expect((await consoleClient()).query('RESUME')).rejects.toThrow();
    await sluice.waitFor(/ERROR pooler is not paused/);
    expect(lines('pooler error')).toEqual([]);
  });

  test('SHUTDOWN has its keyword without quotes', async () => {
    await begin();
    await clients.pg();
    await (await consoleClient()).query('shutdown wait_for_clients');
    await sluice.waitFor(/LOG SHUTDOWN WAIT_FOR_CLIENTS command issued/);
  });

  test('a RELOAD that fails has PgBouncer’s lines beside the one that names what to mend', async () => {
    await begin();
    const file = join(sluice.dir, 'sluice.ini');
    writeFileSync(file, `${readFileSync(file, 'utf8')}\npool_mode = never\n`);
    const text = 'RELOAD failed, see logs for additional details';
    await expect((await consoleClient()).query('RELOAD')).rejects.toMatchObject({ message: text, code: 'F0000' });
    await sluice.waitFor(new RegExp(`WARNING ${client('pgbouncer')} pooler error: ${text}`));
    expect(lines('invalid value "never" for parameter pool_mode')).toHaveLength(1);
    expect(lines('WARNING config file loading failed\\n')).toHaveLength(1);
    expect(lines('ERROR RELOAD Failed, see logs for more details\\n')).toHaveLength(1);
  });

  test('KILL_CLIENT of a console ends it, by its number or its pointer', async () => {
    await begin();
    const [admin, one, other] = [await consoleClient(), await consoleClient(), await consoleClient()];
    const gone = [one, other].map((each) => new Promise((resolve) => each.once('end', resolve)));
    for (const each of [one, other]) each.on('error', () => {});
    const { rows } = await admin.query('show clients');
    const [, second, third] = rows.sort((a, b) => a.id - b.id);
    await admin.query(`KILL_CLIENT ${second.id}`);
    await admin.query(`KILL_CLIENT ${third.ptr}`);
    await Promise.all(gone);
    const line = `LOG ${client('pgbouncer')} closing because: admin forced disconnect \\(age=0s\\)`;
    await sluice.waitFor(new RegExp(`${line}[\\s\\S]*${line}`));
    expect((await admin.query('show clients')).rows).toHaveLength(1);
    await expect(admin.query('KILL_CLIENT 0x99999')).rejects.toThrow('client not found');
  });
});

describe('servers', () => {
  test('of a database that is killed are closed because it is removed', async () => {
    await begin();
    await (await clients.pg()).query('select 1');
    await (await consoleClient()).query('KILL postgres');
    await sluice.waitFor(new RegExp(`LOG ${serverOf('postgres')} closing because: database removed \\(age=`));
  });

  test('that RECONNECT condemns: idle ones, and those in use as they come back', async () => {
    await begin({ settings: 'default_pool_size = 2' });
    const [busy, other] = [await clients.pg(), await clients.pg()];
    await busy.query('begin');
    await other.query('select 1');
    await (await consoleClient()).query('RECONNECT');
    await sluice.waitFor(new RegExp(`LOG ${serverOf('postgres')} closing because: database configuration changed`));
    expect(lines('close_needed')).toEqual([]);
    await busy.query('commit');
    await sluice.waitFor(new RegExp(`LOG ${serverOf('postgres')} closing because: close_needed`));
  });

  test('that PostgreSQL ends while they are idle', async () => {
    await begin();
    const first = await clients.pg();
    const { rows } = await first.query('select pg_backend_pid() as pid');
    const direct = new Clients(server);
    await (await direct.pg()).query('select pg_terminate_backend($1)', [rows[0].pid]);
    const who = serverOf('postgres');
    await sluice.waitFor(
      new RegExp(
        `WARNING ${who} got packet 'E' from server when not linked[\\s\\S]*WARNING ${who} server error: terminating connection[\\s\\S]*LOG ${who} closing because: server conn crashed\\?`,
      ),
    );
    await direct.end();
  });

  test('that cannot log in were connected all the same, under one name', async () => {
    await begin({ databases: `gone = ${at} dbname=no_such_database` });
    await expect(clients.pg({ database: 'gone' })).rejects.toThrow('database "no_such_database" does not exist');
    const [, name] = await sluice.waitFor(/LOG (S-0x[0-9a-f]+: \S+) new connection to server \(from /);
    await sluice.waitFor(/LOG S-0x[0-9a-f]+: \S+ closing because: database "no_such_database" does not exist/);
    expect(lines(`WARNING ${name} server login failed: FATAL database`)).toHaveLength(1);
    expect(lines(`LOG ${name} closing because: database "no_such_database" does not exist \\(age=0s\\)`)).toHaveLength(
      1,
    );
  });

  test('that the reserve opens name the client that has waited longest', async () => {
    await begin({ settings: 'default_pool_size = 1\nreserve_pool_size = 1\nreserve_pool_timeout = 0.1' });
    const [holder, waiting] = [await clients.pg(), await clients.pg()];
    await holder.query('begin');
    await waiting.query('select 1');
    await sluice.waitFor(new RegExp(`WARNING ${client('postgres')} taking connection from reserve_pool`));
  });
});
