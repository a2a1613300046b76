/**
 * A client that waits at its login for the first server of its pool: it wants no server, only what one says of itself. Its place
 * is in the pool's queue, and its limits are those of everybody there. (client_login_timeout is kept by the janitor.)
 */
import { type Entry, type Refusal, Waiter, type WaiterOwner } from '@sluice/core';
import type { Server } from '../server/server.ts';
import type { Patience } from './exhaustion.ts';
import type { Welcome } from './pool-shape.ts';
import type { ServerPool } from './server-pool.ts';

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
  /** What the log calls the client. */
  readonly name: string;
  readonly #home: ServerPool;
  readonly #user: string;
  readonly #queryMs: () => number;
  readonly #waiter = new Waiter<Server>(this);
  #since: number;
  #resolve!: (welcome: Welcome) => void;
  #reject!: (error: Error) => void;

  /** `queryMs`: query_timeout, asked for again when it may have changed; 0: none. */
  constructor(home: ServerPool, user: string, name: string, queryMs: () => number) {
    this.name = name;
    this.#home = home;
    this.#user = user;
    this.#queryMs = queryMs;
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
    this.#home.traffic.waitMs += this.#home.context.clock.now - this.#since;
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
    this.#waiter.deadline = this.#since + this.patience.ms;
  }

  /** The shorter of the two. */
  get patience(): Patience {
    const queryMs = this.#queryMs();
    const waitMs = this.#home.waitDeadline(0, this.#user);
    return queryMs > 0 && queryMs <= waitMs
      ? { setting: 'query_timeout', ms: queryMs }
      : { setting: 'query_wait_timeout', ms: waitMs };
  }
}
