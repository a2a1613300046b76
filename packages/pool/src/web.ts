/** What the web helpers share: a health answer, and a request's own connection. Knows no framework. */
import { performance } from 'node:perf_hooks';
import type { AcquireOptions } from './contract.ts';
import { messageOf, PoolExhausted } from './errors.ts';
import type { Lease } from './lease.ts';
import type { Pool } from './pool.ts';

/** Between two questions of a health check that is turned away. */
const LOOK_AGAIN_MS = 20;

export interface WebOptions {
  /** Path of the health check; null: none. Default '/health'. */
  healthPath?: string | null | undefined;
  /** How long the health check waits for a connection and its answer, in milliseconds. Default 2000. */
  healthTimeoutMillis?: number | undefined;
  /** How long requests under way may take at shutdown, in milliseconds. Default 10000. */
  drainTimeoutMillis?: number | undefined;
}

export interface Health {
  /** The database answers; `busy`: others were served meanwhile, but no connection was free in time for the question itself. */
  ok: boolean;
  busy?: boolean;
  pool: string;
  total: number;
  idle: number;
  active: number;
  waiting: number;
  error?: string;
}

/** Gets a connection and asks it something; never rejects. */
export async function health(pool: Pool, timeoutMillis = 2_000): Promise<Health> {
  const { acquires } = pool.stats();
  const end = performance.now() + timeoutMillis;
  let failure = await ask(pool, timeoutMillis, timeoutMillis);
  // Turned away at the door: whether others are served shows in a moment.
  while (failure instanceof PoolExhausted && failure.reason !== 'timeout' && pool.stats().acquires === acquires) {
    if (performance.now() >= end) break;
    await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS));
    failure = await ask(pool, Math.max(1, end - performance.now()), timeoutMillis);
  }
  const { name, total, idle, active, waiting, acquires: since } = pool.stats();
  const numbers = { pool: name, total, idle, active, waiting };
  if (failure === null) return { ok: true, ...numbers };
  // A restart would help nobody: it is load.
  if (failure instanceof PoolExhausted && since > acquires) return { ok: true, busy: true, ...numbers };
  return { ok: false, ...numbers, error: messageOf(failure) };
}

/** Null: the database has answered. However long the connection was waited for, the answer has its own time. */
async function ask(pool: Pool, waitMillis: number, answerMillis: number): Promise<unknown> {
  try {
    const lease = await pool.acquire({ timeoutMillis: waitMillis });
    try {
      await lease.query({ text: 'SELECT 1', timeoutMillis: answerMillis });
    } finally {
      if (lease.live) lease.release();
    }
    return null;
  } catch (error) {
    return error;
  }
}

/** One connection for as long as a request lasts: taken at the first call, given back by `end`, whatever happens. */
export class RequestConnection {
  readonly #pool: Pool;
  #lease: Promise<Lease> | null = null;
  #ended = false;
  #waiting = false;
  readonly #gone = new AbortController();

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  /** The same lease each time. The wait ends when the request does. */
  acquire(options: Omit<AcquireOptions, 'signal'> = {}): Promise<Lease> {
    if (this.#ended) return Promise.reject(new Error('the request has ended; its connection was given back'));
    if (this.#lease === null) {
      this.#lease = this.#pool.acquire({ ...options, signal: this.#gone.signal });
      this.#waiting = true;
      this.#lease.then(
        () => {
          this.#waiting = false;
        },
        // Who asks again after a failure gets another try.
        () => {
          this.#lease = null;
          this.#waiting = false;
        },
      );
    }
    return this.#lease;
  }

  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    // What the connection still does is waited for when it is back; only the waiting for one ends with the request.
    if (this.#waiting) this.#gone.abort(new Error('the request has ended'));
    this.#lease?.then(
      (lease) => lease.live && lease.release(),
      () => {},
    );
  }
}
