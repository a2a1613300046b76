/**
 * Queries on pooled clients: what passes through `client.query` is noted, refused when nobody holds the client, and
 * limited in time. Owns the wrapper and the safe cancel; what a query says is the caller's.
 */

import { LAST_WORD_MS, later } from './bounds.ts';
import { canCancel, sendCancel } from './cancel.ts';
import type { Conn } from './conn.ts';
import type { QueryLimits } from './contract.ts';
import type { Engine } from './engine.ts';
import { messageOf, StaleHandle } from './errors.ts';
import { wrongIn } from './options.ts';
import { bare, isSubmittable } from './query-config.ts';
import { dequeue, destroy, holdQueue, isUnderWay, lastSent, type RawClient, releaseQueue } from './raw-client.ts';
import { bound, isInScope } from './scope.ts';
import { onAbort } from './signals.ts';
import { bySignal, byTime, firedOf, pastDeadline, type Stop } from './stopped.ts';
import { after } from './timers.ts';

/** Between one cancel request and the next for the same query, doubled each time. */
const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 1000;

type Callback = (error: unknown, result?: unknown) => void;
type Method = (this: RawClient, ...args: unknown[]) => unknown;

/** Where a query under way stands, for its cancel. */
interface Flight {
  query: object | undefined;
  over: boolean;
}

export class Queries {
  readonly #engine: Engine;

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /** Lays the wrapper over the client's `query`; the class's own method, patched or not, stays behind it. */
  adopt(conn: Conn): void {
    const { client } = conn;
    const engine = this.#engine;
    const prototype = Object.getPrototypeOf(client) as { query?: Method };
    const own = Object.hasOwn(client, 'query') ? (client.query as Method) : null;
    if (own === null && typeof prototype.query !== 'function') return;
    client.query = (...args: unknown[]): unknown => {
      const query = own ?? prototype.query!;
      if (conn.asking) return query.apply(client, args);
      if (conn.generation < 0 && conn.hooks === 0 && !engine.settings.compat)
        return refuseQuery(args, new StaleHandle('a query was sent on a client that had been released'));
      engine.tally.queries++;
      if (isInScope()) bindCallback(args);
      if (conn.hooks > 0) return conn.noted(args, engine.clock.refresh(), () => query.apply(client, args));
      const limits = limitsOf(args[0]);
      const wrong = limits === null ? null : wrongIn(limits);
      if (wrong !== null) return refuseQuery(args, wrong);
      conn.note(args[0], engine.clock.refresh());
      const timeoutMs = limits?.timeoutMillis ?? engine.settings.commandTimeoutMs;
      const { bound } = conn;
      const isAlive = isSubmittable(args[0]);
      if (isAlive) conn.alive.add(args[0] as object);
      if ((limits === null && timeoutMs === 0 && bound === null) || isAlive) return query.apply(client, args);
      const signals = [...(limits?.signal ? [limits.signal] : []), ...(bound?.signals ?? [])];
      const leftMs = bound === null ? Number.POSITIVE_INFINITY : bound.deadline - Date.now();
      const unwanted =
        leftMs <= 0 ? pastDeadline('the query was not sent') : firedOf(signals, 'the query was not sent');
      if (unwanted !== null) {
        conn.doom ??= unwanted;
        return refuseQuery(args, unwanted);
      }
      return this.#limited(conn, query, args, signals, Math.min(leftMs, timeoutMs || leftMs));
    };
  }

  #limited(conn: Conn, query: Method, args: unknown[], signals: readonly AbortSignal[], timeoutMs: number): unknown {
    const callback = callbackOf(args) ?? (args[0] as { callback?: Callback } | null)?.callback ?? null;
    const values = typeof args[1] === 'function' ? undefined : args[1];
    const result = this.#race(conn, query, bare(args[0]), values, signals, timeoutMs);
    if (callback === null) return result;
    // What it throws is the application's, as when pg calls it.
    result.then(
      (value) => process.nextTick(callback, null, value),
      (error) => process.nextTick(callback, error),
    );
    return undefined;
  }

  /**
   * Settles when the query has: a cancelled one after its ReadyForQuery and with no cancel request on its way. Where that takes too long (a
   * dead network) it is rejected without: what comes next on the connection waits, and so does the next holder.
   */
  #race(
    conn: Conn,
    query: Method,
    config: unknown,
    values: unknown,
    signals: readonly AbortSignal[],
    timeoutMs: number,
  ): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const { client, generation } = conn;
      const sql = conn.lastSql;
      const flight: Flight = { query: undefined, over: false };
      let stopped: Stop | null = null;
      let landing: Promise<void> | null = null;
      let lastWord: NodeJS.Timeout | undefined;
      /** Its holder hears that it was stopped, and it may have taken effect, or do so yet. */
      const doom = (error: Error) => {
        if (conn.generation === generation) conn.doom ??= error;
        reject(error);
      };
      let settle = () => doom(stopped!.error('unanswered'));
      const stop = (why: Stop) => {
        if (flight.over || stopped !== null) return;
        stopped = why;
        const wasQueued = dequeue(client, flight.query);
        if (!wasQueued && isUnderWay(client, flight.query)) {
          lastWord = later(LAST_WORD_MS, () => settle());
          landing = this.cancel(conn);
          return;
        }
        // What does not run is left alone: a cancel would reach another's.
        doom(why.error(wasQueued ? 'unsent' : 'pipelined'));
        end(null);
        conn.queueChanged();
      };
      const end: Callback = (error, value) => {
        if (flight.over) return;
        flight.over = true;
        clearTimeout(timer);
        for (const unhook of unhooks) unhook();
        settle = () => {
          clearTimeout(lastWord);
          if (error) reject(stopped?.errorFor(error) ?? error);
          else resolve(value);
        };
        if (landing === null) settle();
        else landing.then(settle, settle);
      };
      const isLimited = timeoutMs > 0 && timeoutMs !== Number.POSITIVE_INFINITY;
      const timer = isLimited ? after(timeoutMs, () => stop(byTime(timeoutMs, sql))) : undefined;
      const unhooks = signals.map((signal) => onAbort(signal, () => stop(bySignal(signal))));
      try {
        query.call(client, config, values, end);
        flight.query = lastSent(client);
      } catch (error) {
        end(error);
      }
    });
  }

  /**
   * Stops what runs on the connection. Resolves when the request can't reach anything any more and the session is ready;
   * what is queued behind waits for that. A request that does not land in time costs the connection.
   */
  cancel(conn: Conn): Promise<void> {
    const engine = this.#engine;
    const { cancelTimeoutMs } = engine.settings;
    engine.tally.cancels++;
    if (!canCancel(conn.client)) {
      this.giveUp(conn, new Error('the client can not be cancelled; its connection was closed'));
      return Promise.resolve();
    }
    conn.cancels++;
    holdQueue(conn.client);
    return new Promise((resolve) => {
      let over = false;
      const landed = (error: unknown) => {
        if (over) return;
        over = true;
        clearTimeout(timer);
        engine.clock.refresh();
        if (error) this.giveUp(conn, new Error(`cancel failed: ${messageOf(error)}`, { cause: error }));
        conn.cancels--;
        resolve();
        if (conn.cancels > 0) return;
        releaseQueue(conn.client);
        conn.queueChanged();
        engine.cancelsLanded(conn);
      };
      const timer = setTimeout(() => landed(new Error('the query did not stop in time')), cancelTimeoutMs);
      this.#insist(conn, () => over).then(landed, landed);
    });
  }

  /** PostgreSQL drops a cancel that comes before its session has read the query; so it is sent until the query has ended. */
  async #insist(conn: Conn, isOver: () => boolean): Promise<void> {
    const { cancelTimeoutMs } = this.#engine.settings;
    for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS)) {
      await sendCancel(conn.client, cancelTimeoutMs);
      if (isOver() || (await turnEndsWithin(conn, pauseMs)) || isOver()) return;
    }
  }

  /** The connection cannot be brought to rest: it is closed under its holder. */
  giveUp(conn: Conn, error: Error): void {
    conn.broken ??= error;
    destroy(conn.client);
  }
}

/** False after `ms` in which the turn went on. */
function turnEndsWithin(conn: Conn, ms: number): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms, false);
    conn.whenTurnEnds(() => {
      clearTimeout(timer);
      resolve(true);
    });
  });
}

function limitsOf(config: unknown): QueryLimits | null {
  if (typeof config !== 'object' || config === null) return null;
  const { signal, timeoutMillis } = config as QueryLimits;
  return (signal ?? timeoutMillis ?? null) === null
    ? null
    : { signal: signal ?? undefined, timeoutMillis: timeoutMillis ?? undefined };
}

export function callbackOf(args: readonly unknown[]): Callback | null {
  const last = typeof args[1] === 'function' ? args[1] : args[2];
  return typeof last === 'function' ? (last as Callback) : null;
}

/** The callback of a query runs in the scope of whoever sent it, not of whoever had the connection dialled. */
function bindCallback(args: unknown[]): void {
  for (const at of [1, 2]) if (typeof args[at] === 'function') args[at] = bound(args[at] as Callback);
}

/** Answers a query that is not sent, in the form in which it was asked. */
export function refuseQuery(args: readonly unknown[], error: Error): unknown {
  const callback = callbackOf(args);
  if (callback !== null) {
    process.nextTick(callback, error);
    return undefined;
  }
  if (isSubmittable(args[0])) throw error;
  return Promise.reject(error);
}
