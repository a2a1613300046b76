// The pools under test behind one face: make(max, Client, extra, asked) -> { acquire(), release(client), discard(client), end() },
// in promise form, with the same features on: a limit on waiting and on idling. With `check` what each has for testing an idle
// connection before its use is on too; the pools that have none go without.
import { createRequire } from 'node:module';
import { Pool } from '@sluice/pool';
import genericPool from 'generic-pool';
import { Pool as TarnPool } from 'tarn';

export const CALLERS = [1, 10, 100, 5_000];
export const CONNECTIONS = 10;

const WAIT_MS = 30_000;
const IDLE_MS = 10_000;
const PgPool = createRequire(import.meta.url)('pg-pool');

export const POOLS = {
  'sluice connect': (max, Client, extra, asked) => faceOfPg(new Pool(sluiceOptions(max, Client, extra, asked))),
  'sluice wait': (max, Client, _extra, asked) =>
    faceOfPg(new Pool(sluiceOptions(max, Client, { whenDown: 'wait' }, asked))),
  'sluice acquire': (max, Client, extra, asked) => {
    const pool = new Pool(sluiceOptions(max, Client, extra, asked));
    return {
      pool,
      acquire: () => pool.acquire(),
      release: (lease) => lease.release(),
      discard: (lease) => lease.release(true),
      end: () => pool.end(),
    };
  },
  'pg-pool': (max, Client, extra = {}, { waitMs = WAIT_MS } = {}) =>
    faceOfPg(new PgPool({ ...common(max, Client, waitMs), ...extra })),
  'generic-pool': (max, Client, _extra, { waitMs = WAIT_MS, check = false } = {}) => {
    const pool = genericPool.createPool(
      { create: () => connected(Client), destroy: (client) => ended(client), validate: answers },
      {
        max,
        acquireTimeoutMillis: waitMs,
        idleTimeoutMillis: IDLE_MS,
        evictionRunIntervalMillis: IDLE_MS,
        testOnBorrow: check,
      },
    );
    return {
      pool,
      acquire: () => pool.acquire(),
      release: (client) => pool.release(client),
      discard: (client) => pool.destroy(client),
      end: async () => {
        await pool.drain();
        await pool.clear();
      },
    };
  },
  tarn: (max, Client, _extra, { waitMs = WAIT_MS } = {}) => {
    const pool = new TarnPool({
      create: () => connected(Client),
      destroy: (client) => ended(client),
      // As Knex does it: what was marked is not handed out again.
      validate: (client) => client.spoilt !== true,
      min: 0,
      max,
      acquireTimeoutMillis: waitMs,
      idleTimeoutMillis: IDLE_MS,
    });
    return {
      pool,
      acquire: () => pool.acquire().promise,
      release: (client) => pool.release(client),
      discard: (client) => {
        client.spoilt = true;
        pool.release(client);
      },
      end: () => pool.destroy(),
    };
  },
};

function sluiceOptions(max, Client, extra = {}, { waitMs = WAIT_MS, check = false } = {}) {
  const checks = check ? {} : { checkAfterMillis: Number.POSITIVE_INFINITY };
  return { ...common(max, Client, waitMs), ...checks, ...extra };
}

function common(max, Client, waitMs) {
  return { max, Client, connectionTimeoutMillis: waitMs, idleTimeoutMillis: IDLE_MS };
}

function faceOfPg(pool) {
  return {
    pool,
    acquire: () => pool.connect(),
    release: (client) => client.release(),
    discard: (client) => client.release(true),
    end: () => pool.end(),
  };
}

function connected(Client) {
  const client = new Client();
  return new Promise((resolve, reject) => client.connect((error) => (error ? reject(error) : resolve(client))));
}

function ended(client) {
  return new Promise((resolve) => client.end(resolve));
}

function answers(client) {
  return client.query('SELECT 1').then(
    () => true,
    () => false,
  );
}
