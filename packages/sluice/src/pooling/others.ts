/**
 * Statements of a session's that concern other sessions, where its own is followed: the servers that are in the way of a DROP DATABASE, and
 * sessions that are cancelled or ended by the number that their clients were given at the login, which PostgreSQL does not know.
 */
import type { Session } from '../client/side.ts';
import type { Signal, Suspicion } from '../sql/suspicion.ts';
import { carryCancel } from './cancels.ts';
import type { Pooler } from './pooler.ts';

export function concernsOthers(
  pooler: Pooler,
  session: Session,
  { databases, signal }: Suspicion,
  numbers: readonly number[],
): void {
  if (databases.size > 0) pooler.emptying.begin(session, databases);
  // Not in the middle of what the session does: it may be about itself.
  if (signal !== null && numbers.length > 0) setImmediate(() => reach(pooler, session, signal, numbers));
}

/** As PostgreSQL allows it to everybody: what is of the same role. Of the same database, too: others may be another server's, and another's role there. */
function reach(pooler: Pooler, session: Session, signal: Signal, numbers: readonly number[]): void {
  for (const number of numbers) {
    const target = pooler.sessions.get(number);
    if (target === undefined) continue;
    const { user, database } = target.identity;
    if (user !== session.identity.user || database !== session.identity.database) continue;
    if (signal === 'terminate') target.disconnect('terminating connection due to administrator command', '57P01');
    // A query that cancels its own session is over before the request could land.
    else if (target !== session) carryCancel(pooler, number, target.identity.cancelKey, null, () => {});
  }
}
