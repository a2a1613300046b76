/** Carrying cancel requests to a server: a connection of its own, one message, and the wait until it is closed. */
import { cancelRequest } from '@sluice/wire';
import { type Conn, DISCARD } from '../net/conn.ts';
import { dial } from '../net/dial.ts';
import { timeLimit } from '../net/time-limit.ts';
import type { CancelTarget } from './holder.ts';
import type { Server } from './server.ts';

/** A server that is to stop has so long; then its connection is cut. */
const STOP_MS = 5_000;
/** Between the first two requests; twice as long between each further pair. */
const STOP_AGAIN_MS = 100;

/**
 * Sends the request and calls back when the server has closed the connection: from then on PostgreSQL has signalled the
 * backend, and no later query of that backend can be hit ("Canceling Requests in Progress" in the manual's chapter 53). Where it
 * has not, after `timeoutMs` or an error, the request may be with it all the same: `mayStillLand`. Where `connected` says no, nothing
 * is sent.
 */
export function sendCancel(
  to: CancelTarget,
  timeoutMs: number,
  done: (error: Error | null, mayStillLand: boolean) => void,
  connected: (conn: Conn) => boolean = () => true,
): void {
  const { host, port, address = null, names = null, tls } = to;
  dial({ host, port, address, names, timeoutMs, tls }).conn.then(
    (conn) => {
      if (!connected(conn)) {
        conn.destroy();
        done(null, false);
        return;
      }
      const message = cancelRequest(to.processId, to.cancelKey);
      const late = () => conn.destroy(Object.assign(new Error('cancel_wait_timeout'), { code: 'ETIMEDOUT' }));
      const timer = timeLimit(timeoutMs, late);
      conn.handler = {
        ...DISCARD,
        onClose: (error) => {
          clearTimeout(timer);
          done(error, error !== null);
        },
      };
      conn.write(message, 0, message.length);
      conn.resume();
    },
    (error) => done(error, false),
  );
}

/**
 * Ends what a server does for a client that is gone. A request that arrives before the query has begun does nothing, and
 * one statement of several may outlive its own: so they are repeated until the server has closed the connection.
 */
export function stopServer(server: Server, reason: string, timeoutMs: number): void {
  server.abandon(reason, STOP_MS);
  let underWay = false;
  const ask = (againMs: number) => {
    if (server.gone) return;
    // One at a time: where nobody answers, more of them are no help.
    if (!underWay) {
      underWay = true;
      sendCancel(server.identity, timeoutMs, () => {
        underWay = false;
      });
    }
    setTimeout(ask, againMs, againMs * 2).unref();
  };
  ask(STOP_AGAIN_MS);
}
