/**
 * The pool in Express (`@sluice/pool/express`): a middleware that gives each request a connection that surely comes back,
 * a health check, start and shutdown. Express is not a dependency.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { wrongCall } from './call-options.ts';
import type { Lease } from './lease.ts';
import type { Pool } from './pool.ts';
import { after } from './timers.ts';
import { health, RequestConnection, type WebOptions } from './web.ts';

type Next = (error?: unknown) => void;

/** A request that has passed the middleware. */
export interface RequestWithDb {
  /** The request's own lease, the same each time; given back when the response has ended or the client has gone. */
  db(): Promise<Lease>;
}

/** Middleware: adds `req.db()`, and answers the health check on its path. Throws BadOption. */
export function sluicePool(pool: Pool, options: WebOptions = {}) {
  const wrong = wrongCall('express', options);
  if (wrong !== null) throw wrong;
  const { healthPath = '/health', healthTimeoutMillis } = options;
  return (request: IncomingMessage, response: ServerResponse, next: Next): void => {
    if (healthPath !== null && request.url?.split('?')[0] === healthPath) {
      health(pool, healthTimeoutMillis ?? undefined).then((report) => {
        response.statusCode = report.ok ? 200 : 503;
        response.setHeader('content-type', 'application/json');
        response.end(JSON.stringify(report));
      }, next);
      return;
    }
    const connection = new RequestConnection(pool);
    (request as IncomingMessage & RequestWithDb).db = () => connection.acquire();
    // 'close' comes after 'finish' too, and alone when the client has gone.
    response.once('close', () => connection.end());
    pool.scope(() => next());
  };
}

/** Waits for the pool, then listens. */
export async function start(
  app: { listen(port: number, callback: (error?: Error) => void): Server },
  pool: Pool,
  port: number,
): Promise<Server> {
  await pool.wait();
  return new Promise((resolve, reject) => {
    const server: Server = app.listen(port, (error) => (error ? reject(error) : resolve(server)));
  });
}

/** Takes no more requests, lets those under way finish, then drains the pool. Rejects with BadOption, before that. */
export async function stop(server: Server, pool: Pool, options: WebOptions = {}): Promise<void> {
  const wrong = wrongCall('express', options);
  if (wrong !== null) throw wrong;
  const drainTimeoutMillis = options.drainTimeoutMillis ?? 10_000;
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeIdleConnections();
  const timer = after(drainTimeoutMillis, () => server.closeAllConnections());
  await closed;
  clearTimeout(timer);
  await pool.drain({ timeoutMillis: drainTimeoutMillis });
}
