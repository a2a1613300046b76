/**
 * What is due by the clock: the core's tick, and the timeouts of clients. Timeouts are numbers that one coarse sweep
 * compares, so a query starts no timer. Knows the pooler; nobody on the path of a query knows the janitor.
 */
import { type Session, SessionState } from '../client/side.ts';
import type { Pooler } from './pooler.ts';

const TICK_MS = 100;
/** A server that does not answer the statement that applies a client's settings is given up after this long. */
const PREPARING_MS = 15_000;

export class Janitor {
  readonly #pooler: Pooler;
  #timer: NodeJS.Timeout | null = null;
  #drained: (() => void) | null = null;

  constructor(pooler: Pooler) {
    this.#pooler = pooler;
  }

  start(): void {
    this.#timer ??= setInterval(() => this.sweep(), TICK_MS);
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
    const resolve = this.#drained;
    this.#drained = null;
    resolve?.();
  }

  /** From now on sessions without work are told to go; resolves when the last has gone. */
  drained(): Promise<void> {
    this.#pooler.shuttingDown = true;
    this.start();
    return new Promise((resolve) => {
      this.#drained = resolve;
      this.sweep();
    });
  }

  sweep(): void {
    const pooler = this.#pooler;
    const now = pooler.clock.update();
    pooler.context.set.tick();
    for (const session of pooler.sessions.values()) this.#sweepSession(session, now);
    if (this.#drained === null || pooler.sessions.size > 0) return;
    const resolve = this.#drained;
    this.#drained = null;
    resolve();
  }

  #sweepSession(session: Session, now: number): void {
    const { global } = this.#pooler.config;
    if (session.state === SessionState.Idle) {
      if (this.#pooler.shuttingDown) session.disconnect('server shutting down', '57P01');
      else if (over(now, session.requestedAt, global.clientIdleTimeoutMs)) session.disconnect('client_idle_timeout');
      return;
    }
    if (session.state === SessionState.Waiting) return;
    if (session.state === SessionState.Preparing && over(now, session.linkedAt, PREPARING_MS)) {
      session.disconnect("the server did not apply the client's settings in time", '08006');
      return;
    }
    if (session.queryAt > 0 && over(now, session.queryAt, global.queryTimeoutMs)) session.disconnect('query_timeout');
    else if (session.idleInTransactionAt > 0 && over(now, session.idleInTransactionAt, global.idleTransactionTimeoutMs))
      session.disconnect('idle transaction timeout');
    else if (session.transactionAt > 0 && over(now, session.transactionAt, global.transactionTimeoutMs))
      session.disconnect('transaction timeout');
  }
}

function over(now: number, since: number, limitMs: number): boolean {
  return limitMs > 0 && now - since >= limitMs;
}
