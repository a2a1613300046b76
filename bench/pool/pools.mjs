// The pools under test behind one face: make(options) -> { acquire(), release(resource), end() }, in promise form, with the
// same features on: a limit on waiting and on idling, ten connections, checks off.
import { createRequire } from 'node:module';
import { Pool } from '@sluice/pool';
import genericPool from 'generic-pool';
import pg from 'pg';
import { Pool as TarnPool } from 'tarn';

const WAIT_MS = 30_000;
const IDLE_MS = 10_000;
const PgPool = createRequire(import.meta.url)('pg-pool');

export const POOLS = {
  'sluice connect': (max, Client, extra = {}) =>
    faceOfPg(new Pool({ ...common(max, Client), checkAfterMillis: Number.POSITIVE_INFINITY, ...extra })),
  'sluice acquire': (max, Client, extra = {}) => {
    const pool = new Pool({ ...common(max, Client), checkAfterMillis: Number.POSITIVE_INFINITY, ...extra });
    return { pool, acquire: () => pool.acquire(), release: (lease) => lease.release(), end: () => pool.end() };
  },
  'pg-pool': (max, Client, extra = {}) => faceOfPg(new PgPool({ ...common(max, Client), ...extra })),
  'generic-pool': (max, Client) => {
    const pool = genericPool.createPool(
      { create: () => connected(Client), destroy: (client) => ended(client) },
      { max, acquireTimeoutMillis: WAIT_MS, idleTimeoutMillis: IDLE_MS, evictionRunIntervalMillis: IDLE_MS },
    );
    return {
      pool,
      acquire: () => pool.acquire(),
      release: (client) => pool.release(client),
      end: async () => {
        await pool.drain();
        await pool.clear();
      },
    };
  },
  tarn: (max, Client) => {
    const pool = new TarnPool({
      create: () => connected(Client),
      destroy: (client) => ended(client),
      min: 0,
      max,
      acquireTimeoutMillis: WAIT_MS,
      idleTimeoutMillis: IDLE_MS,
    });
    return {
      pool,
      acquire: () => pool.acquire().promise,
      release: (client) => pool.release(client),
      end: () => pool.destroy(),
    };
  },
};

function common(max, Client) {
  return { max, Client, connectionTimeoutMillis: WAIT_MS, idleTimeoutMillis: IDLE_MS };
}

function faceOfPg(pool) {
  return { pool, acquire: () => pool.connect(), release: (client) => client.release(), end: () => pool.end() };
}

function connected(Client = pg.Client) {
  const client = new Client();
  return new Promise((resolve, reject) => client.connect((error) => (error ? reject(error) : resolve(client))));
}

function ended(client) {
  return new Promise((resolve) => client.end(resolve));
}
