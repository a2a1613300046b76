/** What must compile, and what must not: code written for pg, and the pool's own. Never run; `npm run check` reads it. */
import { Pool } from '@sluice/pool';
import pg from 'pg';
import Cursor from 'pg-cursor';

export const asPgPool: pg.Pool = new Pool({ max: 1 });
const config: pg.PoolConfig = { max: 3, ssl: { rejectUnauthorized: false } };
export const pool = new Pool(config);
export const more = new Pool({
  connectionString: 'x',
  statement_timeout: false,
  types: pg.types,
  Client: pg.Client,
  Promise,
});

export class Loose extends Pool {
  override async connect(): Promise<any> {
    return super.connect();
  }
  override query(...args: any[]): any {
    return (super.query as any)(...args);
  }
}
export const loose: pg.Pool = new Loose();

export function listeners(): void {
  pool.on('error', (error, client) => client.release(error.message === ''));
  pool.on('error', (_error: Error) => {});
  pool.on('connect', (client) => void client.query('SELECT 1'));
  pool.once('remove', (_client) => {});
  pool.addListener('error', (_error: Error) => {});
}

export async function queries(): Promise<unknown[]> {
  const row = await pool.query<{ n: number }>('SELECT 1', [1]);
  const array = await pool.query<[number]>({ text: 'SELECT 1', rowMode: 'array' });
  const named = await pool.query<{ n: number }, [string]>({ text: 'SELECT $1', values: ['a'], name: 'n' });
  const limited = await pool.query<{ n: number }>({ text: 'SELECT 1', timeoutMillis: 5, priority: 1 }, []);
  const limitedArray = await pool.query<[number]>({ text: 'SELECT 1', rowMode: 'array', timeoutMillis: 5 });
  limitedArray.rows[0]![0]!.toFixed(limited.rows[0]!.n);
  pool.query('SELECT 1', (_error, result) => result.rows);
  pool.query('SELECT $1', [1], (_error: Error, result: pg.QueryResult) => result.rows);
  const cursor: Cursor = pool.query(new Cursor('SELECT 1'));
  pool.connect((error, client, done) => {
    if (error) throw error;
    client!.query('SELECT 1');
    done(true);
  });
  const client: pg.PoolClient = await pool.connect();
  client.release(new Error('broken'));
  return [row.rows[0]!.n.toFixed(), array.rows[0]![0]!.toFixed(), named.rows, cursor, await pool.end()];
}

export async function leases(): Promise<void> {
  await pool.transaction(
    async (tx) => {
      const inner: pg.PoolClient = tx.client;
      await inner.query('SELECT 1');
      await tx.query('SELECT $1', [1]);
    },
    { isolation: 'serializable', readOnly: true, retry: { attempts: 2 } },
  );
  await using lease = await pool.acquire({ signal: AbortSignal.timeout(1) });
  await lease.query({ text: 'SELECT 1', signal: AbortSignal.timeout(1), timeoutMillis: 3 });
  await lease.query<{ n: number }, [number]>({ text: 'SELECT $1', values: [1] });
  lease.query('SELECT 1', (_error, result) => result.rows);
  const typed: pg.QueryConfig<[number]> = { text: 'SELECT $1', values: [1] };
  await lease.query(typed);
  await pool.query(typed);
}

export function refused(): void {
  // @ts-expect-error: no such option
  new Pool({ maxx: 1 });
  // @ts-expect-error: not SQL
  pool.query(1);
  // @ts-expect-error: no such level
  pool.transaction(async () => {}, { isolation: 'snapshot' });
}
