/** `pool.query`: one statement on any connection. Owns getting and giving back around it; the statement is pg's. */
import type * as pg from 'pg';
import { boundBy } from './bounds.ts';
import type { AcquireOptions } from './contract.ts';
import type { Engine } from './engine.ts';
import { QueryCancelled } from './errors.ts';
import { obtain } from './handout.ts';
import { checkRequest } from './options.ts';
import { onAbort } from './signals.ts';

type Callback = (error: unknown, result?: unknown) => void;

/** A config may carry how to ask for the connection, and how long the statement may take. */
export function poolQuery(engine: Engine, text: unknown, values: unknown, callback: Callback): void {
  const options = askedIn(text);
  const signal = options?.signal;
  const wrong = checkRequest(options);
  if (wrong !== null) {
    process.nextTick(callback, wrong);
    return;
  }
  obtain(engine, options, (error, conn) => {
    if (conn === null) {
      // Not from inside of the pool: what it throws is the application's, and others wait for what comes next here.
      process.nextTick(callback, error);
      return;
    }
    if (options !== undefined) conn.bound = boundBy({ deadline: options.deadline }, null);
    const { generation } = conn;
    const { compat } = engine.settings;
    const done = signal ? atOnce(signal, callback) : callback;
    let over = false;
    const finish: Callback = (queryError, result) => {
      if (over) return;
      over = true;
      // pg-pool closes the connection after any error; here only one that is broken is closed.
      if (conn.generation === generation) engine.release(conn, generation, compat ? queryError : undefined);
      if (queryError) done(queryError);
      else done(undefined, result);
    };
    try {
      conn.client.query(text, values, finish);
    } catch (thrown) {
      finish(thrown);
    }
  });
}

type Connect = (
  callback: (error: unknown, client?: pg.PoolClient, release?: (error?: Error) => void) => void,
) => unknown;

/**
 * The same by a `connect` that somebody has put in place of the pool's own (a subclass, an instrumentation), as pg-pool goes by it in any
 * case. It may call back or return a promise.
 */
export function queryByConnect(
  connect: Connect,
  isCompat: boolean,
  text: unknown,
  values: unknown,
  callback: Callback,
): void {
  let got = false;
  const use = (error: unknown, client?: pg.PoolClient, release?: (error?: Error) => void): void => {
    if (got) return;
    got = true;
    if (error || client === undefined) {
      callback(error ?? new Error('connect() gave no client'));
      return;
    }
    const giveBack = release ?? ((failure?: Error) => client.release(failure));
    let over = false;
    const finish: Callback = (failure, result) => {
      if (over) return;
      over = true;
      giveBack(isCompat ? (failure as Error | undefined) : undefined);
      if (failure) callback(failure);
      else callback(undefined, result);
    };
    try {
      (client.query as (...args: unknown[]) => unknown)(text, values, finish);
    } catch (thrown) {
      finish(thrown);
    }
  };
  try {
    const result = connect(use) as Promise<pg.PoolClient | undefined> | undefined;
    if (typeof result?.then === 'function') result.then((client) => client && use(null, client), use);
  } catch (thrown) {
    use(thrown);
  }
}

/** The caller hears of its abort at once; the connection stays aside until the cancel has landed. */
function atOnce(signal: AbortSignal, callback: Callback): Callback {
  let told = false;
  const once: Callback = (error, result) => {
    if (told) return;
    told = true;
    unhook();
    callback(error, result);
  };
  const unhook = onAbort(signal, () => {
    const text =
      'the query was aborted by its signal and is being cancelled at the server; whether it took effect is not known';
    process.nextTick(once, new QueryCancelled('signal', text, signal.reason));
  });
  return once;
}

const ASKS = ['signal', 'deadline', 'priority', 'tenant'] as const;

function askedIn(config: unknown): AcquireOptions | undefined {
  if (typeof config !== 'object' || config === null) return undefined;
  if (!ASKS.some((name) => (config as AcquireOptions)[name] !== undefined)) return undefined;
  const { signal, deadline, priority, tenant } = config as AcquireOptions;
  return { signal, deadline, priority, tenant };
}
