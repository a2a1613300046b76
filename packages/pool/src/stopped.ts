/**
 * Why a query was stopped, or never sent, and the error that tells it. Owns the texts: they say what is known of the query's fate, and
 * no more.
 */
import { QueryCancelled } from './errors.ts';
import { isAnswer } from './evict.ts';
import { shownSql } from './query-config.ts';

/** What is known of a query that was stopped. */
export type Fate = keyof typeof FATES;

const FATES = {
  unsent: 'was not sent',
  cancelled: 'was cancelled at the server',
  failed: 'failed as it was about to be cancelled',
  unanswered: 'was given up, and whether it took effect is not known, for its cancel was not answered in time',
  pipelined:
    'was given up, and whether it took effect is not known, for it could not be cancelled alone among those in its pipeline',
  lost: 'was given up, and whether it took effect is not known, for its connection was lost as it was about to be cancelled',
} as const;

/** Those that leave open whether it took effect. */
const OPEN: ReadonlySet<Fate> = new Set(['unanswered', 'pipelined', 'lost']);

/** Errors of queries of which nobody knows whether they took effect. */
const UNKNOWN = new WeakSet<object>();

export function isFateUnknown(error: unknown): boolean {
  return UNKNOWN.has(error as object);
}

/** The query ended with `failure` when it was stopped: has the server said what became of it? */
export function unlessAnswered(error: QueryCancelled, failure: unknown): QueryCancelled {
  if (!isAnswer(failure)) UNKNOWN.add(error);
  return error;
}

export class Stop {
  readonly reason: 'signal' | 'timeout';
  readonly #because: string;
  readonly #cause: unknown;

  constructor(reason: Stop['reason'], because: string, cause?: unknown) {
    this.reason = reason;
    this.#because = because;
    this.#cause = cause;
  }

  /** `failure`: what the query ended with, where it did. */
  error(fate: Fate, failure?: unknown): QueryCancelled {
    const error = new QueryCancelled(this.reason, `the query ${FATES[fate]}: ${this.#because}`, this.#cause ?? failure);
    if (OPEN.has(fate)) UNKNOWN.add(error);
    return error;
  }

  /** By what a query has ended with after its cancel was sent. */
  errorFor(failure: unknown): QueryCancelled {
    // Somebody else has stopped it too, and said so.
    if (failure instanceof QueryCancelled) return failure;
    if ((failure as { code?: unknown } | null)?.code === '57014') return this.error('cancelled');
    return this.error(isAnswer(failure) ? 'failed' : 'lost', failure);
  }
}

export function bySignal(signal: AbortSignal): Stop {
  return new Stop('signal', 'its signal was aborted', signal.reason);
}

export function byTime(timeoutMs: number, sql: string): Stop {
  return new Stop(
    'timeout',
    `it did not end within ${Math.round(timeoutMs)} ms; raise commandTimeoutMillis, timeoutMillis or the deadline, or make it faster: ${shownSql(sql)}`,
  );
}

/** Why nothing more is to be asked, by the first of these signals that has fired; null: none has. */
export function firedOf(signals: readonly AbortSignal[], what: string): QueryCancelled | null {
  const fired = signals.find(({ aborted }) => aborted);
  return fired === undefined ? null : new QueryCancelled('signal', `${what}, for its signal was aborted`, fired.reason);
}

export function pastDeadline(what: string): QueryCancelled {
  return new QueryCancelled(
    'timeout',
    `${what}, for the deadline of its acquire, use or transaction was over: give it a later one, or make what comes before faster`,
  );
}
