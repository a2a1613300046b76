/**
 * A connection in somebody's hands, disposable, and dead after its release: a stale handle throws and never reaches the
 * next holder. Owns the check of its generation; what is behind it is the engine's.
 */
import type * as pg from 'pg';
import { boundBy, inTime, LAST_WORD_MS, LATE } from './bounds.ts';
import { abandonQuery } from './cancel.ts';
import { commitFailure, lostBeforeCommit, maybeCommitted } from './commit-fate.ts';
import type { Conn } from './conn.ts';
import type { AcquireOptions, QueryLimits } from './contract.ts';
import { undo } from './dirt.ts';
import type { Engine } from './engine.ts';
import { messageOf, StaleHandle, TransactionAborted } from './errors.ts';
import { isAnswer } from './evict.ts';
import { clientOf } from './lease-client.ts';
import { closeOpen, quietOrOpen } from './open-query.ts';
import { refuseQuery } from './queries.ts';
import { shownSql, textOf } from './query-config.ts';
import { isBusy, isSpent, lastSent } from './raw-client.ts';
import { firedOf, pastDeadline } from './stopped.ts';
import { LONGEST_MS } from './timers.ts';

/** pg's query signatures, and a config that may carry `signal` and `timeoutMillis`. */
export interface QueryMethod {
  <T extends pg.Submittable>(queryStream: T): T;
  // biome-ignore lint/suspicious/noExplicitAny: pg's own defaults, here and below
  <R extends any[] = any[], I = any[]>(
    config: pg.QueryArrayConfig<I> & QueryLimits,
    values?: pg.QueryConfigValues<I>,
  ): Promise<pg.QueryArrayResult<R>>;
  // biome-ignore lint/suspicious/noExplicitAny: pg's own defaults
  <R extends pg.QueryResultRow = any, I = any[]>(
    textOrConfig: string | (pg.QueryConfig<I> & QueryLimits),
    values?: pg.QueryConfigValues<I>,
  ): Promise<pg.QueryResult<R>>;
  // biome-ignore lint/suspicious/noExplicitAny: pg's own defaults
  <R extends pg.QueryResultRow = any, I = any[]>(
    textOrConfig: string | (pg.QueryConfig<I> & QueryLimits),
    callback: (error: Error, result: pg.QueryResult<R>) => void,
  ): void;
  // biome-ignore lint/suspicious/noExplicitAny: pg's own defaults
  <R extends pg.QueryResultRow = any, I = any[]>(
    text: string,
    values: pg.QueryConfigValues<I>,
    callback: (error: Error, result: pg.QueryResult<R>) => void,
  ): void;
}

export class Lease implements AsyncDisposable, Disposable {
  readonly #engine: Engine;
  readonly #conn: Conn;
  readonly #generation: number;
  #client: pg.PoolClient | null = null;

  /** Made by the pool. */
  constructor(engine: Engine, conn: Conn) {
    this.#engine = engine;
    this.#conn = conn;
    this.#generation = conn.generation;
    conn.asLease = true;
    engine.leaks.track(this, conn);
  }

  /** False once it was released or reclaimed. */
  get live(): boolean {
    return this.#conn.generation === this.#generation;
  }

  /** The pg client, for libraries that need one. It is dead when the lease is: its methods throw, or reject with, StaleHandle. */
  get client(): pg.PoolClient {
    // Who has had it may take his listeners off.
    if (this.#client === null) this.#assertLive('the client was asked for');
    this.#client ??= this.clientWhile(() => this.live);
    return this.#client;
  }

  /** The same for somebody whose time with it is shorter. */
  clientWhile(isLive: () => boolean): pg.PoolClient {
    const holder = { isOver: () => !isLive(), release: (error?: Error | boolean) => this.release(error) };
    return clientOf(this.#engine, this.#conn, holder) as unknown as pg.PoolClient;
  }

  /** Process id of the server's backend, or null. */
  get processID(): number | null {
    return this.#conn.client.processID ?? null;
  }

  /** As pg's `client.query`; a config may carry `signal` and `timeoutMillis`. Throws or rejects StaleHandle when released. */
  get query(): QueryMethod {
    return this.#query as QueryMethod;
  }

  /** Gives the connection back; with an error or `true` it is closed. Throws StaleHandle the second time. */
  release(error?: Error | boolean): void {
    this.#assertLive('release was called');
    this.#engine.leaks.untrack(this);
    this.#engine.release(this.#conn, this.#generation, error);
  }

  /**
   * Ends a transaction; what it left behind is undone in the same message, so that the release has nothing to wait for.
   * Resolves with the command that the server carried out, also when something failed after that.
   */
  async end(command: 'COMMIT' | 'ROLLBACK'): Promise<string> {
    const engine = this.#engine;
    const conn = this.#conn;
    const { client, dirt } = conn;
    // A ROLLBACK is for whoever is in `undo` to give up.
    const send = (sql: string) => (command === 'ROLLBACK' ? this.#patient(sql) : this.unbound(sql));
    if (!conn.watched) return (await send(command)).command;
    // What the connect hook had set would have to be said again after it, and that is the reset's own work. While something is under
    // way nobody knows yet what there is to undo.
    const known = engine.settings.reset === 'lazy' && conn.hooked === 0 && !isBusy(client);
    const sql = known ? undo(dirt, false) : '';
    let ended = '';
    const text = sql === '' ? command : `${command}; ${sql}`;
    try {
      const sent = send(text);
      if (this.live) {
        // Others of the holder's may be under way in front of it.
        const own = lastSent(client);
        conn.onTag = (tag) => {
          if (client._activeQuery === own) ended ||= tag;
        };
      }
      const result: unknown = await sent;
      if (sql !== '' && this.live && !isBusy(client)) {
        conn.cleaned(false);
        engine.tally.resets++;
      }
      return (sql === '' ? (result as pg.QueryResult) : (result as pg.QueryResult[])[0]!).command;
    } catch (error) {
      if (ended === '') throw error;
      return ended;
    } finally {
      if (this.live) conn.onTag = null;
    }
  }

  /** COMMIT. Rejects, and leaves open what became of it, when it is not answered within the bounds of the hold. */
  async commit(): Promise<string> {
    const conn = this.#conn;
    if (this.live && (conn.lost || isSpent(conn.client))) throw lostBeforeCommit(conn.broken);
    const bound = this.live ? conn.bound : null;
    const done = await inTime(this.end('COMMIT'), bound, LAST_WORD_MS).catch((error: unknown) => {
      throw commitFailure(error, conn.lost);
    });
    if (done !== LATE) return done;
    const what = 'COMMIT was not answered in time, and whether the transaction was committed is not known';
    throw maybeCommitted(firedOf(bound!.signals, what) ?? pastDeadline(what));
  }

  /**
   * ROLLBACK, or that of a savepoint: sent at once, and waited for within the bounds of the hold and those of `options`. Where they are
   * reached before, what comes next on the connection waits for it, and so does the next holder. What is open in front of it is asked to
   * end; a connection that does not come to it within resetTimeoutMillis is closed, and so is one whose server never answers it.
   */
  async undo(command: string, options?: AcquireOptions): Promise<void> {
    const conn = this.#conn;
    const bound = boundBy(options, conn.bound);
    const sent: Promise<unknown> = command === 'ROLLBACK' ? this.end(command) : this.#patient(command);
    closeOpen(conn, lastSent(conn.client));
    const done = new Promise<void>((resolve) => {
      const giveUp = (why: string) => {
        this.#giveUp(`${command} ${why}, and the connection was closed`);
        // The client hears of it in a moment, and then what was sent on it has ended.
        setTimeout(resolve, LAST_WORD_MS);
      };
      const { resetTimeoutMs } = this.#engine.settings;
      const late = `was not answered within resetTimeoutMillis (${resetTimeoutMs} ms)`;
      const timer = setTimeout(giveUp, resetTimeoutMs, late);
      const ended = (error?: unknown) => {
        clearTimeout(timer);
        if (error === undefined || isAnswer(error) || !this.live || conn.lost) resolve();
        // It may never have been sent, and the transaction be open.
        else giveUp(`failed without the server's answer (${messageOf(error)})`);
      };
      sent.then(() => ended(), ended);
    });
    // Behind a cancel that has not landed it would be waited for twice.
    await inTime(done, bound, conn.cancels > 0 ? 0 : LAST_WORD_MS);
  }

  /** What was begun on the connection cannot be undone by this. */
  #giveUp(text: string): void {
    if (!this.live) return;
    const { settings, queries } = this.#engine;
    abandonQuery(this.#conn.client, settings.cancelTimeoutMs);
    queries.giveUp(this.#conn, new Error(text));
  }

  /** What a query comes to that these options are not to stop; rejects when their bounds are reached before. */
  async withinBounds<T>(query: Promise<T>, options: AcquireOptions): Promise<T> {
    const bound = boundBy(options, null);
    const done = await inTime(query, bound, LAST_WORD_MS);
    if (done !== LATE) return done;
    const what = 'the nested transaction was not begun or ended in time, and is undone';
    throw firedOf(bound!.signals, what) ?? pastDeadline(what);
  }

  /** The same, without commandTimeoutMillis and pg's own query_timeout too: those would only take it out of the line. */
  #patient(sql: string): Promise<pg.QueryResult> {
    return this.unbound({ text: sql, timeoutMillis: 0, query_timeout: LONGEST_MS } as pg.QueryConfig);
  }

  /** A query that no signal and no deadline of the hold stops. */
  unbound(sql: string | pg.QueryConfig): Promise<pg.QueryResult> {
    const conn = this.#conn;
    // It may be another's by now.
    if (!this.live) return this.query(sql);
    const { bound } = conn;
    conn.bound = null;
    try {
      return this.query(sql);
    } finally {
      if (this.live) conn.bound = bound;
    }
  }

  /**
   * Resolves when nothing is under way any more; rejects where what was begun is not to be committed: a signal has fired or a deadline
   * is over, or for that, or a time limit, one of its queries was not sent; or one was left open.
   */
  async settled(): Promise<void> {
    const conn = this.#conn;
    const { resetTimeoutMs } = this.#engine.settings;
    // What the bound stops has ended a moment later; a ROLLBACK is not to stand in line behind it.
    const open =
      this.live && isBusy(conn.client)
        ? await inTime(quietOrOpen(conn, resetTimeoutMs), conn.bound, LAST_WORD_MS)
        : null;
    if (!this.live) return;
    const { bound, doom } = conn;
    const what = 'the transaction was rolled back';
    const aborted = doom ?? firedOf(bound?.signals ?? [], what);
    if (aborted !== null) throw aborted;
    if (open === LATE || (bound !== null && bound.deadline <= Date.now())) throw pastDeadline(what);
    if (open !== null) throw leftOpen(open, resetTimeoutMs);
  }

  /** Waits for work that may stand in line behind what was left open; rejects when it does. */
  async unlessLeftOpen(work: Promise<unknown>): Promise<void> {
    const conn = this.#conn;
    if (!this.live || !isBusy(conn.client)) {
      await work;
      return;
    }
    const { resetTimeoutMs } = this.#engine.settings;
    const ended = work.then(() => null);
    const open = await Promise.race([ended, quietOrOpen(conn, resetTimeoutMs).then((left) => left ?? ended)]);
    if (open !== null) throw leftOpen(open, resetTimeoutMs);
  }

  /** Puts its queries under the bounds of these options too. Returns what takes them off, with what has befallen it meanwhile. */
  narrow(options: AcquireOptions): () => void {
    const conn = this.#conn;
    if (!this.live) return () => {};
    const { bound, doom } = conn;
    conn.bound = boundBy(options, bound);
    return () => {
      if (!this.live) return;
      conn.bound = bound;
      conn.doom = doom;
    };
  }

  [Symbol.dispose](): void {
    if (this.live) this.release();
  }

  /** Gives it back at the end of an `await using` block. What was left open is undone by the pool. */
  [Symbol.asyncDispose](): Promise<void> {
    if (this.live) this.release();
    return Promise.resolve();
  }

  readonly #query = (...args: unknown[]): unknown => {
    if (this.live) return this.#conn.client.query(...args);
    return refuseQuery(args, this.#stale('a query was sent'));
  };

  #assertLive(what: string): void {
    if (!this.live) throw this.#stale(what);
  }

  #stale(what: string): StaleHandle {
    this.#engine.tally.staleHandles++;
    return new StaleHandle(`${what} on a lease that was released or reclaimed`);
  }
}

function leftOpen(query: object, silentMs: number): TransactionAborted {
  const sql = textOf(query) || `a ${query.constructor?.name}`;
  return new TransactionAborted(
    `the function of the transaction left a query open, on which nothing has moved for ${silentMs} ms (resetTimeoutMillis), so it was rolled back: inside of the function, read it to its end or close it (cursor.close(), stream.destroy()), and await that: ${shownSql(sql)}`,
  );
}
