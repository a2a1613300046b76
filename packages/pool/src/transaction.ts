/**
 * Transactions: BEGIN to COMMIT or ROLLBACK on one connection, savepoints inside, a new try when the server asks for one.
 * Owns the SQL; knows connections as leases only.
 */
import type * as pg from 'pg';
import { wrongCall } from './call-options.ts';
import type { AcquireOptions } from './contract.ts';
import type { Engine } from './engine.ts';
import { BadOption, StaleHandle, TransactionAborted } from './errors.ts';
import type { Lease, QueryMethod } from './lease.ts';
import { show } from './option-check.ts';
import { wrongIn } from './options.ts';
import { refuseQuery } from './queries.ts';
import { Retries, type RetryOptions, wrongRetry } from './retry.ts';
import { currentTransaction, newScope, runIn } from './scope.ts';
import { onAbort } from './signals.ts';
import { after } from './timers.ts';

export interface TransactionOptions extends AcquireOptions {
  isolation?: 'read committed' | 'repeatable read' | 'serializable' | undefined;
  readOnly?: boolean | undefined;
  /** With serializable and readOnly: waits for a safe snapshot, then can't fail. */
  deferrable?: boolean | undefined;
  /**
   * false (default): none; true: with defaults. The whole function runs again, so it must have no other effects. A pause that would end
   * past the deadline is not made: the error that there was is thrown at once. Only the outermost transaction can be tried again: a
   * nested one that asks for it is a BadOption.
   */
  retry?: boolean | RetryOptions | undefined;
  /**
   * Inside another transaction of this pool: 'nested' (default) makes a savepoint in it, 'new' takes a connection of its
   * own, which commits by itself.
   */
  propagation?: 'nested' | 'new' | undefined;
}

const OVER = 'a transaction was used after its function had ended, or that of one around it';

/** What the function of a transaction gets. Dead when the function has ended. */
export class Transaction {
  readonly #lease: Lease;
  readonly #depth: number;
  readonly #engine: Engine;
  readonly #outer: Transaction | null;
  readonly #isolation: TransactionOptions['isolation'] | undefined;
  #over = false;
  #client: pg.PoolClient | null = null;
  /** Nested transactions share the connection, so they run one after the other. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(
    lease: Lease,
    engine: Engine,
    outer: Transaction | null,
    isolation: TransactionOptions['isolation'] | undefined,
  ) {
    this.#isolation = isolation;
    this.#lease = lease;
    this.#engine = engine;
    this.#outer = outer;
    this.#depth = outer === null ? 0 : outer.#depth + 1;
  }

  /**
   * As the lease's; rejects with StaleHandle when this transaction, or one around it, is over. While a nested one is open, what is
   * asked here is a part of that: undone with it.
   */
  readonly query: QueryMethod = ((...args: unknown[]): unknown => {
    if (this.isOver) return refuseQuery(args, new StaleHandle(OVER));
    return (this.#lease.query as (...args: unknown[]) => unknown)(...args);
  }) as QueryMethod;

  /** The pg client, for libraries that need one. It is dead when the transaction, or one around it, is over. */
  get client(): pg.PoolClient {
    this.#assertOpen();
    this.#client ??= this.#lease.clientWhile(() => !this.isOver && this.#lease.live);
    return this.#client;
  }

  /** It has ended, or one around it has. */
  get isOver(): boolean {
    return this.#over || this.#outer?.isOver === true;
  }

  /**
   * A savepoint: undone alone when `fn` fails, kept until the outer transaction commits when it does not. `readOnly` holds inside
   * of it. BadOption: an isolation level other than the transaction's own, `deferrable`, `retry`, `propagation: 'new'`.
   */
  transaction<R>(fn: (tx: Transaction) => Promise<R>, options?: TransactionOptions | null): Promise<R> {
    // Asked for from inside of one that is nested in it, it would wait for that, which waits for it.
    const inner = currentTransaction(this.#engine) as Transaction | null;
    if (inner !== null && inner !== this && inner.#isIn(this)) return inner.transaction(fn, options);
    const run = this.#last.then(() => this.#nested(fn, options ?? {}));
    this.#last = run.catch(() => {});
    return run;
  }

  async #nested<R>(fn: (tx: Transaction) => Promise<R>, options: TransactionOptions): Promise<R> {
    const wrong = wrongInTransaction(options) ?? this.#wrongInside(options);
    if (wrong !== null) throw wrong;
    this.#assertOpen();
    const begin = savepointText(options);
    const name = `sluice_${this.#depth + 1}`;
    const lease = this.#lease;
    const inner = new Transaction(lease, this.#engine, this, this.#isolation);
    const scope = newScope(this.#engine, 'own');
    scope.transaction = inner;
    let widen = () => {};
    try {
      // What it asks for may be refused: that is undone, too.
      await lease.withinBounds(lease.query(begin.replace('?', name)), options);
      widen = lease.narrow(options);
      const result = await runIn(scope, () => fn(inner));
      await lease.unlessLeftOpen(inner.#last);
      this.#assertOpen();
      await lease.settled();
      widen();
      await lease.withinBounds(lease.query(`RELEASE SAVEPOINT ${name}`), options);
      return result;
    } catch (error) {
      // Before anything else: what its function still has under way is not to reach the transaction around it.
      inner.end();
      widen();
      if (lease.live && !this.isOver)
        await lease.undo(`ROLLBACK TO SAVEPOINT ${name}; RELEASE SAVEPOINT ${name}`, options);
      throw error;
    } finally {
      inner.end();
      scope.transaction = null;
    }
  }

  /** What of this cannot be had inside of a transaction, or null. */
  #wrongInside({ isolation, deferrable, retry, propagation }: TransactionOptions): BadOption | null {
    const own = this.#isolation;
    if ((isolation ?? own) !== own || deferrable === true)
      return new BadOption(
        deferrable === true ? 'deferrable' : 'isolation',
        `a nested transaction has the isolation level of the one around it (${own ?? "the server's default"}), and cannot be ${deferrable === true ? 'deferrable' : isolation}: ask for it outside, or with propagation: 'new'`,
      );
    if (retry)
      return new BadOption(
        'retry',
        "transaction: retry is given to a nested one: only the outermost can be tried again, for the server undoes all of it; give retry there, or propagation: 'new' beside it",
      );
    if (propagation !== 'new') return null;
    return new BadOption(
      'propagation',
      "transaction: propagation is 'new' in the transaction of a transaction, which is always nested: ask the pool for it",
    );
  }

  #isIn(outer: Transaction): boolean {
    for (let at = this.#outer; at !== null; at = at.#outer) if (at === outer) return true;
    return false;
  }

  /** Waits for nested ones that nobody awaited. */
  settled(): Promise<unknown> {
    return this.#last;
  }

  end(): void {
    this.#over = true;
  }

  #assertOpen(): void {
    if (this.isOver) throw new StaleHandle(OVER);
  }
}

export async function transact<R>(
  engine: Engine,
  acquire: (options: TransactionOptions) => Promise<Lease>,
  fn: (tx: Transaction) => Promise<R>,
  options: TransactionOptions,
): Promise<R> {
  const wrong = wrongInTransaction(options);
  if (wrong !== null) throw wrong;
  if (typeof fn !== 'function')
    throw new TypeError(
      `transaction: the first argument is ${show(fn)}: give the function that does the work, (tx) => …`,
    );
  const outer = currentTransaction(engine) as Transaction | null;
  if (outer && options.propagation !== 'new') return outer.transaction(fn, options);
  const retries = new Retries(options.retry);
  const isAborted = () => options.signal?.aborted === true;
  for (let attempt = 1; ; attempt++) {
    try {
      return await once(engine, acquire, fn, options);
    } catch (error) {
      const pause = retries.pauseAfter(error, attempt, engine.settings.random);
      if (pause === null || isAborted()) throw error;
      // Nothing could be done any more after it, and what comes of trying says less than this error does.
      if (Date.now() + pause >= Number(options.deadline ?? Number.POSITIVE_INFINITY)) throw error;
      engine.tally.retries++;
      await pausedFor(pause, options.signal);
      if (isAborted()) throw error;
    }
  }
}

function wrongInTransaction(options: TransactionOptions): BadOption | null {
  return wrongCall('transaction', options) ?? wrongIn(options) ?? wrongRetry(options.retry);
}

/** Ends early when the signal fires. */
function pausedFor(ms: number, signal: AbortSignal | null | undefined): Promise<void> {
  return new Promise((resolve) => {
    const over = () => {
      clearTimeout(timer);
      unhook?.();
      resolve();
    };
    const timer = after(ms, over);
    const unhook = signal ? onAbort(signal, over) : null;
  });
}

async function once<R>(
  engine: Engine,
  acquire: (options: TransactionOptions) => Promise<Lease>,
  fn: (tx: Transaction) => Promise<R>,
  options: TransactionOptions,
): Promise<R> {
  const scope = newScope(engine, 'own');
  const lease = await runIn(scope, () => acquire(options));
  const tx = new Transaction(lease, engine, null, options.isolation ?? undefined);
  scope.transaction = tx;
  try {
    await lease.query(beginText(options));
    const result = await runIn(scope, () => fn(tx));
    await lease.unlessLeftOpen(tx.settled());
    tx.end();
    await lease.settled();
    if ((await lease.commit()) === 'ROLLBACK') throw new TransactionAborted();
    return result;
  } catch (error) {
    tx.end();
    if (lease.live) await lease.undo('ROLLBACK');
    throw error;
  } finally {
    scope.transaction = null;
    if (lease.live) lease.release();
  }
}

function beginText({ isolation, readOnly, deferrable }: TransactionOptions): string {
  const parts = ['BEGIN'];
  if (isolation) parts.push(`ISOLATION LEVEL ${isolation.toUpperCase()}`);
  if (readOnly === true) parts.push('READ ONLY');
  if (readOnly === false) parts.push('READ WRITE');
  if (deferrable === true) parts.push('DEFERRABLE');
  return parts.join(' ');
}

/** `?` stands for the savepoint's name. */
function savepointText({ readOnly }: TransactionOptions): string {
  if (typeof readOnly !== 'boolean') return 'SAVEPOINT ?';
  return `SAVEPOINT ?; SET TRANSACTION READ ${readOnly ? 'ONLY' : 'WRITE'}`;
}
