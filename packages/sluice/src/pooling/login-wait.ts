/**
 * A client that waits at its login for the first server of its pool: it wants no server, only what one says of itself. Its place
 * is in the pool's queue, and its limits are those of everybody there, and the login's own.
 */
import { type Entry, type Refusal, Waiter, type WaiterOwner } from '@sluice/core';
import type { Server } from '../server/server.ts';
import type { Patience } from './exhaustion.ts';
import type { Welcome } from './pool-shape.ts';
import type { ServerPool } from './server-pool.ts';

/** Milliseconds; 0: no bound. */
export interface LoginLimits {
  readonly loginMs: number;
  readonly queryMs: number;
}

/** The wait has ended without a server. */
export class NoWelcome extends Error {
  readonly reason: Refusal;

  constructor(reason: Refusal) {
    super(reason);
    this.name = 'NoWelcome';
    this.reason = reason;
  }
}

export class LoginWait implements WaiterOwner<Server> {
  /** Rejects with NoWelcome, or as it was told to. */
  readonly welcome: Promise<Welcome>;
  readonly #home: ServerPool;
  readonly #user: string;
  readonly #limits: () => LoginLimits;
  readonly #waiter = new Waiter<Server>(this);
  #since: number;
  #resolve!: (welcome: Welcome) => void;
  #reject!: (error: Error) => void;

  /** `limits` are asked for again when they may have changed. */
  constructor(home: ServerPool, user: string, limits: () => LoginLimits) {
    this.#home = home;
    this.#user = user;
    this.#limits = limits;
    this.#since = home.context.clock.now;
    this.welcome = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.waitByItsRules();
    const entry = home.pool.acquire(this.#waiter);
    if (entry !== null) this.served(entry);
  }

  served(entry: Entry<Server>): void {
    // Only its welcome was wanted: a server that may be used once (server_lifetime 0) has that use before it.
    entry.uses--;
    this.#home.pool.release(entry, entry.generation);
    this.#resolve(this.#home.welcome!);
  }

  refused(reason: Refusal): void {
    this.#reject(new NoWelcome(reason));
  }

  /** Gives up the place in the queue. */
  abort(why: Error = new NoWelcome('cancelled')): void {
    if (this.#home.pool.cancel(this.#waiter)) this.#reject(why);
  }

  waitByItsRules(): void {
    const { loginMs } = this.#limits();
    const { ms } = this.patience;
    this.#waiter.deadline = this.#since + Math.min(ms, loginMs > 0 ? loginMs : Number.POSITIVE_INFINITY);
  }

  /** The shorter of the limits that the error names; the login's own is named by who keeps it. */
  get patience(): Patience {
    const { queryMs } = this.#limits();
    const waitMs = this.#home.waitDeadline(0, this.#user);
    return queryMs > 0 && queryMs <= waitMs
      ? { setting: 'query_timeout', ms: queryMs }
      : { setting: 'query_wait_timeout', ms: waitMs };
  }
}
