/** What is laid over pg-pool's `connect` hears of this pool's requests, and cannot break them. OpenTelemetry's: integrations.test.ts. */
import pg from 'pg';
import { afterEach, expect, test } from 'vitest';
import { failure, makePool } from './support.ts';

type Method = (this: any, callback: any) => unknown;
const prototype = Object.getPrototypeOf(pg.Pool.prototype) as { connect: Method };
const own = prototype.connect;
afterEach(() => {
  prototype.connect = own;
});

/** As instrumentations mark what they put in a method's place. */
function wrap(wrapper: Method, original: Method = own): void {
  prototype.connect = Object.assign(wrapper, { __wrapped: true, __original: original });
}

/** Each way to a connection, once. */
async function everyWay(pool: ReturnType<typeof makePool>): Promise<number> {
  let answered = 0;
  const count = (result: { rows: { n: number }[] }) => (answered += result.rows[0]!.n);
  const text = 'SELECT 1 AS n';
  count(await pool.query(text));
  const client = await pool.connect();
  count(await client.query(text));
  client.release();
  await new Promise<void>((resolve) => pool.query(text, (_error, result) => resolve(void count(result))));
  count(await pool.use((lease) => lease.query(text)));
  count(await pool.transaction((tx) => tx.query(text)));
  return answered;
}

test('it hears of each request, and of how it ends', async () => {
  const heard: string[] = [];
  wrap(function (callback) {
    return own.call(this, (error: Error | undefined, client: unknown, done: unknown) => {
      heard.push(error?.name ?? typeof client);
      callback(error, client, done);
    });
  });
  const pool = makePool({ max: 1 });
  expect(await everyWay(pool)).toBe(5);
  expect(heard).toEqual(Array(5).fill('object'));
  const held = await pool.connect();
  expect((await failure(pool.acquire({ timeoutMillis: 10 }))).name).toBe('PoolExhausted');
  held.release();
  expect(heard.slice(5)).toEqual(['object', 'PoolExhausted']);
});

test('it comes and goes while the pool runs', async () => {
  let calls = 0;
  const pool = makePool({ max: 1 });
  expect(await everyWay(pool)).toBe(5);
  wrap(function (callback) {
    calls++;
    return own.call(this, callback);
  });
  expect(await everyWay(pool)).toBe(5);
  prototype.connect = own;
  expect(await everyWay(pool)).toBe(5);
  expect(calls).toBe(5);
});

test('one that goes on later is waited for', async () => {
  wrap(function (callback) {
    setImmediate(() => own.call(this, callback));
  });
  expect(await everyWay(makePool({ max: 1 }))).toBe(5);
});

test.each<[string, Method]>([
  [
    'gives another client',
    function (callback) {
      return own.call(this, (error: unknown, client: any, done: unknown) =>
        callback(error, client && new Proxy(client, {}), done),
      );
    },
  ],
  [
    'throws before',
    () => {
      throw new Error('a bug of the wrapper');
    },
  ],
  [
    'throws after',
    function (callback) {
      own.call(this, callback);
      throw new Error('a bug of the wrapper');
    },
  ],
  [
    'throws in its callback',
    function () {
      return own.call(this, () => {
        throw new Error('a bug of the wrapper');
      });
    },
  ],
  [
    'asks twice',
    function (callback) {
      own.call(this, () => {});
      return own.call(this, callback);
    },
  ],
  ['rejects', () => Promise.reject(new Error('a bug of the wrapper'))],
  ['never asks', () => undefined],
  [
    'asks and never calls back',
    function () {
      own.call(this, () => {});
    },
  ],
])('one that %s costs no request and no connection', async (_what, wrapper) => {
  wrap(wrapper);
  const pool = makePool({ max: 1, connectionTimeoutMillis: 5_000 });
  expect(await everyWay(pool)).toBe(5);
  const held = await pool.acquire();
  const gone = new AbortController();
  const waiting = failure(pool.acquire({ signal: gone.signal }));
  gone.abort();
  expect((await waiting).poolCode).toBe('SLUICE_ACQUIRE_ABORTED');
  held.release();
  expect([pool.waitingCount, pool.idleCount, pool.totalCount]).toEqual([0, 1, 1]);
});

test('over a connect that asks for no new client it is left alone, as is one that is not marked', async () => {
  const never = () => {
    throw new Error('it was called');
  };
  wrap(never, () => Promise.resolve());
  expect(await everyWay(makePool({ max: 1 }))).toBe(5);
  prototype.connect = never;
  expect(await everyWay(makePool({ max: 1 }))).toBe(5);
});

test('verify and prepare run as ever', async () => {
  wrap(function (callback) {
    return own.call(this, callback);
  });
  const seen: string[] = [];
  const pool = makePool({
    max: 1,
    verify: (_client, done) => done(void seen.push('verify') as undefined),
    prepare: (_client, { tenant }) => void seen.push(`prepare ${tenant}`),
  });
  (await pool.acquire({ tenant: 'a' })).release();
  await pool.query({ text: 'SELECT 1', tenant: 'b' });
  expect(seen).toEqual(['verify', 'prepare a', 'prepare b']);
});
