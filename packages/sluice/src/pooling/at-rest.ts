/**
 * Which connections another process could go on with, since nothing of them is in this one but what can be told; and how they
 * leave it: closed here, without a word to the other side.
 */
import { ClientSession } from '../client/session.ts';
import { type Session, SessionState } from '../client/side.ts';
import { isMovable } from '../net/movable.ts';
import type { Server } from '../server/server.ts';
import type { ServerPool } from './server-pool.ts';

const HANDED_OVER = 'handed over to another process';

/** A client between two transactions. TLS has its keys in this process; a replication or a pin needs the server that is here. */
export function isAtRest(session: Session): session is ClientSession {
  if (!(session instanceof ClientSession) || session.state !== SessionState.Idle) return false;
  const { intake } = session;
  if (session.home.replication || session.pins.length > 0 || !intake.empty || intake.paused) return false;
  return isMovable(session.conn);
}

/** An idle server that nobody here needs; those who wait here are served here. */
export function isSpare(pool: ServerPool, server: Server): boolean {
  if (pool.replication || pool.pool.queue.length > 0 || pool.mode === 'session' || pool.welcome === null) return false;
  return server.settled && server.closedBecause === null && !server.discardOwed && isMovable(server.conn);
}

export function letClientGo(session: ClientSession): void {
  if (isMovable(session.conn)) session.conn.letGo();
  session.drop(HANDED_OVER);
}

export function letServerGo(server: Server): void {
  if (isMovable(server.conn)) server.conn.letGo();
  server.closedBecause = HANDED_OVER;
  server.onClose(null);
}
