/** What docs/coming-from.md says of pg-pool, of this pool, and of `compat: 'pg-pool'`: each is run on all three. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { afterEach, describe, expect, test } from 'vitest';
import { at, failure, makePool } from './support.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const theirs: pg.Pool[] = [];
afterEach(async () => {
  await Promise.all(theirs.splice(0).map((pool) => pool.end()));
});

type Kind = 'pg' | 'ours' | 'compat';
const KINDS: Kind[] = ['pg', 'ours', 'compat'];

function make(kind: Kind, options: object): pg.Pool {
  if (kind === 'ours') return makePool(options);
  if (kind === 'compat') return makePool({ ...options, compat: 'pg-pool' });
  const pool = new pg.Pool({ ...at(), ...options });
  theirs.push(pool);
  return pool;
}

/** What the three say, in this order. */
async function each<T>(options: object, ask: (pool: pg.Pool) => Promise<T>): Promise<T[]> {
  const said: T[] = [];
  for (const kind of KINDS) said.push(await ask(make(kind, options)));
  return said;
}

test('a number as a string, and a value that is true, are refused, and with compat taken', async () => {
  const wrong: [string, unknown][] = [
    ['max', '2'],
    ['idleTimeoutMillis', '100'],
    ['allowExitOnIdle', 1],
    ['max', 0],
    ['maxUses', 0],
  ];
  for (const [name, value] of wrong) {
    for (const kind of ['pg', 'compat'] as const)
      expect((await make(kind, { [name]: value }).query('SELECT 1 AS n')).rows).toEqual([{ n: 1 }]);
    expect(() => make('ours', { [name]: value })).toThrow(`pool option ${name} is `);
  }
});

test('an option that nobody knows is refused, and with compat ignored', async () => {
  for (const kind of ['pg', 'compat'] as const)
    expect((await make(kind, { supervise: true }).query('SELECT 1 AS n')).rows).toEqual([{ n: 1 }]);
  expect(() => make('ours', { supervise: true })).toThrow('pool option supervise is not known');
});

test('a transaction that a pool.query has opened is rolled back when that is over; with compat it stays', async () => {
  const said = await each({ max: 1 }, async (pool) => {
    await pool.query('BEGIN');
    const { rows } = await pool.query('SELECT now() = statement_timestamp() AS own');
    await pool.query('ROLLBACK');
    return rows[0].own;
  });
  expect(said).toEqual([false, true, false]);
});

test('a client whose session was ended tells the pool nothing at its release; its listeners stay', async () => {
  const said = await each({ max: 1 }, async (pool) => {
    const errors: Error[] = [];
    pool.on('error', (error) => errors.push(error));
    const client = await pool.connect();
    const listeners = client.listenerCount('error');
    await failure(client.query('SELECT pg_terminate_backend(pg_backend_pid())'));
    client.release();
    await new Promise((resolve) => setTimeout(resolve, 50));
    return [listeners > 0, errors.length > 0];
  });
  expect(said).toEqual([
    [false, true],
    [true, false],
    [true, false],
  ]);
});

test('with compat a number as a string holds', async () => {
  const pool = make('compat', { max: '2', idleTimeoutMillis: '50' });
  const [first, second] = [await pool.connect(), await pool.connect()];
  const third = pool.connect();
  expect([pool.totalCount, pool.waitingCount]).toEqual([2, 1]);
  const closed = new Promise((resolve) => pool.once('remove', resolve));
  first.release();
  (await third).release();
  second.release();
  await closed;
});

test('a query on a client that was released rejects; with compat it runs on whosever it is', async () => {
  const said = await each({ max: 1 }, async (pool) => {
    const client = await pool.connect();
    client.release();
    return client.query('SELECT 1').then(
      () => 'ran',
      ({ poolCode }) => poolCode,
    );
  });
  expect(said).toEqual(['ran', 'SLUICE_STALE_HANDLE', 'ran']);
});

test("the event release of a pool.query has undefined for its error, pg-pool's null", async () => {
  const said = await each({ max: 1 }, async (pool) => {
    const told: unknown[] = [];
    pool.on('release', (error) => told.push(error instanceof Error ? 'an error' : error));
    await pool.query('SELECT 1');
    await failure(pool.query('SELECT 1/0'));
    (await pool.connect()).release();
    (await pool.connect()).release(true);
    return told;
  });
  const pgs = [null, 'an error', undefined, true];
  expect(said).toEqual([pgs, [undefined, undefined, undefined, true], pgs]);
});

describe('a dial that fails', () => {
  const tell = (pool: pg.Pool) =>
    failure(pool.query('SELECT 1')).then((error) => [
      error.name,
      error.code,
      error instanceof pg.DatabaseError,
      error.cause instanceof pg.DatabaseError,
    ]);

  test.each([
    ['a login that is refused', { user: 'nobody_of_that_name', password: 'x' }, 'AuthenticationFailed', '28P01'],
    ['a database that is not there', { database: 'none_of_that_name' }, 'DatabaseDown', '3D000'],
  ])("has pg's error for its cause and that one's code: %s", async (_, options, name, code) => {
    const pgs = ['error', code, true, false];
    expect(await each(options, tell)).toEqual([pgs, [name, code, false, true], pgs]);
  });

  test("has the system's where nobody answers", async () => {
    const pgs = ['Error', 'ECONNREFUSED', false, false];
    expect(await each({ port: 1 }, tell)).toEqual([pgs, ['DatabaseDown', 'ECONNREFUSED', false, false], pgs]);
  });
});

test("the errors of the pool itself are classes, and their messages begin as pg-pool's, with compat too", async () => {
  // At the same time: the limit is the dial's too, and has to be long enough for it.
  const pools = KINDS.map((kind) => make(kind, { max: 1, connectionTimeoutMillis: 1_500 }));
  const asked = pools.map(async (pool) => {
    const client = await pool.connect();
    const late = await failure(pool.connect());
    client.release();
    const end = pool.end();
    const closed = await failure(pool.connect());
    await end;
    return [late.name, late.message.slice(0, 40), closed.name, closed.message.slice(0, 43)];
  });
  const said = await Promise.all(asked);
  theirs.pop();
  const texts = ['timeout exceeded when trying to connect', 'Cannot use a pool after calling end on the pool'];
  const [late, closed] = [texts[0]!.slice(0, 40), texts[1]!.slice(0, 43)];
  expect(said[0]).toEqual(['Error', late, 'Error', closed]);
  for (const ours of said.slice(1))
    expect(ours).toEqual(['PoolExhausted', expect.stringMatching(`^${late}`), 'PoolClosed', closed]);
});

test('a connection that was idle for long is asked whether it lives, at the cost of a round trip; with compat it is not', async () => {
  const said = await each({ max: 1, idleTimeoutMillis: 0 }, async (pool) => {
    const client = await pool.connect();
    let answers = 0;
    (client as any).connection.on('readyForQuery', () => answers++);
    client.release();
    await pool.query('SELECT 1');
    const atOnce = answers;
    await new Promise((resolve) => setTimeout(resolve, 600));
    await pool.query('SELECT 1');
    return [atOnce, answers];
  });
  expect(said).toEqual([
    [1, 2],
    [1, 3],
    [1, 2],
  ]);
});

describe('in a process that listens to no error', () => {
  /** Does the process outlive the connection? */
  const outlives = (kind: Kind, held: boolean) => {
    const options = { ...at(), max: 1, ...(kind === 'compat' ? { compat: 'pg-pool' } : {}) };
    const program = `
import pg from 'pg';
import { Pool } from '@sluice/pool';
const options = ${JSON.stringify(options)};
const pool = ${kind === 'pg' ? 'new pg.Pool(options)' : 'new Pool(options)'};
const other = new pg.Client(options);
await other.connect();
const client = await pool.connect();
const { pid } = (await client.query('SELECT pg_backend_pid() AS pid')).rows[0];
const gone = new Promise((resolve) => client.once('end', resolve));
if (!${held}) client.release();
await other.query('SELECT pg_terminate_backend($1)', [pid]);
await gone;
console.log('alive');
process.exit(0);`;
    const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
      cwd: ROOT,
      encoding: 'utf8',
      timeout: 30_000,
    });
    return /terminat/.test(stderr) ? 'died' : stdout.trim() + stderr;
  };

  test('the end of an idle connection is not that of the process; with compat it is', () => {
    expect(KINDS.map((kind) => outlives(kind, false))).toEqual(['died', 'alive', 'died']);
  });

  test("nor is that of a client in somebody's hands, with compat either", () => {
    expect(KINDS.map((kind) => outlives(kind, true))).toEqual(['died', 'alive', 'alive']);
  });
});
