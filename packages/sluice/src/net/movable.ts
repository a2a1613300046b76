import type { Conn } from './conn.ts';
import { FastConn } from './fast-conn.ts';

/** A connection whose descriptor another process could go on with: nothing of it is in this one. */
export function isMovable(conn: Conn): conn is FastConn {
  if (!(conn instanceof FastConn)) return false;
  conn.sendLate();
  return !conn.closed && conn.queued === 0 && conn.fd >= 0;
}
