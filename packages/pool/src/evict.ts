/** Which errors cost a connection (HikariCP's list of SQLSTATEs, in PostgreSQL's terms). Knows nothing of pools. */

import type { ServerError } from './conn.ts';
import type { PoolOptions } from './contract.ts';
import { messageOf } from './errors.ts';
import type { RawClient } from './raw-client.ts';

/** Shutdown by an administrator, crash, starting up, database dropped, idle session, idle transaction or long transaction ended. */
const FATAL_STATES: ReadonlySet<string> = new Set(['57P01', '57P02', '57P03', '57P04', '57P05', '25P03', '25P04']);

/** Does an error of the server's end the session? Its level is told in the server's language, so the code counts as well. */
function endsSession({ severity, code = '' }: ServerError): boolean {
  return severity === 'FATAL' || severity === 'PANIC' || code.startsWith('08') || FATAL_STATES.has(code);
}

/** Has the server said with this what became of the query, and gone on? */
export function isAnswer(error: unknown): boolean {
  const { severity } = (error ?? {}) as ServerError;
  return severity !== undefined && !endsSession(error as ServerError);
}

function asked(override: PoolOptions['evictOn'], error: ServerError, client: RawClient): boolean | undefined {
  try {
    return override?.(error, client as never);
  } catch (thrown) {
    // pg is in the middle of telling the query's sender.
    process.emitWarning(`evictOn threw, and the default was taken: ${messageOf(thrown)}`);
    return undefined;
  }
}

/** Must the connection not be used again after this error? `wantsPrimary`: a read-only server is the wrong one. */
export function spoilt(
  error: ServerError,
  override: PoolOptions['evictOn'],
  client: RawClient,
  wantsPrimary: boolean,
): boolean {
  const verdict = asked(override, error, client);
  if (verdict !== undefined) return verdict;
  const code = error.code ?? '';
  if (endsSession(error)) return true;
  if (code === '25006') return wantsPrimary;
  // "cached plan must not change result type": the named statement can't be used on this connection any more.
  return code === '0A000' && error.routine === 'RevalidateCachedQuery';
}
