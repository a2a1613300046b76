/** `pool.query`: one statement on any connection. Owns getting and giving back around it; the statement is pg's. */
import type { AcquireOptions } from './contract.ts';
import type { Engine } from './engine.ts';
import { QueryCancelled } from './errors.ts';
import { obtain } from './handout.ts';
import { checkRequest } from './options.ts';

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
    const { generation } = conn;
    const { compat } = engine.settings;
    const done = signal === undefined ? callback : atOnce(signal, callback);
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

/** The caller hears of its abort at once; the connection stays aside until the cancel has landed. */
function atOnce(signal: AbortSignal, callback: Callback): Callback {
  let told = false;
  const once: Callback = (error, result) => {
    if (told) return;
    told = true;
    signal.removeEventListener('abort', onAbort);
    callback(error, result);
  };
  const onAbort = () =>
    once(
      new QueryCancelled(
        'signal',
        'the query was aborted by its signal and is being cancelled at the server',
        signal.reason,
      ),
    );
  signal.addEventListener('abort', onAbort, { once: true });
  return once;
}

const ASKS = ['signal', 'deadline', 'priority', 'tenant'] as const;

function askedIn(config: unknown): AcquireOptions | undefined {
  if (typeof config !== 'object' || config === null) return undefined;
  if (!ASKS.some((name) => (config as AcquireOptions)[name] !== undefined)) return undefined;
  const { signal, deadline, priority, tenant } = config as AcquireOptions;
  return { signal, deadline, priority, tenant };
}
