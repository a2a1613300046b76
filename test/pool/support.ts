/** Pools of a test: made against the run's PostgreSQL, ended after it. */
import pg from 'pg';
import { afterEach } from 'vitest';
import { Pool, type PoolOptions } from '../../packages/pool/src/index.ts';
import { newScope } from '../../packages/pool/src/scope.ts';
import { postgres } from '../support/postgres.ts';

export const at = () => postgres();

const pools: Pool[] = [];
const clients: pg.Client[] = [];

/** A pool that the test does not have to end. */
export function makePool(options: PoolOptions = {}): Pool {
  return own(new Pool({ ...at(), ...options }));
}

/** Ended after the test. */
export function own(pool: Pool): Pool {
  pools.push(pool);
  return pool;
}

/** A connection beside the pool, to look at the server and to do harm. */
export async function outside(): Promise<pg.Client> {
  const client = new pg.Client(at());
  client.on('error', () => {});
  await client.connect();
  clients.push(client);
  return client;
}

export const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** How many scopes the present code is in. */
export function depthOfScopes(): number {
  let depth = 0;
  for (let scope = newScope({}, 'shared').parent; scope !== null; scope = scope.parent) depth++;
  return depth;
}

/** Resolves when the condition holds; the test's own time limit is the bound. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 5));
}

/** What a promise was rejected with. */
export async function failure(promise: Promise<unknown>): Promise<any> {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error('it was expected to be rejected');
}

afterEach(async () => {
  await Promise.all(pools.splice(0).map((pool) => pool.drain({ timeoutMillis: 200 })));
  await Promise.all(clients.splice(0).map((client) => client.end()));
});
