/** The command line as a person meets it. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { query } from '@sluice/wire';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { freePort } from '../packages/sluice/src/embedded/postgres.ts';
import { postgres } from './support/postgres.ts';
import { RawClient, types } from './support/raw.ts';
import { launch, type Sluice } from './support/sluice.ts';

const server = postgres();
const url = (over: Partial<typeof server> = {}) => {
  const { host, port, user, password, database } = { ...server, ...over };
  return `postgres://${user}:${password}@${host}:${port}/${database}`;
};
let dir: string;

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'sluice-cli-'));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const outcome = async (args: string[]) => {
  const run = launch(args);
  const { code } = await run.exit;
  const text = run.output();
  await run.stop();
  return { code, text };
};

const file = (name: string, text: string): string => {
  const path = join(dir, name);
  writeFileSync(path, text);
  return path;
};

describe('help', () => {
  test('names every command with an example, and the version is one line', async () => {
    const help = await outcome(['--help']);
    expect(help).toMatchObject({
      code: 0,
      text: expect.stringMatching(/start URL\|FILE[\s\S]*demo[\s\S]*check FILE[\s\S]*Examples:/),
    });
    expect((await outcome(['--version'])).text).toMatch(/^sluice \d+\.\d+\.\d+\n$/);
    expect((await outcome(['start', '--help'])).text).toContain('--listen HOST:PORT');
  });

  test.each([
    [['strat'], /there is no command "strat"/],
    [['start'], /needs a postgres:\/\/ URL or a configuration file/],
    [['start', '--prot', '1', 'x'], /--prot/],
    [['start', '/no/such/file.ini'], /there is no file "\/no\/such\/file.ini"/],
    [['start', 'postgres://:::/x'], /URL|host|port/i],
  ])('%j is refused in one line', async (args, said) => {
    const { code, text } = await outcome(args);
    expect(code).toBe(2);
    expect(text).toMatch(said);
    expect(text.trim().split('\n')).toHaveLength(1);
  });
});

describe('sluice start URL', () => {
  test('unreachable, refusing and missing databases: one line, exit code not 0, no password in it', async () => {
    const nobody = await freePort();
    for (const [target, said] of [
      [url({ port: nobody }), /cannot reach PostgreSQL at 127\.0\.0\.1:\d+/],
      [url({ password: 'wrong' }), /refuses: password authentication failed/],
      [url({ database: 'nowhere' }), /refuses: database "nowhere" does not exist/],
    ] as const) {
      const { code, text } = await outcome(['start', target]);
      expect(code).toBe(1);
      expect(text).toMatch(said);
      expect(text.trim().split('\n')).toHaveLength(1);
      expect(text).not.toContain(server.password);
    }
  });

  test('nothing is opened to the network unless asked', async () => {
    const run = launch(['start', url()]);
    // Somebody else's port it may be, and even so no other address is tried.
    await run.waitFor(/(?:cannot listen|listening) on 127\.0\.0\.1:6432/);
    expect(run.output().match(/listen(?:ing)? on \S+/g)).toHaveLength(1);
    await run.stop();
  });

  test.each([
    [['start', 'mysql://u:secret@h/db'], /"mysql:\/\/" is no URL of PostgreSQL's/],
    [['start', url({ password: '' }).replace(':@', '@')], /asks for a password, and the URL has none/],
    [['start', `${url()}?sslmod=require`], /parameter "sslmod" means nothing here: those that do are sslmode, /],
    [['start', url(), '--pool-size', '-3'], /'--pool-size' argument is ambiguous.*--help shows what there is/],
    [['start', url(), '--listen', '6437'], /--listen "6437" is not HOST:PORT/],
  ])('%j: what is wrong with it, and no password', async (args, said) => {
    const { code, text } = await outcome(args);
    expect(code).not.toBe(0);
    expect(text).toMatch(said);
    expect(text.trim().split('\n')).toHaveLength(1);
    expect(text).not.toContain('secret');
  });

  test('where something else listens it says so', async () => {
    const other = createServer((socket) => socket.resume().end('220 hello\r\n'));
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    const { port } = other.address() as { port: number };
    const { code, text } = await outcome(['start', url({ port })]);
    await new Promise((resolve) => other.close(resolve));
    expect(code).toBe(1);
    expect(text.trim().split('\n')).toHaveLength(1);
    expect(text).toMatch(/is it PostgreSQL that listens there/);
  });

  test('a port that is taken is named', async () => {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    const { port } = other.address() as { port: number };
    const { code, text } = await outcome(['start', url(), '--listen', `127.0.0.1:${port}`]);
    await new Promise((resolve) => other.close(resolve));
    expect(code).toBe(1);
    expect(text).toMatch(new RegExp(`cannot listen on 127\\.0\\.0\\.1:${port}: the address is in use`));
    expect(text.trim().split('\n')).toHaveLength(1);
  });

  test('clients log in with the URL’s user and password; Ctrl-C lets a transaction end, then stops', async () => {
    const port = await freePort();
    const run: Sluice = launch(['start', url(), '--listen', `127.0.0.1:${port}`]);
    await run.waitFor(/Try: +psql/);
    expect(run.output()).not.toContain(server.password);
    await expect(new pg.Client({ ...server, port, password: 'wrong' }).connect()).rejects.toMatchObject({
      code: '28P01',
    });
    const { raw } = await RawClient.login({ ...server, port });
    // Its session follows it (session_state = follow): a parser has been loaded, and PostgreSQL was asked.
    raw.send(query("set app.kept = 'x'; prepare kept as select current_setting('app.kept')"));
    await raw.until('Z');
    raw.send(query('begin'));
    await raw.until('Z');
    run.signal('SIGINT');
    await run.waitFor(/got SIGINT, shutting down/);
    raw.send(query('execute kept'));
    expect(types(await raw.until('Z'))).toBe('TDCZ');
    raw.send(query('commit'));
    expect(types(await raw.until('Z'))).toBe('CZ');
    expect((await run.exit).code).toBe(0);
    await run.stop();
  });

  test('it ends when its terminal is closed', async () => {
    const run = launch(['start', url(), '--listen', `127.0.0.1:${await freePort()}`]);
    await run.waitFor(/Try: +psql/);
    run.signal('SIGHUP');
    expect((await run.exit).code).toBe(0);
    await run.stop();
  });

  test('a second Ctrl-C stops at once', async () => {
    const port = await freePort();
    const run = launch(['start', url(), '--listen', `127.0.0.1:${port}`]);
    await run.waitFor(/Try: +psql/);
    const { raw } = await RawClient.login({ ...server, port });
    raw.send(query('begin'));
    await raw.until('Z');
    run.signal('SIGINT');
    await run.waitFor(/got SIGINT, shutting down/);
    run.signal('SIGINT');
    expect((await run.exit).code).toBe(130);
    await run.stop();
  });
});

describe('sluice check', () => {
  test('says file, line and what is wrong', async () => {
    const path = file(
      'bad.ini',
      '[databases]\nx = host=localhost\n[pgbouncer]\npool_mode = sometimes\ndefault_pool_size = many\n',
    );
    const { code, text } = await outcome(['check', path]);
    expect(code).toBe(1);
    expect(text).toMatch(/bad\.ini:4: error: .*sometimes.*pool_mode/);
    expect(text).toMatch(/bad\.ini:5: error: .*many.*default_pool_size/);
    expect((await outcome(['start', path])).code).toBe(1);
  });

  test('says once what is wrong with a line', async () => {
    const path = file('twice.ini', '[pgbouncer]\nauth_type = pam\nclient_tls_sslmode = require\n');
    const { text } = await outcome(['check', path]);
    expect(text.match(/twice\.ini:2: /g)).toHaveLength(1);
    expect(text.match(/twice\.ini:3: /g)).toHaveLength(1);
  });

  test('what this version cannot do stops the start, by name', async () => {
    const path = file(
      'simple.ini',
      '[databases]\n* = host=localhost\n[pgbouncer]\nlisten_addr = 127.0.0.1\nauth_type = pam\n',
    );
    const { code, text } = await outcome(['start', path]);
    expect(code).toBe(1);
    expect(text).toMatch(/simple\.ini:5: .*pam/);
  });

  test.each([
    ['auth_type = hba\nauth_hba_file = HBA', /hba:2: error: .*unsupported method: "nonsense"/],
    ['auth_type = ldap\nauth_ldap_options = nonsense', /:6: error: auth_ldap_options/],
    ['logfile = /nowhere/x.log', /:5: error: logfile .* no directory \/nowhere/],
    ['pidfile = /nowhere/x.pid', /:5: error: pidfile .* no directory \/nowhere/],
    ['unix_socket_dir = /nowhere', /:5: error: unix_socket_dir/],
    ['unix_socket_group = no_such_group\nunix_socket_dir = /tmp', /:5: error: .*no group "no_such_group"/],
    ['server_tls_protocols = tlsv9', /:5: error: TLS setup failed: invalid server_tls_protocols: tlsv9/],
    ['client_tls_sslmode = require\nclient_tls_key_file = /nowhere/key', /:\d: error: TLS setup failed/],
  ])('and start refuse what is not there, with file and line: %s', async (lines, expected) => {
    const given = lines.replace('HBA', file('hba', '# one\nhost all all all nonsense\n'));
    const path = file(
      'missing.ini',
      `[databases]\n* = host=localhost\n[pgbouncer]\nlisten_addr = 127.0.0.1\n${given}\nlisten_port = 1\n`,
    );
    const checked = await outcome(['check', path]);
    expect(checked.code).toBe(1);
    expect(checked.text).toMatch(expected);
    const { code, text } = await outcome(['start', path]);
    expect(code).toBe(1);
    // The log has the place at the end of the line.
    const [, line] = /:(\d+):/.exec(checked.text) ?? [];
    expect(text).toMatch(new RegExp(`\\((.*):${line}\\)`));
    expect(text).not.toMatch(/cannot listen/);
  });

  test.each([
    ['auth_type = hba\nauth_hba_file = /nowhere/hba', /:6: warning: could not open hba config file.*nobody can log in/],
    [
      'auth_type = hba\nauth_hba_file = EMPTY\nauth_ident_file = /nowhere/ident',
      /:7: warning: could not open ident config file.*no maps/,
    ],
    ['auth_ldap_options = nonsense', /:5: warning: auth_ldap_options/],
    ['resolv_conf = /nowhere/resolv.conf', /:5: warning: resolv_conf .*names are asked of 127\.0\.0\.1/],
    ['unix_socket_group = no_such_group\nunix_socket_dir =', /:5: warning: .*no group "no_such_group"/],
    ['unix_socket_group = no_such_group\nunix_socket_dir = @sluice-here', /:5: warning: .*no group "no_such_group"/],
    ['client_tls_protocols = tlsv9', /:5: warning: client_tls_protocols "tlsv9" is not used, and could not be/],
    ['server_tls_protocols = tlsv9\nserver_tls_sslmode = disable', /:5: warning: server_tls_protocols "tlsv9"/],
  ])('warns of what PgBouncer starts without, and start does so too: %s', async (lines, expected) => {
    const given = lines.replace('EMPTY', file('empty', ''));
    const path = file(
      'without.ini',
      `[databases]\n* = host=localhost\n[pgbouncer]\nlisten_addr = 127.0.0.1\n${given}\n`,
    );
    const checked = await outcome(['check', path]);
    expect(checked.code).toBe(0);
    const told = checked.text.split('\n').find((line) => expected.test(line));
    const [, line, message] = /:(\d+): warning: (.*)/.exec(told!)!;
    const run = launch(['start', file('free.ini', `%include ${path}\nlisten_port = ${await freePort()}\n`)]);
    await run.waitFor(/listening on/);
    expect(run.output()).toContain(`WARNING ${message} (${path}:${line})`);
    await run.stop();
  });

  test('user = of a user that is not there', async () => {
    const path = file(
      'user.ini',
      '[databases]\n* = host=localhost\n[pgbouncer]\nlisten_addr = 127.0.0.1\nuser = no_such_user\n',
    );
    expect((await outcome(['check', path])).text).toMatch(/:5: error: user: there is no user "no_such_user"/);
  });

  test('sums a good file up', async () => {
    const path = file(
      'good.ini',
      '[databases]\nshop = host=localhost\n[pgbouncer]\nlisten_addr = 127.0.0.1\npool_mode = transaction\n',
    );
    const { code, text } = await outcome(['check', path]);
    expect(code).toBe(0);
    expect(text).toMatch(/is usable[\s\S]*databases +shop[\s\S]*pooling +transaction/);
  });
});

describe('sluice demo', () => {
  test('starts PostgreSQL and the pooler, prints a string that works, keeps its data, and leaves nothing running', async () => {
    const data = mkdtempSync(join(tmpdir(), 'sluice-demo-'));
    const port = await freePort();
    for (const round of [1, 2]) {
      const run = launch(['demo', '--data', data, '--listen', `127.0.0.1:${port}`]);
      const [, string] = await run.waitFor(/Connect to: +(postgres:\S+)/);
      const client = new pg.Client({ connectionString: string });
      await client.connect();
      if (round === 1) await client.query('create table kept as select 42 as n');
      expect((await client.query('select n, pg_is_in_recovery() as r from kept')).rows).toEqual([{ n: 42, r: false }]);
      await client.end();
      run.signal('SIGINT');
      expect((await run.exit).code).toBe(0);
      await run.stop();
    }
    rmSync(data, { recursive: true, force: true });
  });
});
