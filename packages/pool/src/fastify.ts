/**
 * The pool in Fastify (`@sluice/pool/fastify`): waits for it at start, answers a health check, gives each request a
 * connection that surely comes back, and drains at `close`. Fastify is not a dependency.
 */

import { wrongCall } from './call-options.ts';
import type { PoolOptions } from './contract.ts';
import type { Lease } from './lease.ts';
import { Pool } from './pool.ts';
import { health, RequestConnection, type WebOptions } from './web.ts';

interface ReplyLike {
  code(status: number): ReplyLike;
  send(body: unknown): unknown;
}

/** What of a Fastify instance is used. */
interface FastifyLike {
  decorate(name: string, value: unknown): unknown;
  decorateRequest(name: string, value: unknown): unknown;
  addHook(name: string, hook: (...args: never[]) => unknown): unknown;
  get(path: string, handler: (request: unknown, reply: ReplyLike) => unknown): unknown;
}

export interface FastifyPoolOptions extends WebOptions {
  /** A pool, or what to make one with. One that was passed in is drained at `close` too. */
  pool: Pool | PoolOptions;
}

/** On the request: `await request.db()` gives its own lease, the same each time, given back after the response. */
export type RequestDb = () => Promise<Lease>;

/** A Fastify plugin: `app.register(sluicePool, { pool })`; then `app.pool` and `request.db()`. Rejects with BadOption. */
export async function sluicePool(app: unknown, options: FastifyPoolOptions): Promise<void> {
  const fastify = app as FastifyLike;
  const wrong = wrongCall('fastify', options);
  if (wrong !== null) throw wrong;
  const pool = options.pool instanceof Pool ? options.pool : new Pool(options.pool);
  const { healthPath = '/health', healthTimeoutMillis } = options;
  const drainTimeoutMillis = options.drainTimeoutMillis ?? 10_000;
  const connections = new WeakMap<object, RequestConnection>();
  fastify.decorate('pool', pool);
  const connectionOf = (request: object) => {
    let connection = connections.get(request);
    if (connection === undefined) connections.set(request, (connection = new RequestConnection(pool)));
    return connection;
  };
  fastify.decorateRequest('db', function (this: object): Promise<Lease> {
    return connectionOf(this).acquire();
  });
  // Also of a request that has asked for nothing yet: its client is gone, and its handler may ask later.
  const giveBack = async (request: object) => connectionOf(request).end();
  fastify.addHook('onResponse', giveBack);
  fastify.addHook('onTimeout', giveBack);
  fastify.addHook('onRequestAbort', giveBack);
  fastify.addHook('onRequest', ((_request: object, _reply: unknown, done: () => void) => pool.scope(done)) as never);
  fastify.addHook('onReady', async () => pool.wait());
  fastify.addHook('onClose', async () => pool.drain({ timeoutMillis: drainTimeoutMillis }));
  if (healthPath !== null)
    fastify.get(healthPath, async (_request, reply) => {
      const report = await health(pool, healthTimeoutMillis ?? undefined);
      return reply.code(report.ok ? 200 : 503).send(report);
    });
}

// Fastify keeps a plugin's decorations to itself unless it carries this mark (fastify-plugin sets the same one).
Object.defineProperty(sluicePool, Symbol.for('skip-override'), { value: true });
Object.defineProperty(sluicePool, Symbol.for('fastify.display-name'), { value: '@sluice/pool' });
