/** What listeners, subclasses and constructors of the application do to the pool, and it to them. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { Registry } from 'prom-client';
import { describe, expect, test } from 'vitest';
import { Pool, type PoolOptions } from '../../packages/pool/src/index.ts';
import { collectPools } from '../../packages/pool/src/prometheus.ts';
import { at, failure, makePool, outside, pause, until } from './support.ts';

/** Runs a program of its own against the database; what it prints, and its exit code. */
function run(program: string): { out: string; code: number | null } {
  const pool = join(import.meta.dirname, '../../packages/pool/dist/index.js');
  const text = `import { Pool } from ${JSON.stringify(pool)};\nconst at = ${JSON.stringify(at())};\n${program}`;
  const { stdout, stderr, status } = spawnSync(process.execPath, ['--input-type=module', '-e', text], {
    encoding: 'utf8',
    timeout: 20_000,
  });
  return { out: stdout + stderr, code: status };
}

describe("listeners of 'connect'", () => {
  test('may be asynchronous: what they set is there for the first holder and for every later one', async () => {
    const pool = makePool({ max: 1 });
    pool.on('connect', async (client) => {
      await client.query("set search_path = 'tenant'");
      await client.query("set timezone = 'Asia/Tokyo'");
      await client.query("set statement_timeout = '7s'");
    });
    const settings = ['search_path', 'timezone', 'statement_timeout'];
    const all = settings.map((name) => `current_setting('${name}')`).join(`||','||`);
    for (let i = 0; i < 3; i++) {
      const client = await pool.connect();
      expect((await client.query(`select ${all} as s`)).rows[0].s).toBe('tenant,Asia/Tokyo,7s');
      await client.query("set search_path = 'other'; set work_mem = '9MB'");
      client.release();
    }
  });

  test('that wait for something else hold nothing up for long, nor does one that asks the pool', async () => {
    const pool = makePool({ max: 1 });
    let asked: Promise<unknown> = Promise.resolve();
    pool.on('connect', () => {
      asked = pool.query('select 1');
      return asked;
    });
    expect((await pool.query('select 2 as n')).rows[0].n).toBe(2);
    await asked;
  });

  test('that reject or throw are the program’s, and the connection serves', () => {
    for (const listener of ["async () => { throw new Error('mine') }", "() => { throw new Error('mine') }"]) {
      const { out, code } = run(`
        const seen = [];
        process.on('unhandledRejection', (error) => seen.push(error.message));
        process.on('uncaughtException', (error) => seen.push(error.message));
        const pool = new Pool(at);
        pool.on('connect', ${listener});
        console.log((await pool.query('select 5 as n')).rows[0].n);
        await pool.end();
        console.log(seen.join());`);
      expect([out, code]).toEqual(['5\nmine\n', 0]);
    }
  });
});

test("a listener of 'acquire' that throws costs no connection", () => {
  const { out, code } = run(`
    const seen = [];
    process.on('uncaughtException', (error) => seen.push(error.message));
    const pool = new Pool({ ...at, max: 1 });
    pool.on('acquire', () => { throw new Error('mine') });
    for (let i = 0; i < 3; i++) await pool.query('select 1');
    await pool.end();
    console.log(seen.join());`);
  expect([out, code]).toEqual(['mine,mine,mine\n', 0]);
});

test("the end of an idle connection by the server is told by 'error', once", async () => {
  const pool = makePool();
  const errors: Error[] = [];
  pool.on('error', (error) => errors.push(error));
  const { pid } = (await pool.query('select pg_backend_pid() as pid')).rows[0];
  await (await outside()).query(`select pg_terminate_backend(${pid})`);
  await until(() => pool.totalCount === 0 && errors.length > 0);
  await pause(50);
  expect(errors.map((error) => (error as Error & { code?: string }).code)).toEqual(['57P01']);
});

describe('a dial', () => {
  test('whose client cannot be made fails, and costs no place', async () => {
    const { host, port, user, password, database } = at();
    const url = `postgres://${user}:${encodeURIComponent(password)}@${host}:${port}/${database}?sslcert=/nonexistent/cert`;
    const variants: PoolOptions[] = [{}, { min: 1 }, { beforeConnect: () => undefined }];
    for (const options of variants) {
      const pool = new Pool({ connectionString: url, max: 2, connectionTimeoutMillis: 2_000, ...options });
      pool.on('error', () => {});
      for (let i = 0; i < 4; i++) expect((await failure(pool.query('select 1'))).message).toMatch(/ENOENT/);
      await pool.end();
      expect(pool.totalCount).toBe(0);
    }
  });

  test('whose hook or password hangs is given up in its time, and costs no place', async () => {
    const { host, port, user, database, password } = at();
    let hangs = 2;
    const slow = () => (hangs-- > 0 ? new Promise<never>(() => {}) : Promise.resolve(undefined));
    const limits = { max: 1, dialTimeoutMillis: 1_000, connectionTimeoutMillis: 10_000 };
    const hooked = makePool({ ...limits, beforeConnect: slow });
    for (let i = 0; i < 2; i++) expect((await failure(hooked.query('select 1'))).message).toMatch(/dialTimeoutMillis/);
    expect((await hooked.query('select 1 as n')).rows[0].n).toBe(1);
    hangs = 1;
    const url = `postgres://${user}@${host}:${port}/${database}`;
    const asked = new Pool({ ...limits, connectionString: url, password: () => slow().then(() => password) });
    expect((await failure(asked.query('select 1'))).message).toMatch(/dialTimeoutMillis/);
    expect((await asked.query('select 1 as n')).rows[0].n).toBe(1);
    await asked.end();
  });
});

test('a process waits for those who wait, and not for an idle pool (allowExitOnIdle)', () => {
  const { out, code } = run(`
    const pool = new Pool({ ...at, port: 1, allowExitOnIdle: true, connectionTimeoutMillis: 3000 });
    for (let i = 0; i < 3; i++) await pool.query('select 1').catch((error) => console.log(error.name));
    const other = new Pool({ ...at, allowExitOnIdle: true });
    await other.query('select 1');
    console.log('end');`);
  expect([out, code]).toEqual(['DatabaseDown\nDatabaseDown\nDatabaseDown\nend\n', 0]);
});

describe('a connect() that was put in place of the pool’s own', () => {
  const set = "select set_config('app.tenant', 'x', false)";
  class ByCallback extends Pool {
    override connect(callback?: any): any {
      if (callback === undefined) return super.connect();
      super.connect((error, client, done) => {
        if (error) callback(error, undefined, done);
        else client!.query(set, (failed: unknown) => callback(failed ?? undefined, client, done));
      });
      return undefined;
    }
  }
  class ByPromise extends Pool {
    override async connect(): Promise<any> {
      const client = await super.connect();
      await client.query(set);
      return client;
    }
  }

  test.each([
    ['by callback', ByCallback],
    ['by promise', ByPromise],
  ])('is what query() goes by: %s', async (_, Class) => {
    const pool = new Class({ ...at(), max: 1 });
    const ask = "select current_setting('app.tenant', true) as t, $1::int as n";
    for (let i = 0; i < 3; i++) expect((await pool.query(ask, [i])).rows[0]).toEqual({ t: 'x', n: i });
    expect((await failure(pool.query('select 1/0'))).code).toBe('22012');
    await until(() => pool.totalCount === 1 && pool.idleCount === 1);
    await pool.end();
    expect((await failure(pool.query(ask, [1]))).name).toBe('PoolClosed');
  });
});

test('what a parser leaves over of a URL is no unknown option', async () => {
  const rest = {
    channel_binding: 'prefer',
    schema: 'public',
    connect_timeout: '5',
    uselibpqcompat: 'true',
    sslmode: 'disable',
  };
  const pool = makePool(rest as object);
  expect((await pool.query('select 1 as n')).rows[0].n).toBe(1);
});

test('pools of one name are told apart in metrics, and later ones can be added', async () => {
  const registry = new Registry();
  const [a, b, c] = [makePool({ name: 'one' }), makePool({ name: 'one' }), makePool({ name: 'two' })];
  await a.query('select 1');
  collectPools({ register: registry }, [a, b], { registry: registry as never });
  collectPools({ register: registry }, c, { registry: registry as never });
  const text = await registry.metrics();
  const of = (pool: string) =>
    new RegExp(`^sluice_pool_acquires_total\\{pool="${pool}"\\} (\\d+)$`, 'm').exec(text)?.[1];
  expect([of('one'), of('one#2'), of('two')]).toEqual(['1', '0', '0']);
  registry.clear();
  collectPools({ register: registry }, c, { registry: registry as never });
  expect(await registry.metrics()).not.toContain('one');
});

test('what listeners throw is the program’s, whatever they listen to, and the pool goes on', () => {
  const { out, code } = run(`
    const seen = [];
    process.on('uncaughtException', (error) => seen.push(error.message));
    const pool = new Pool({ ...at, max: 1, leakDetectionMillis: 20 });
    for (const name of ['leak', 'leakReturned', 'acquire', 'release', 'remove'])
      pool.on(name, () => { throw new Error(name) });
    const client = await pool.connect();
    await client.query('select pg_sleep(0.1)');
    client.release();
    console.log(pool.idleCount, (await pool.query('select 1 as n')).rows[0].n);
    await pool.end();
    const down = new Pool({ ...at, port: 1, whenDown: 'wait', retryMinMillis: 1, connectionTimeoutMillis: 200 });
    let dials = 0;
    down.on('reconnectFailed', () => { dials++; throw new Error('reconnectFailed') });
    await down.query('select 1').catch((error) => console.log(error.name, dials > 1));
    await down.end();
    console.log([...new Set(seen)].sort().join());`);
  expect([out, code]).toEqual([
    '1 1\nDatabaseDown true\nacquire,leak,leakReturned,reconnectFailed,release,remove\n',
    0,
  ]);
});
