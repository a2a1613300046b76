/**
 * auth_query: asks the database for a user's secret, logged in as auth_user. Owns one question: gets a server of that
 * pool, asks with the extended protocol (the user's name is a parameter, never part of the text), reads the row, gives the
 * server back. Nothing of the client's session is applied to that server. Where to ask is decided in lookups.ts.
 */
import { type Entry, type Refusal, Waiter, type WaiterOwner } from '@sluice/core';
import * as wire from '@sluice/wire';
import { align, alignment } from '../client/align.ts';
import { timeLimit } from '../net/time-limit.ts';
import { type ServerHolder, Tx } from '../server/holder.ts';
import type { Server } from '../server/server.ts';
import { AS_AT_LOGIN, SessionSettings } from '../server/session-settings.ts';
import type { ServerPool } from './server-pool.ts';

/** A row holds a name and a secret of at most 64 KiB; what is larger is no answer. */
const ANSWER_BYTES = 262_144;

/** What the query found. `name`: as the query gives it; a secret of null: there is one that no password can match. */
export type Found = { readonly name: string; readonly secret: wire.Secret | null };

/** The query could not be asked, or its answer makes no sense. */
export class AuthQueryFailed extends Error {
  /** No server was to be had, for this reason; null: the query itself went wrong. */
  readonly refusal: Refusal | null;

  constructor(message: string, refusal: Refusal | null = null) {
    super(message);
    this.name = 'AuthQueryFailed';
    this.refusal = refusal;
  }
}

export class AuthQuestion implements ServerHolder, WaiterOwner<Server> {
  /** The row, or null when there is none. Rejects with AuthQueryFailed. */
  readonly answer: Promise<Found | null>;
  readonly #pool: ServerPool;
  readonly #sql: string;
  readonly #user: string;
  readonly #timeoutMs: number;
  readonly #asked: () => void;
  #resolve!: (found: Found | null) => void;
  #reject!: (error: AuthQueryFailed) => void;
  #entry: Entry<Server> | null = null;
  #generation = 0;
  #timer: NodeJS.Timeout | undefined;
  readonly #chunks: Buffer[] = [];
  #bytes = 0;
  #error: wire.ErrorFields | null = null;
  #ended = false;

  /** `asked` is called when the question leaves: from then on its answer may be older than a newcomer's login. */
  constructor(pool: ServerPool, sql: string, user: string, timeoutMs: number, asked: () => void) {
    this.#pool = pool;
    this.#sql = sql;
    this.#user = user;
    this.#timeoutMs = timeoutMs;
    this.#asked = asked;
    this.answer = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  begin(): void {
    const { now } = this.#pool.context.clock;
    const waiter = new Waiter<Server>(this);
    waiter.deadline = Math.min(now + (this.#timeoutMs || Number.POSITIVE_INFINITY), this.#pool.waitDeadline(now));
    const entry = this.#pool.pool.acquire(waiter);
    if (entry !== null) this.served(entry);
  }

  // The pool's side.

  served(entry: Entry<Server>): void {
    this.#asked();
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
    const message = wire.concat(
      wire.parse('', this.#sql),
      wire.bind('', '', [this.#user]),
      wire.describe('P', ''),
      wire.execute(''),
      wire.sync(),
    );
    const late = () => server.close('no answer to auth_query in time');
    this.#timer = timeLimit(this.#timeoutMs, late);
    server.conn.write(message, 0, message.length);
  }

  refused(reason: Refusal): void {
    this.#asked();
    this.#reject(new AuthQueryFailed(`no server for auth_query: ${reason}`, reason));
  }

  // The server's side.

  relay(buffer: Uint8Array, from: number, to: number): void {
    this.#bytes += to - from;
    if (this.#bytes <= ANSWER_BYTES) this.#chunks.push(Buffer.from(buffer.subarray(from, to)));
    else this.#entry?.value?.close('response of auth_query is too long');
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
    this.#reject(new AuthQueryFailed(this.#error === null ? reason : errorText(this.#error)));
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
    if (this.#error !== null) {
      this.#reject(new AuthQueryFailed(errorText(this.#error)));
      return;
    }
    try {
      this.#resolve(readAnswer(Buffer.concat(this.#chunks)));
    } catch (error) {
      this.#reject(new AuthQueryFailed((error as Error).message));
    }
  }
}

function errorText({ severity, message }: wire.ErrorFields): string {
  return `error in auth_query: ${severity}: ${message}`;
}

/** The last row counts, as in PgBouncer. A row without a name is what a function returns that found nobody. */
export function readAnswer(bytes: Buffer): Found | null {
  let found: Found | null = null;
  for (let at = 0; at + wire.HEADER_BYTES <= bytes.length; ) {
    const end = at + 1 + wire.lengthAt(bytes, at);
    const body = at + wire.HEADER_BYTES;
    if (bytes[at] === 0x54) checkColumns(wire.parseRowDescription(bytes, body, end).length);
    if (bytes[at] === 0x44) {
      const values = wire.parseDataRow(bytes, body, end);
      checkColumns(values.length);
      found = readRow(values);
    }
    at = end;
  }
  return found;
}

function readRow([name, secret]: readonly (Uint8Array | null)[]): Found | null {
  if (name === null || name === undefined) return null;
  const text = secret === null || secret === undefined ? null : wire.decodeText(secret);
  return {
    name: wire.decodeText(name),
    secret: text === null || text === '' ? null : wire.parseSecret(text),
  };
}

function checkColumns(count: number): void {
  if (count !== 2) throw new Error(`expected 2 columns from auth_query, not ${count}`);
}
