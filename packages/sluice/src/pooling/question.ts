/**
 * A question of our own to a database, between the transactions of clients: gets a server of a pool, gives it the settings of its
 * login, asks with the extended protocol (values are parameters, never part of the text), collects the answer, gives the server back.
 */
import { type Entry, type Refusal, Waiter, type WaiterOwner } from '@sluice/core';
import * as wire from '@sluice/wire';
import { align, alignment } from '../client/align.ts';
import { timeLimit } from '../net/time-limit.ts';
import { type ServerHolder, Tx } from '../server/holder.ts';
import type { Server } from '../server/server.ts';
import { AS_AT_LOGIN, SessionSettings } from '../server/session-settings.ts';
import type { ServerPool } from './server-pool.ts';

/** A longer answer is none. */
const ANSWER_BYTES = 262_144;

/** No answer. */
export class QuestionFailed extends Error {
  /** No server was to be had, for this reason. */
  readonly refusal: Refusal | null;
  /** What PostgreSQL said of it. */
  readonly fields: wire.ErrorFields | null;

  constructor(message: string, refusal: Refusal | null, fields: wire.ErrorFields | null) {
    super(message);
    this.name = 'QuestionFailed';
    this.refusal = refusal;
    this.fields = fields;
  }
}

/** What is asked, and how. */
export interface Asking {
  /** What the log calls it. */
  readonly name: string;
  readonly sql: string;
  readonly values: readonly string[];
  /** Clock milliseconds at which it gives up waiting for a server. */
  readonly deadline: number;
  /** Milliseconds that the server has to answer; 0: no bound. */
  readonly answerMs: number;
  /** Called when the question leaves, or will not. */
  readonly asked?: () => void;
}

export class Question implements ServerHolder, WaiterOwner<Server> {
  /** The messages of the answer. Rejects with QuestionFailed. */
  readonly answer: Promise<Buffer>;
  readonly #pool: ServerPool;
  readonly #asking: Asking;
  readonly #waiter = new Waiter<Server>(this);
  #resolve!: (answer: Buffer) => void;
  #reject!: (error: QuestionFailed) => void;
  #entry: Entry<Server> | null = null;
  #generation = 0;
  #timer: NodeJS.Timeout | undefined;
  readonly #chunks: Buffer[] = [];
  #bytes = 0;
  #error: wire.ErrorFields | null = null;
  #ended = false;

  constructor(pool: ServerPool, asking: Asking) {
    this.#pool = pool;
    this.#asking = asking;
    this.answer = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  begin(): void {
    this.#waiter.deadline = this.#asking.deadline;
    const entry = this.#pool.pool.acquire(this.#waiter);
    if (entry !== null) this.served(entry);
  }

  /** Nobody waits for the answer any more: the place in the queue is given up. One that has been sent is answered. */
  abort(): void {
    if (this.#pool.pool.cancel(this.#waiter)) this.refused('cancelled');
  }

  // The pool's side.

  served(entry: Entry<Server>): void {
    this.#asking.asked?.();
    this.#entry = entry;
    this.#generation = entry.generation;
    const server = entry.value!;
    server.holder = this;
    // Whatever a client has left in force there: the question is asked as at login, and in UTF-8.
    const settings = new SessionSettings(AS_AT_LOGIN.values, server.settings.prepared);
    const parameters = server.atLogin.with(server.atLogin.names.indexOf('client_encoding'), 'UTF8');
    const steps = alignment({ parameters, settings }, server);
    if (steps.length === 0) this.#ask(server);
    else
      align(server, steps, (error) => {
        if (this.#entry === null) return;
        if (error !== null) server.close(`settings could not be reset: ${error.message}`);
        else this.#ask(server);
      });
  }

  #ask(server: Server): void {
    server.settings = new SessionSettings(AS_AT_LOGIN.values, server.settings.prepared);
    const { Parse, Bind, Describe, Execute, Sync } = wire.Reply;
    for (const kind of [Parse, Bind, Describe, Execute, Sync]) server.queue.sent(kind);
    const { name, sql, values, answerMs } = this.#asking;
    const message = wire.concat(
      wire.parse('', sql),
      wire.bind('', '', [...values]),
      wire.describe('P', ''),
      wire.execute(''),
      wire.sync(),
    );
    const late = () => server.close(`no answer to ${name} in time`);
    this.#timer = timeLimit(answerMs, late);
    server.conn.write(message, 0, message.length);
  }

  refused(reason: Refusal): void {
    this.#asking.asked?.();
    this.#reject(new QuestionFailed(`no server for ${this.#asking.name}: ${reason}`, reason, null));
  }

  // The server's side.

  relay(buffer: Uint8Array, from: number, to: number): void {
    this.#bytes += to - from;
    if (this.#bytes <= ANSWER_BYTES) this.#chunks.push(Buffer.from(buffer.subarray(from, to)));
    else this.#entry?.value?.close(`response of ${this.#asking.name} is too long`);
  }

  keepRelayed(): void {}

  answerDue(): void {}

  exchangeEnded(): void {
    this.#ended = true;
  }

  errorRelayed(fields: wire.ErrorFields | null): boolean {
    this.#error ??= fields;
    return true;
  }

  planRejected(): boolean {
    return false;
  }

  discarded(): void {}

  parameterChanged(): void {}

  serverScanned(server: Server): void {
    if (!this.#ended || !server.settled || server.closedBecause !== null || this.#entry === null) return;
    this.#giveBack(server);
    this.#conclude();
  }

  serverLost(_server: Server, reason: string): void {
    clearTimeout(this.#timer);
    this.#entry = null;
    this.#reject(new QuestionFailed(this.#error?.message ?? reason, null, this.#error));
  }

  serverDrained(): void {}

  #giveBack(server: Server): void {
    clearTimeout(this.#timer);
    this.#entry = null;
    server.holder = null;
    this.#pool.context.clock.update();
    const { mode, resetAlways } = this.#pool;
    const reset = mode === 'session' || resetAlways || server.status !== Tx.Idle;
    server.resetOwed = reset;
    this.#pool.pool.release(server.entry, this.#generation, reset ? 'reset' : 'clean');
  }

  #conclude(): void {
    if (this.#error === null) this.#resolve(Buffer.concat(this.#chunks));
    else this.#reject(new QuestionFailed(this.#error.message, null, this.#error));
  }
}
