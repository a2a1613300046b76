/**
 * Unnamed statements that are sent again and again (prepare_threshold): PostgreSQL parses such a text once on each server, by a name
 * of ours, and runs it after that. Only for whole exchanges outside of a transaction that ask for the columns, which can be sent once more
 * when a table has changed; and only for texts without constants, which PostgreSQL would read once and not each time.
 */
import { Action, DESCRIBED_RUN, HEADER_BYTES, type Parameters, Reply } from '@sluice/wire';
import { Tx } from '../server/holder.ts';
import type { Server } from '../server/server.ts';
import type { SessionSettings } from '../server/session-settings.ts';
import { type Statement, type StatementStore, textOf } from '../server/statements.ts';
import { hasConstants } from '../sql/read-by.ts';
import { Keeping } from './home.ts';
import { ensure, lookAt, readingBy } from './prepared.ts';
import type { Session } from './side.ts';
import type { AppliedEffect } from './statement-effects.ts';

/**
 * So often it is parsed anew: PostgreSQL keeps the types of parameters, and the functions, that a text had when it was parsed, and nobody
 * tells of what others change there.
 */
const PARSED_MS = 60_000;
/** Behind header and empty name: text, NUL, parameter types. */
const TAIL_AT = HEADER_BYTES + 1;
/** What is prepared: everything else is rare, or changes the session. */
const COMMAND = /^\s*(?:select|insert|update|delete|merge|with|values)\b/i;

/** The last unnamed statement of a client that was prepared by a name of ours. */
export class AutoPrepared implements AppliedEffect {
  /** It is the client's unnamed statement now: until its server goes back, or another Parse takes its place. */
  isCurrent = false;
  #statement: Statement | null = null;
  #isHeld = false;
  /** What it was read by. */
  #parameters: Parameters | null = null;
  #settings: SessionSettings | null = null;
  #alterations = 0;

  get statement(): Statement | null {
    return this.#statement;
  }

  /** Is this text, read as the client reads it now, the same again? */
  isOf({ parameters, settings, registry, follow }: Session, buffer: Buffer, at: number, end: number): boolean {
    const { tail, stored } = this.#statement ?? NONE;
    if (!stored) return false;
    if (tail.length !== end - at || this.#parameters !== parameters || this.#settings !== settings) return false;
    if (this.#alterations !== registry.statements.alterations || follow?.readsOtherwise(parameters)) return false;
    for (let i = 0; i < tail.length; i++) if (tail[i] !== buffer[at + i]) return false;
    return true;
  }

  /** Does it leave nothing behind in the session, where that matters? */
  isHarmless(keeping: Keeping): boolean {
    return keeping < Keeping.Follow || this.#statement?.suspicion === null;
  }

  /** Takes over the reference that the store gave: until a server has it. */
  becomes(statement: Statement, { parameters, settings, registry }: Session): void {
    this.clear(registry.statements);
    this.#statement = statement;
    this.#isHeld = true;
    this.#parameters = parameters;
    this.#settings = settings;
    this.#alterations = registry.statements.alterations;
  }

  clear(store: StatementStore): void {
    this.isCurrent = false;
    this.letGo(store);
    this.#statement = null;
  }

  /** A server has it, or nobody wants it any more: its text may go when others need the room. */
  letGo(store: StatementStore): void {
    if (this.#isHeld && this.#statement !== null) store.drop(this.#statement);
    this.#isHeld = false;
  }

  // As the effect of its Parse: one that fails leaves nothing.

  apply(): void {
    this.isCurrent = true;
  }

  confirm(): void {}

  again(): void {
    this.apply();
  }

  revert(): void {
    this.isCurrent = false;
  }
}

const NONE = { tail: new Uint8Array(0), stored: false };

/**
 * How often texts were seen, by a hash: two that share a place are counted together, which comes to one being prepared a
 * little early.
 */
export class SeenTexts {
  readonly #counts = new Uint8Array(1 << 16);

  /** One time more; up to 255. */
  see(buffer: Uint8Array, at: number, end: number): number {
    let hash = 0x811c9dc5;
    for (let i = at; i < end; i++) hash = Math.imul(hash ^ buffer[i]!, 0x01000193);
    const place = (hash ^ (hash >>> 16)) & 0xffff;
    const count = this.#counts[place]!;
    if (count < 255) this.#counts[place] = count + 1;
    return count + 1;
  }
}

/** What is run in place of the unnamed statement whose Parse is at `at`, and goes to `end`; null: it is parsed as ever. */
export function autoPrepared(session: Session, buffer: Buffer, at: number, end: number): Statement | null {
  const { statements, registry, home } = session;
  const from = at + TAIL_AT;
  const before = statements.auto;
  if (before?.isOf(session, buffer, from, end) && before.isHarmless(home.keeping)) return before.statement;
  if (registry.seenTexts.see(buffer, from, end) < home.prepareThreshold) return null;
  const tail = buffer.subarray(from, end);
  const text = textOf(tail.subarray(0, tail.indexOf(0)));
  if (!COMMAND.test(text) || hasConstants(text)) return null;
  // Whose temporary tables hide others reads by more than its settings.
  const reading = readingBy(session, tail);
  const statement = reading === null ? null : registry.statements.take(tail, reading);
  if (statement === null) return null;
  lookAt(session, statement);
  if (statement.suspicion) {
    registry.statements.drop(statement);
    return null;
  }
  statements.auto ??= new AutoPrepared();
  statements.auto.becomes(statement, session);
  return statement;
}

/**
 * Writes down what the server owes for the exchange when it runs this instead: to the client, ParseComplete with the answers to come.
 * Returns what must be sent before the run; null: not as things stand, it is to go as it is.
 */
export function sendPrepared(session: Session, server: Server, statement: Statement): readonly Uint8Array[] | null {
  const { statements, home, registry } = session;
  const { auto } = statements;
  // What changes books is told message by message.
  if (auto === null || !server.settled || server.status !== Tx.Idle || server.queue.changing) return null;
  const pieces: Uint8Array[] = [];
  const { now } = session.clock;
  server.statements.expire(statement, now, PARSED_MS);
  home.traffic.clientParses++;
  home.traffic.binds++;
  if (server.statements.has(statement)) {
    auto.apply();
    server.statements.touch(statement);
    server.queue.sent(Reply.Parse, Action.Answer);
    server.queue.exchangeSent(DESCRIBED_RUN, statement.use);
  } else {
    ensure(session, server, statement, pieces, auto);
    server.statements.noteTime(statement, now);
    for (const reply of DESCRIBED_RUN)
      server.queue.sent(reply, Action.Forward, reply === Reply.Bind ? statement.use : null);
  }
  auto.letGo(registry.statements);
  statements.groupEnds();
  return pieces;
}
