/** When a transaction is tried again, and after which pause. Owns the reading of its `retry` option; runs nothing. */
import { wrongCall } from './call-options.ts';
import { BadOption } from './errors.ts';
import { show } from './option-check.ts';

export interface RetryOptions {
  /** Tries in all, the first included. 1 and up; default 3. */
  attempts?: number | undefined;
  /** First pause in milliseconds; doubles at each try, each shortened at random by up to a half. Default 20. */
  minDelayMillis?: number | undefined;
  /** Longest pause; Infinity: no bound. Default 1000, or `minDelayMillis` where that is longer. */
  maxDelayMillis?: number | undefined;
  /** SQLSTATEs that are worth another try. Default 40001 (serialization failure) and 40P01 (deadlock). */
  codes?: readonly string[] | undefined;
}

/** Errors of a COMMIT of which nobody knows what became. */
export const MAYBE_COMMITTED = new WeakSet<object>();

export type Retry = boolean | RetryOptions | null | undefined;

/** What of this makes no sense, or null. */
export function wrongRetry(retry: Retry): BadOption | null {
  if (typeof (retry ?? false) === 'boolean') return null;
  if (typeof retry !== 'object' || Array.isArray(retry))
    return new BadOption(
      'retry',
      `transaction: retry is ${show(retry)}: it must be true, false, or an object, such as { attempts: 3 }`,
    );
  const wrong = wrongCall('transaction: retry', retry);
  if (wrong !== null) return wrong;
  const { minDelayMillis, maxDelayMillis } = retry!;
  if ((minDelayMillis ?? 0) <= (maxDelayMillis ?? Number.POSITIVE_INFINITY)) return null;
  return new BadOption(
    'minDelayMillis',
    `transaction: retry: minDelayMillis is ${minDelayMillis}: it must be at most maxDelayMillis, which is ${maxDelayMillis}`,
  );
}

export class Retries {
  readonly #attempts: number;
  readonly #minMs: number;
  readonly #maxMs: number;
  readonly #codes: readonly string[];

  /** Of options in which nothing is wrong. */
  constructor(retry: Retry) {
    const { attempts, minDelayMillis, maxDelayMillis, codes } = typeof retry === 'object' ? (retry ?? {}) : {};
    this.#attempts = retry ? (attempts ?? 3) : 1;
    this.#minMs = minDelayMillis ?? 20;
    this.#maxMs = maxDelayMillis ?? Math.max(1_000, this.#minMs);
    this.#codes = codes ?? ['40001', '40P01'];
  }

  /** The pause in milliseconds before another try, when the `attempt`th has failed with this; null: there is none. */
  pauseAfter(error: unknown, attempt: number, random: () => number): number | null {
    // What may have been committed is not done again, whatever its code.
    if (attempt >= this.#attempts || MAYBE_COMMITTED.has(error as object)) return null;
    const code = (error as { code?: string } | null)?.code ?? '';
    if (!this.#codes.includes(code)) return null;
    return Math.min(this.#maxMs, this.#minMs * 2 ** (attempt - 1)) * (1 - 0.5 * random());
  }
}
