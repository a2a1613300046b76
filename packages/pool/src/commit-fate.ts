/** What became of a COMMIT that was not answered with success, as far as anybody knows. Owns the errors that tell it; runs nothing. */
import { DatabaseDown, messageOf } from './errors.ts';
import { isAnswer } from './evict.ts';
import { MAYBE_COMMITTED } from './retry.ts';
import { isFateUnknown } from './stopped.ts';

/** An error of a COMMIT of which nobody knows what became: not to be done again. */
export function maybeCommitted<E extends Error>(error: E): E {
  MAYBE_COMMITTED.add(error);
  return error;
}

/** The connection was lost while the function of the transaction ran: PostgreSQL has rolled back. `cause`: by what, if that is known. */
export function lostBeforeCommit(cause: Error | null): DatabaseDown {
  const why = cause === null ? '' : `${messageOf(cause)}: `;
  return new DatabaseDown(
    `${why}the connection was lost before COMMIT was sent, and the transaction was rolled back; it can be done again`,
    cause ?? undefined,
  );
}

/** What to throw for a COMMIT that has ended with this. `lost`: the connection is. */
export function commitFailure(error: unknown, lost: boolean): unknown {
  if (isAnswer(error)) return error;
  const isOfPool = (error as { poolCode?: unknown } | null)?.poolCode !== undefined;
  if (isOfPool) return isFateUnknown(error) ? maybeCommitted(error as Error) : error;
  const how = lost ? 'the connection was lost while COMMIT was under way' : 'COMMIT was not answered';
  const what = `${how}, and whether the transaction was committed is not known; look before it is done again`;
  return maybeCommitted(new DatabaseDown(`${messageOf(error)}: ${what}`, error));
}
