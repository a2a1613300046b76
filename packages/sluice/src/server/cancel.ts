/** Carrying a cancel request to a server: a connection of its own, one message, and the wait until it is closed. */
import { cancelRequest } from '@sluice/wire';
import { DISCARD } from '../net/conn.ts';
import { dial } from '../net/dial.ts';
import type { ServerIdentity } from './holder.ts';

/**
 * Sends the request and calls back when the server has closed the connection: from then on PostgreSQL has signalled the
 * backend, and no later query of that backend can be hit ("Canceling Requests in Progress" in the manual's chapter 53).
 */
export function sendCancel(to: ServerIdentity, timeoutMs: number, done: (error: Error | null) => void): void {
  dial({ host: to.host, port: to.port, timeoutMs, tls: to.tls }).conn.then((conn) => {
    const message = cancelRequest(to.processId, to.cancelKey);
    const late = () => conn.destroy(Object.assign(new Error('cancel_wait_timeout'), { code: 'ETIMEDOUT' }));
    const timer = timeoutMs > 0 ? setTimeout(late, timeoutMs) : undefined;
    conn.handler = {
      ...DISCARD,
      onClose: (error) => {
        clearTimeout(timer);
        done(error);
      },
    };
    conn.write(message, 0, message.length);
    conn.resume();
  }, done);
}
