/**
 * The pool: node-postgres' `Pool` in contract and by `instanceof`, and what it never had. Thin: checks what it is given,
 * hands it to the engine, and gives promises or callbacks back.
 */
import type { EventEmitter } from 'node:events';
import { EntryState } from '@sluice/core';
import type * as pg from 'pg';
import driver from 'pg';
import {
  type Credentials,
  changeCredentials,
  checkIdle,
  cut,
  drain,
  evictAll,
  resize,
  takeIdle,
  warmUp,
} from './admin.ts';
import { wrongCall } from './call-options.ts';
import type { AcquireOptions, LeakReport, PoolOptions, QueryExtras } from './contract.ts';
import { Engine } from './engine.ts';
import { type Holder, PoolClosed } from './errors.ts';
import { asClient, leaseFor, obtain, obtainAsync } from './handout.ts';
import { newClient, type PendingItem, tellEnd } from './instrumented.ts';
import type { Lease } from './lease.ts';
import { checkOptions, checkRequest } from './options.ts';
import { poolQuery, queryByConnect } from './pool-query.ts';
import type { RawClient, RawClientClass } from './raw-client.ts';
import { holdersOf, numbersOf } from './report.ts';
import { bound, enterImplied, newScope, runIn } from './scope.ts';
import { type PoolStatistics, statsOf } from './stats.ts';
import { after } from './timers.ts';
import { type Transaction, type TransactionOptions, transact } from './transaction.ts';

type ConnectCallback = (
  error: Error | undefined,
  client: pg.PoolClient | undefined,
  done: (release?: Error | boolean) => void,
) => void;

// pg's own Pool, so that `instanceof pg.Pool` holds: Drizzle, Prisma and others choose their way by it. Typed as what is
// kept of it; everything else is ours.
const Base = driver.Pool as unknown as new (options: PoolOptions) => EventEmitter;

const NOTHING = () => {};
const MARK: unique symbol = Symbol.for('@sluice/pool') as never;

export interface PoolEvents {
  connect: [client: pg.PoolClient];
  acquire: [client: pg.PoolClient];
  release: [error: Error | boolean | undefined, client: pg.PoolClient];
  remove: [client: pg.PoolClient];
  error: [error: Error, client: pg.PoolClient];
  leak: [report: LeakReport, client: pg.PoolClient];
  leakReturned: [report: { pool: string; holder: Holder }];
  reconnectFailed: [error: Error];
  clockJump: [ms: number];
}

export interface Pool {
  on<E extends keyof PoolEvents>(event: E, listener: (...args: PoolEvents[E]) => void): this;
  // biome-ignore lint/suspicious/noExplicitAny: as EventEmitter has it, so that a Pool is a pg.Pool to the compiler too
  on(event: string | symbol, listener: (...args: any[]) => void): this;
  once<E extends keyof PoolEvents>(event: E, listener: (...args: PoolEvents[E]) => void): this;
  // biome-ignore lint/suspicious/noExplicitAny: as above
  once(event: string | symbol, listener: (...args: any[]) => void): this;
}

// biome-ignore lint/suspicious/noUnsafeDeclarationMerging: the interface narrows the emitter's listeners, it adds no field
export class Pool extends Base implements AsyncDisposable {
  readonly [MARK] = true;
  /** What the pool was made with, defaults filled in as pg-pool does. The password does not enumerate. */
  declare options: pg.PoolOptions & PoolOptions;
  /** The class of the clients. */
  declare Client: RawClientClass;
  /** The class of the promises returned. */
  declare Promise: PromiseConstructor;
  declare log: (...messages: unknown[]) => void;
  readonly #engine: Engine;
  #ending: Promise<void> | null = null;
  #ended = false;

  /** Throws BadOption, naming the option and what is allowed. */
  constructor(options?: PoolOptions, Client?: RawClientClass) {
    super(checkOptions(options));
    if (Client !== undefined && options?.Client === undefined) this.Client = Client;
    this.#engine = new Engine(this, this.options, this.Client);
  }

  // What pg-pool has.

  /**
   * A client, to be released by `client.release()`. Rejects with PoolExhausted, DatabaseDown, AuthenticationFailed,
   * PoolClosed or PoolDeadlock.
   */
  connect(): Promise<pg.PoolClient>;
  connect(callback: ConnectCallback): void;
  connect(callback?: ConnectCallback): Promise<pg.PoolClient> | undefined {
    const engine = this.#engine;
    this.log('connect');
    if (engine.settings.deadlocks === 'all') enterImplied(engine);
    if (callback === undefined) return obtainAsync(engine, this.Promise, undefined, asClient);
    const call = bound(callback);
    obtain(engine, undefined, (error, conn) => {
      if (conn === null) process.nextTick(call, error as Error, undefined, NOTHING);
      else {
        const client = asClient(engine, conn);
        process.nextTick(call, undefined, client, client.release);
      }
    });
    return undefined;
  }

  /**
   * One statement on any free connection. A config may carry `signal`, `deadline`, `priority`, `tenant` for the waiting
   * and `timeoutMillis` for the statement.
   */
  // biome-ignore-start lint/suspicious/noExplicitAny: pg's own defaults
  // pg's own, word for word: only so can what is a pool or a client be asked (`Pool | PoolClient`).
  query<T extends pg.Submittable>(queryStream: T): T;
  query<R extends any[] = any[], I = any[]>(
    queryConfig: pg.QueryArrayConfig<I>,
    values?: pg.QueryConfigValues<I>,
  ): Promise<pg.QueryArrayResult<R>>;
  query<R extends pg.QueryResultRow = any, I = any[]>(queryConfig: pg.QueryConfig<I>): Promise<pg.QueryResult<R>>;
  query<R extends pg.QueryResultRow = any, I = any[]>(
    queryTextOrConfig: string | pg.QueryConfig<I>,
    values?: pg.QueryConfigValues<I>,
  ): Promise<pg.QueryResult<R>>;
  query<R extends any[] = any[], I = any[]>(
    queryConfig: pg.QueryArrayConfig<I>,
    callback: (err: Error, result: pg.QueryArrayResult<R>) => void,
  ): void;
  query<R extends pg.QueryResultRow = any, I = any[]>(
    queryTextOrConfig: string | pg.QueryConfig<I>,
    callback: (err: Error, result: pg.QueryResult<R>) => void,
  ): void;
  query<R extends pg.QueryResultRow = any, I = any[]>(
    queryText: string,
    values: pg.QueryConfigValues<I>,
    callback: (err: Error, result: pg.QueryResult<R>) => void,
  ): void;
  // And what only ours takes.
  query<R extends any[] = any[], I = any[]>(
    config: pg.QueryArrayConfig<I> & QueryExtras,
    values?: pg.QueryConfigValues<I>,
  ): Promise<pg.QueryArrayResult<R>>;
  query<R extends pg.QueryResultRow = any, I = any[]>(
    config: pg.QueryConfig<I> & QueryExtras,
    values?: pg.QueryConfigValues<I>,
  ): Promise<pg.QueryResult<R>>;
  // biome-ignore-end lint/suspicious/noExplicitAny: pg's own defaults
  query(text: unknown, values?: unknown, callback?: unknown): unknown {
    if (typeof text === 'function') {
      const error = new TypeError('Passing a function as the first parameter to pool.query is not supported');
      setImmediate(text as (error: Error) => void, error);
      return undefined;
    }
    if (typeof values === 'function') [values, callback] = [undefined, values];
    this.log('query');
    if (typeof callback === 'function') {
      this.#query(text, values, bound(callback as (error: unknown) => void));
      return undefined;
    }
    return new this.Promise((resolve, reject) => {
      this.#query(text, values, (error, result) => (error ? reject(error) : resolve(result)));
    }).catch((error) => {
      // The stack of a driver's error leads into its socket; the caller's is of more use (as pg-pool does).
      if (error instanceof Error) Error.captureStackTrace(error);
      throw error;
    });
  }

  #query(text: unknown, values: unknown, callback: (error: unknown, result?: unknown) => void): void {
    const engine = this.#engine;
    if (this.connect === ownConnect) poolQuery(engine, text, values, callback);
    else queryByConnect((use) => this.connect(use as never), engine.settings.compat, text, values, callback);
  }

  /** Refuses new requests, serves those that wait, closes connections as they come back; resolves when all are gone. */
  end(): Promise<void>;
  end(callback: (error?: Error) => void): void;
  end(callback?: (error?: Error) => void): Promise<void> | undefined {
    this.log('ending');
    const result =
      this.#ending === null
        ? this.#end()
        : this.Promise.reject(new PoolClosed(this.name, 'Called end on pool more than once'));
    if (callback === undefined) return result;
    result.then(
      () => callback(),
      (error) => callback(error),
    );
    return undefined;
  }

  #end(): Promise<void> {
    this.#ending = this.Promise.resolve(drain(this.#engine)).then(() => {
      this.#ended = true;
    });
    tellEnd(this);
    return this.#ending;
  }

  /** Connections open or being opened. */
  get totalCount(): number {
    return numbersOf(this.#engine).total;
  }

  get idleCount(): number {
    return this.#engine.core.count(EntryState.Idle);
  }

  /** Requests for which no connection is being opened. */
  get waitingCount(): number {
    // Whose connection is being dialled does not count, as with pg-pool.
    const { core } = this.#engine;
    return Math.max(0, core.queue.length - core.count(EntryState.Opening));
  }

  /** Connections past their life that are still in use. */
  get expiredCount(): number {
    const now = this.#engine.clock.refresh();
    let count = 0;
    for (const entry of this.#engine.core.entries()) if (entry.expiresAt <= now && entry.closeReason === null) count++;
    return count;
  }

  get ending(): boolean {
    return this.#ending !== null;
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** pg-pool's list of clients, for those who look at it. A copy. */
  get _clients(): RawClient[] {
    const clients = [...this.#engine.port.dialling.values()];
    for (const entry of this.#engine.core.entries())
      if (entry.value !== null && entry.state !== EntryState.Closing) clients.push(entry.value.client);
    return clients;
  }

  // pg-pool's constructor assigns these; ours are computed.
  set ending(_value: boolean) {}
  set ended(_value: boolean) {}
  set _clients(_value: RawClient[]) {}

  // pg-pool's `connect` asks these, when a request goes through what instrumentations have laid over it.
  _isFull(): boolean {
    return false;
  }
  newClient(item: PendingItem): void {
    newClient(item);
  }

  // What it has not.

  /** The name in messages, events and metrics. */
  get name(): string {
    return this.#engine.name;
  }

  /**
   * A lease, to be given back by `release()` or the end of an `await using` block, and dead afterwards. Rejects as
   * `connect` does, and with AcquireAborted when the signal fires first.
   */
  acquire(options?: AcquireOptions | null): Promise<Lease> {
    const wrong = wrongCall('request', options);
    if (wrong !== null) return this.Promise.reject(wrong);
    if (this.#engine.settings.deadlocks === 'all') enterImplied(this.#engine);
    return this.#lease(options ?? undefined);
  }

  #lease(options: AcquireOptions | undefined): Promise<Lease> {
    const wrong = checkRequest(options);
    if (wrong !== null) return this.Promise.reject(wrong);
    return obtainAsync(this.#engine, this.Promise, options, leaseFor(options));
  }

  /** Runs `fn` with a lease, in a scope of its own: what it acquires inside counts for deadlock detection. */
  use<R>(fn: (lease: Lease) => Promise<R> | R, options?: AcquireOptions | null): Promise<R> {
    return runIn(newScope(this.#engine, 'own'), async () => {
      const wrong = wrongCall('request', options);
      if (wrong !== null) throw wrong;
      const lease = await this.#lease(options ?? undefined);
      try {
        return await fn(lease);
      } finally {
        if (lease.live) lease.release();
      }
    });
  }

  /** Runs `fn` in a scope: connections acquired inside are known to be held by it, and its requests to be its own. */
  scope<R>(fn: () => R): R {
    return runIn(newScope(this.#engine, 'shared'), fn);
  }

  /**
   * BEGIN, `fn`, COMMIT; ROLLBACK when it fails. Inside another one of this pool: a savepoint. Queries that `fn` did not await are waited for;
   * a cursor, stream or COPY that it has left open is not committed around. When `fn` has failed it is closed, and the error is passed on;
   * otherwise the transaction is rolled back with TransactionAborted once nothing has moved on it for resetTimeoutMillis.
   */
  transaction<R>(fn: (tx: Transaction) => Promise<R>, options?: TransactionOptions | null): Promise<R> {
    return transact(this.#engine, (asked) => this.#lease(asked), fn, options ?? {});
  }

  /** Every idle connection, at once; never waits, never dials. */
  acquireAllIdle(): Lease[] {
    return takeIdle(this.#engine);
  }

  /** Resolves when `min` connections (at least one) stand. 0: no limit; default initializationFailTimeoutMillis. Rejects with BadOption. */
  wait(options?: { timeoutMillis?: number | undefined } | null): Promise<void> {
    const wrong = wrongCall('wait', options);
    if (wrong !== null) return this.Promise.reject(wrong);
    return warmUp(this.#engine, options?.timeoutMillis ?? this.#engine.settings.initTimeoutMs);
  }

  /** Checks every idle connection now; dead ones are closed. */
  check(): Promise<{ alive: number; dead: number }> {
    return checkIdle(this.#engine);
  }

  /** Changes `min` and `max` while running. Throws BadOption. */
  resize(bounds: { min?: number | undefined; max?: number | undefined }): void {
    const engine = this.#engine;
    const wrong = wrongCall('resize', bounds);
    if (wrong !== null) throw wrong;
    resize(engine, bounds?.min ?? engine.minAsked, bounds?.max ?? engine.core.policy.maxSize);
    this.options.max = engine.core.policy.maxSize;
    this.options.min = engine.minAsked;
  }

  /** Replaces every connection that exists now: idle ones at once, those in use when they come back. */
  evict(): void {
    evictAll(this.#engine);
  }

  /** Hands nothing out until `resume`; requests wait. With `closeIdle` free connections are closed too. Throws BadOption. */
  suspend(options?: { closeIdle?: boolean | undefined } | null): void {
    const wrong = wrongCall('suspend', options);
    if (wrong !== null) throw wrong;
    this.#engine.clock.refresh();
    this.#engine.core.pause(options?.closeIdle ?? false);
  }

  resume(): void {
    this.#engine.clock.refresh();
    this.#engine.core.resume();
    this.#engine.wake();
  }

  /** New credentials for every later dial; present connections are replaced as by `evict`. Throws BadOption. */
  setCredentials(credentials: Credentials): void {
    const wrong = wrongCall('setCredentials', credentials);
    if (wrong !== null) throw wrong;
    changeCredentials(this.#engine, this.options, credentials ?? {});
    this.evict();
  }

  /** As `end`, and after `timeoutMillis` what is left is cut off. Resolves when all connections are gone. Rejects with BadOption. */
  async drain(options?: { timeoutMillis?: number | undefined } | null): Promise<void> {
    const wrong = wrongCall('drain', options);
    if (wrong !== null) throw wrong;
    const timeoutMillis = options?.timeoutMillis ?? null;
    const gone = this.#ending ?? this.#end();
    const timer = timeoutMillis === null ? undefined : after(timeoutMillis, () => cut(this.#engine));
    await gone;
    clearTimeout(timer);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.drain();
  }

  /** Every number the pool keeps. */
  stats(): PoolStatistics {
    return statsOf(this.#engine);
  }

  /** Who holds what, for how long, and which SQL ran last. */
  holders(): Holder[] {
    this.#engine.clock.refresh();
    return holdersOf(this.#engine);
  }
}

const ownConnect = Pool.prototype.connect;

/** A program that imports and requires this package has the class twice; pools of either are pools to both. */
Object.defineProperty(Pool, Symbol.hasInstance, {
  value: function (this: object, value: unknown): boolean {
    if (Function.prototype[Symbol.hasInstance].call(this as () => void, value)) return true;
    return this === Pool && typeof value === 'object' && value !== null && MARK in value;
  },
});
