/** What README.md shows is true: its configuration starts and serves, its flags exist, its error is the error, its modes break what it says. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { freePort } from '../packages/sluice/src/embedded/postgres.ts';
import { Clients } from './support/clients.ts';
import { postgres } from './support/postgres.ts';
import { launch, type Sluice, startSluice } from './support/sluice.ts';

const README = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
const server = postgres();

/** The first fenced block in this language, or with this text in it. */
function block(language: string, within = ''): string {
  for (const [, info, text] of README.matchAll(/^```(\w*)\n([\s\S]*?)^```/gm))
    if (info === language && text!.includes(within)) return text!;
  throw new Error(`README.md has no block of "${language}" with "${within}"`);
}

/** Replaces what must be there; a pattern that no longer fits the page is an error, not a silent no. */
function replace(text: string, pattern: RegExp, value: string): string {
  expect(text).toMatch(pattern);
  return text.replace(pattern, value);
}

describe('the configuration by example', () => {
  const users = { app: 'secret of the app', nightly: 'a plain password' };
  let dir: string;
  let sluice: Sluice;
  let clients: Clients;
  let file: string;

  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'sluice-readme-'));
    const direct = new Clients(server);
    const admin = await direct.pg();
    await admin.query('create database shop');
    for (const [name, password] of Object.entries(users))
      await admin.query(`create role ${name} login password '${password}'`);
    const { rows } = await admin.query("select rolpassword from pg_authid where rolname = 'app'");
    await direct.end();

    const userlist = join(dir, 'userlist.txt');
    writeFileSync(userlist, replace(block('', '"nightly"'), /SCRAM-SHA-256[^"]*/, rows[0].rolpassword));
    const port = await freePort();
    let ini = block('ini');
    ini = replace(ini, /host=127\.0\.0\.1( port=5432)?/g, `host=${server.host} port=${server.port}`);
    ini = replace(ini, /^listen_port = 6432$/m, `listen_port = ${port}`);
    ini = replace(ini, /^auth_file = userlist\.txt$/m, `auth_file = ${userlist}`);
    ini = replace(ini, /^query_wait_timeout = 30$/m, 'query_wait_timeout = 1');
    file = join(dir, 'sluice.ini');
    writeFileSync(file, ini);
    sluice = launch(['start', file], port);
    await sluice.waitFor(/listening on .+:\d+/);
    clients = new Clients({ ...server, port });
  });

  afterEach(() => clients.end());

  afterAll(async () => {
    await sluice.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  const as = (user: keyof typeof users, database: string) => clients.pg({ user, password: users[user], database });

  test('sluice check finds it usable and has nothing to remark', async () => {
    const check = launch(['check', file]);
    expect((await check.exit).code).toBe(0);
    expect(check.output()).not.toMatch(/warning|error/);
    expect(check.output()).toMatch(/is usable[\s\S]*databases +shop, reports, \*/);
    await check.stop();
  });

  test('a user with the SCRAM secret of PostgreSQL and one with a plain password reach all three kinds of database', async () => {
    for (const user of ['app', 'nightly'] as const)
      for (const database of ['shop', 'reports', 'postgres']) {
        const client = await as(user, database);
        const { rows } = await client.query('select current_user as u, current_database() as d');
        expect(rows).toEqual([{ u: user, d: database === 'reports' ? 'shop' : database }]);
      }
  });

  test('the error of a used-up pool reads as the page shows it', async () => {
    for (let held = 0; held < 2; held++) await (await as('nightly', 'shop')).query('begin; select 1');
    const late = await as('nightly', 'shop');
    const error: pg.DatabaseError = await late.query('select 1').catch((refusal) => refusal);
    const shown = block('', 'query_wait_timeout\nDETAIL');
    const [, message, detail, hint] = /^FATAL: +(.*)\nDETAIL: +([\s\S]*)\nHINT: +(.*)\n$/.exec(shown)!;
    expect(error.message).toBe(message);
    expect(error.hint).toBe(hint);
    expect(shape(error.detail!)).toBe(shape(detail!));
  });

  /** A text without its numbers and names, and with the first holder only. */
  function shape(text: string): string {
    return text
      .replace(/\s+/g, ' ')
      .replace(/"[^"]*"/g, '"…"')
      .replace(/\d+(\.\d+)?/g, '0')
      .replace(/(\), ).*$|\)\.$/, ')');
  }
});

test('every flag on the page is explained by --help', async () => {
  let help = '';
  for (const args of [['--help'], ['start', '--help'], ['demo', '--help'], ['check', '--help']]) {
    const run = launch(args);
    expect((await run.exit).code).toBe(0);
    help += run.output();
    await run.stop();
  }
  const named = [...new Set(README.match(/(?<=[\s`])--[a-z][a-z-]+/g))];
  expect(named).toContain('--listen');
  expect(named.filter((flag) => !help.includes(flag))).toEqual([]);
});

describe('what pool modes break', () => {
  let sluice: Sluice;
  let clients: Clients;
  afterEach(async () => {
    await clients.end();
    await sluice.stop();
  });

  const LEAVE = [
    "set work_mem = '7MB'",
    'listen somewhere',
    'create temp table left_behind (n int)',
    'select pg_advisory_lock(42)',
    'prepare left_behind as select 1',
    'declare left_behind cursor with hold for select 1',
  ];
  const FIND = `select current_setting('work_mem') = '7MB' as setting,
    exists (select from pg_listening_channels()) as listening,
    to_regclass('pg_temp.left_behind') is not null as temp_table,
    exists (select from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()) as lock,
    exists (select from pg_prepared_statements where name = 'left_behind') as prepared,
    exists (select from pg_cursors where name = 'left_behind') as cursor`;
  const all = (left: boolean, prepared = left) => ({
    setting: left,
    listening: left,
    temp_table: left,
    lock: left,
    prepared,
    cursor: left,
  });

  async function find(mode: string, settings = '') {
    sluice = await startSluice(server, { settings: `pool_mode = ${mode}\ndefault_pool_size = 1\n${settings}` });
    clients = new Clients({ ...server, port: sluice.port });
    const first = await clients.pg();
    for (const sql of LEAVE) await first.query(sql);
    await first.end();
    return (await (await clients.pg()).query(FIND)).rows[0];
  }

  test.each(['transaction', 'statement'])(
    '%s: session state stays on the server, for the next client to find',
    async (mode) => {
      expect(await find(mode, 'max_prepared_statements = 0')).toEqual(all(true));
    },
  );

  test('what is prepared in SQL stays with its client where max_prepared_statements is set', async () => {
    expect(await find('transaction')).toEqual(all(true, false));
  });

  test('with session_state = follow the next client finds nothing of it', async () => {
    expect(await find('transaction', 'session_state = follow')).toEqual(all(false));
  });

  test('session: the next client finds nothing of it', async () => {
    expect(await find('session')).toEqual(all(false));
  });

  test('transaction with server_reset_query_always: the next client finds nothing of it', async () => {
    expect(await find('transaction', 'server_reset_query_always = 1')).toEqual(all(false));
  });
});
