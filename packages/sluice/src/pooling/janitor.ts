/**
 * What is due by the clock: the core's tick, the timeouts of clients, and housekeeping. Timeouts are numbers that one coarse
 * sweep compares, so a query starts no timer. Knows the pooler; nobody on the path of a query knows the janitor.
 */
import { noticeResponse } from '@sluice/wire';
import { type Session, SessionState } from '../client/side.ts';
import type { Operator } from './operator.ts';
import type { Pooler } from './pooler.ts';
import { housekeep } from './upkeep.ts';

const TICK_MS = 100;
/** Clients and pools are looked at every third tick: about three times a second, as in PgBouncer. */
const SWEEP_TICKS = 3;

/** query_wait_notify: PgBouncer's words. */
const WAITING = noticeResponse({
  severity: 'NOTICE',
  code: '00000',
  message: 'No server connection available in postgres backend, client being queued',
});

/** The timeouts of one user's clients in milliseconds; 0 switches one off. */
interface Timeouts {
  clientIdle: number;
  query: number;
  idleTransaction: number;
  transaction: number;
}

export class Janitor {
  readonly #pooler: Pooler;
  readonly #operator: Operator;
  readonly #told: (stats: string) => void;
  #timer: NodeJS.Timeout | null = null;
  #ticks = 0;

  /** `told`: see `housekeep`. */
  constructor(pooler: Pooler, operator: Operator, told: (stats: string) => void) {
    this.#pooler = pooler;
    this.#operator = operator;
    this.#told = told;
  }

  start(): void {
    this.#timer ??= setInterval(() => this.tick(), TICK_MS);
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }

  tick(): void {
    const pooler = this.#pooler;
    pooler.clock.update();
    // Suspended: nothing may happen that another process, about to take over, does not expect.
    if (pooler.pauseMode !== 'suspended') {
      pooler.context.set.tick();
      if (++this.#ticks % SWEEP_TICKS === 0) this.#sweep();
    }
    this.#operator.sweep();
  }

  #sweep(): void {
    const pooler = this.#pooler;
    const { now } = pooler.clock;
    const { global } = pooler.config;
    const common = timeouts(pooler, '');
    const byUser = new Map<string, Timeouts>();
    for (const name of pooler.config.users.keys()) byUser.set(name, timeouts(pooler, name));
    for (const session of pooler.sessions.values()) {
      this.#sweepSession(session, byUser.get(session.identity.user) ?? common, now);
      if (session.state === SessionState.Waiting && over(now, session.waitingSince, global.queryWaitNotifyMs))
        session.notifyWaiting(WAITING);
    }
    for (const visit of pooler.visitors) {
      if (!over(now, visit.since, global.clientLoginTimeoutMs)) break; // the others came later
      visit.late?.();
      visit.late = null;
    }
    housekeep(pooler, this.#operator, this.#told);
  }

  #sweepSession(session: Session, limits: Timeouts, now: number): void {
    switch (session.state) {
      case SessionState.Idle:
        if (over(now, session.requestedAt, limits.clientIdle)) session.disconnect('client_idle_timeout');
        return;
      case SessionState.Waiting:
        if (over(now, session.waitingSince, limits.query)) session.disconnect('query_timeout');
        return;
      case SessionState.Preparing:
        if (over(now, session.preparingSince, this.#pooler.config.global.serverAnswerTimeoutMs))
          session.disconnect("the server did not apply the client's settings, or tell them, in time", '08006');
        return;
      default:
        break;
    }
    // Streaming lasts as long as the connection.
    if (session.server?.copyBoth) return;
    if (session.queryAt > 0 && over(now, session.queryAt, limits.query)) session.disconnect('query timeout');
    else if (session.idleInTransactionAt > 0 && over(now, session.idleInTransactionAt, limits.idleTransaction))
      session.disconnect('idle transaction timeout');
    else if (session.transactionAt > 0 && over(now, session.transactionAt, limits.transaction))
      session.disconnect('transaction timeout');
  }
}

/** A user's own timeouts win where they are set. */
function timeouts({ config }: Pooler, user: string): Timeouts {
  const { global } = config;
  const own = config.users.get(user);
  return {
    clientIdle: own?.clientIdleTimeoutMs || global.clientIdleTimeoutMs,
    query: own?.queryTimeoutMs || global.queryTimeoutMs,
    idleTransaction: own?.idleTransactionTimeoutMs || global.idleTransactionTimeoutMs,
    transaction: own?.transactionTimeoutMs || global.transactionTimeoutMs,
  };
}

function over(now: number, since: number, limitMs: number): boolean {
  return limitMs > 0 && now - since >= limitMs;
}
