/**
 * What the queries of a hold are bound to, signals and a point in time, and who is told when that is reached. Knows no connection.
 */
import type { AcquireOptions } from './contract.ts';
import { onAbort } from './signals.ts';
import { after } from './timers.ts';

/** What the queries of a hold are bound to: what its `acquire`, `use` or `transaction` was given. */
export interface Bound {
  readonly signals: readonly AbortSignal[];
  /** Epoch milliseconds; Infinity: none. */
  readonly deadline: number;
}

/**
 * How long past its bound what is on its way to the caller is waited for: what a cancel has come to, the answer to a COMMIT. Without it
 * nobody knows what took effect, which is worse than to be late by so much.
 */
export const LAST_WORD_MS = 100;

/** The bounds that these options put to queries, besides others; null: none. */
export function boundBy(options: AcquireOptions | undefined, besides: Bound | null): Bound | null {
  if (options === undefined) return besides;
  const { signal, deadline } = options;
  if (!signal && (deadline ?? null) === null) return besides;
  return {
    signals: [...(besides?.signals ?? []), ...(signal ? [signal] : [])],
    deadline: Math.min(besides?.deadline ?? Number.POSITIVE_INFINITY, Number(deadline ?? Number.POSITIVE_INFINITY)),
  };
}

/** A timer that lets what has come in meanwhile be heard first, as behind a standstill of the process. */
export function later(ms: number, callback: () => void): NodeJS.Timeout | undefined {
  return after(ms, () => setImmediate(callback));
}

/** In the place of what comes too late. */
export const LATE: unique symbol = Symbol('late');

/** What the work comes to, or LATE when a bound was reached `graceMs` ago and more. The work itself is not stopped. */
export function inTime<T>(work: Promise<T>, bound: Bound | null, graceMs: number): Promise<T | typeof LATE> {
  if (bound === null) return work;
  return new Promise((resolve, reject) => {
    const off = whenReached(bound, graceMs, () => resolve(LATE));
    work.finally(off).then(resolve, reject);
  });
}

/** Calls back once, `graceMs` after the bound is reached, unless the function that is returned was called before. */
function whenReached({ signals, deadline }: Bound, graceMs: number, callback: () => void): () => void {
  let timer: NodeJS.Timeout | undefined;
  let unhooks: (() => void)[] = [];
  const off = () => {
    clearTimeout(timer);
    for (const unhook of unhooks) unhook();
    unhooks = [];
  };
  const fired = () => {
    off();
    timer = later(graceMs, callback);
  };
  if (signals.some(({ aborted }) => aborted)) {
    fired();
    return off;
  }
  unhooks = signals.map((signal) => onAbort(signal, fired));
  timer = later(Math.max(0, deadline + graceMs - Date.now()), () => {
    off();
    callback();
  });
  return off;
}
