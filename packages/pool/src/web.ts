/** What the web helpers share: a health answer, and a request's own connection. Knows no framework. */
import type { AcquireOptions } from './contract.ts';
import type { Lease } from './lease.ts';
import type { Pool } from './pool.ts';

export interface WebOptions {
  /** Path of the health check; null: none. Default '/health'. */
  healthPath?: string | null | undefined;
  /** How long the health check waits for a connection and its answer, in milliseconds. Default 2000. */
  healthTimeoutMillis?: number | undefined;
  /** How long requests under way may take at shutdown, in milliseconds. Default 10000. */
  drainTimeoutMillis?: number | undefined;
}

export interface Health {
  ok: boolean;
  pool: string;
  total: number;
  idle: number;
  active: number;
  waiting: number;
  error?: string;
}

/** Gets a connection and asks it something; never rejects. */
export async function health(pool: Pool, timeoutMillis = 2_000): Promise<Health> {
  let error: string | undefined;
  try {
    const lease = await pool.acquire({ timeoutMillis });
    try {
      await lease.query({ text: 'SELECT 1', timeoutMillis });
    } finally {
      if (lease.live) lease.release();
    }
  } catch (thrown) {
    error = thrown instanceof Error ? thrown.message : String(thrown);
  }
  const { name, total, idle, active, waiting } = pool.stats();
  const numbers = { ok: error === undefined, pool: name, total, idle, active, waiting };
  return error === undefined ? numbers : { ...numbers, error };
}

/** One connection for as long as a request lasts: taken at the first call, given back by `end`, whatever happens. */
export class RequestConnection {
  readonly #pool: Pool;
  #lease: Promise<Lease> | null = null;
  #ended = false;
  readonly #gone = new AbortController();

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  /** The same lease each time. The wait ends when the request does. */
  acquire(options: Omit<AcquireOptions, 'signal'> = {}): Promise<Lease> {
    if (this.#ended) return Promise.reject(new Error('the request has ended; its connection was given back'));
    if (this.#lease === null) {
      this.#lease = this.#pool.acquire({ ...options, signal: this.#gone.signal });
      // Who asks again after a failure gets another try.
      this.#lease.catch(() => {
        this.#lease = null;
      });
    }
    return this.#lease;
  }

  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#gone.abort(new Error('the request has ended'));
    this.#lease?.then(
      (lease) => lease.live && lease.release(),
      () => {},
    );
  }
}
