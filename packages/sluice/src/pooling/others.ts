/**
 * Statements of a session's that concern other sessions, where its own is followed: the servers that are in the way of a DROP DATABASE, and
 * sessions that are cancelled or ended by the number that their clients were given at the login, which PostgreSQL does not know.
 */
import type { Target } from '../client/numbers.ts';
import type { Session } from '../client/side.ts';
import { carryCancel } from './cancels.ts';
import type { Pooler } from './pooler.ts';

/** Between PostgreSQL's last words and the end of its connection pass some milliseconds, in which drivers tell them to whoever listens. */
const GOODBYE_MS = 10;

/** What was asked for in this turn: a Parse that is answered here is looked at, and so is its Bind behind it. */
const ASKED = new WeakMap<Session, Set<string>>();

/** A request that takes longer to arrive is not waited for. */
const PATIENCE_MS = 1_000;

export function concernsOthers(
  pooler: Pooler,
  session: Session,
  databases: ReadonlySet<string>,
  wanted: readonly Target[],
): void {
  if (databases.size > 0) pooler.emptying.begin(session, databases);
  const targets = notAskedYet(session, wanted);
  if (targets.length === 0) return;
  const { server } = session;
  // It hears of its statement when the requests have arrived, as from PostgreSQL: what others do afterwards is none of its business.
  server?.reading.hold();
  let isHeld = true;
  const release = () => {
    if (isHeld) server?.reading.release();
    isHeld = false;
  };
  setTimeout(release, PATIENCE_MS);
  // Not in the middle of what the session does: it may be about itself.
  setImmediate(() => reach(pooler, session, targets, release));
}

function notAskedYet(session: Session, wanted: readonly Target[]): Target[] {
  if (wanted.length === 0) return [];
  const asked = ASKED.get(session) ?? new Set();
  if (asked.size === 0) setImmediate(() => ASKED.delete(session));
  ASKED.set(session, asked);
  const targets = wanted.filter(({ kind, number }) => !asked.has(`${kind} ${number}`));
  for (const { kind, number } of targets) asked.add(`${kind} ${number}`);
  return targets;
}

/** As PostgreSQL allows it to everybody: what is of the same role. Of the same database, too: others may be another server's, and another's role there. */
function reach(pooler: Pooler, session: Session, targets: readonly Target[], done: () => void): void {
  let underWay = 1;
  const ended = () => {
    if (--underWay === 0) done();
  };
  for (const { kind, number } of targets) {
    const target = pooler.sessions.get(number);
    if (target === undefined) continue;
    const { user, database } = target.identity;
    if (user !== session.identity.user || database !== session.identity.database) continue;
    if (kind === 'terminate')
      target.disconnect('terminating connection due to administrator command', '57P01', { endsAfterMs: GOODBYE_MS });
    // A query that cancels its own session is over before the request could land.
    else if (target !== session) {
      underWay++;
      carryCancel(pooler, number, target.identity.cancelKey, null, ended);
    }
  }
  ended();
}
