/**
 * Prepared statements by text. The store keeps each text once, however many clients and servers use it; a server's book
 * says which of them it has parsed. Names on servers are ours, so that clients may share a server (PgBouncer
 * max_prepared_statements). Knows no sockets.
 */

import type { Effect, ErrorFields } from '@sluice/wire';
import { namesStatements, type Suspicion } from '../sql/suspicion.ts';

/** What a statement takes beside its text, which is there twice: as bytes, and as what it is known by. Measured on Node 20. */
const STATEMENT_BYTES = 600;

/** A statement's text and parameter types, as Parse carries them, under the name that servers know it by. */
export class Statement {
  readonly id: number;
  readonly key: string;
  /** Parse's body after the name: query, NUL, parameter types. */
  readonly tail: Uint8Array;
  readonly serverName: string;
  /** The memory that it takes. */
  readonly bytes: number;
  /** What the text was read by; null: nobody else reads it so. */
  readonly reading: string | null;
  /** It is DEALLOCATE or DISCARD. */
  readonly forgets: boolean;
  /** It is PREPARE, or one of them. */
  readonly prepares: boolean;
  /** It changes the schema. */
  readonly alters: boolean;
  /** What it may leave behind in the session; undefined: nobody has looked. */
  suspicion: Suspicion | null | undefined = undefined;
  /** Names that clients have for it, and Parses under way. */
  names = 0;
  /** Servers that have parsed it; without those and without names it leaves the store. */
  servers = 0;
  /** Whoever asks the store for its text gets it. */
  stored = true;
  /** It is part of the store's bytes. */
  counted = false;
  /** Stands in the reply queue with each message that uses it. */
  readonly use: StatementUse;

  constructor(id: number, key: string, tail: Uint8Array, reading: string | null) {
    this.id = id;
    this.key = key;
    this.tail = tail;
    this.bytes = bytesOf(tail, key);
    this.reading = reading;
    this.serverName = `PGBOUNCER_${id}`;
    this.forgets = forgetsStatements(key);
    this.prepares = namesStatements(key);
    this.alters = altersSchema(key, false);
    this.use = new StatementUse(this);
  }
}

function bytesOf(tail: Uint8Array, key: string): number {
  return STATEMENT_BYTES + tail.length + key.length;
}

/** Tells, when a reply is an error, which statement it is about. */
export class StatementUse implements Effect {
  readonly statement: Statement;
  readonly harmless = true;

  constructor(statement: Statement) {
    this.statement = statement;
  }

  confirm(): void {}
  revert(): void {}
}

/** White space and comments before a command that are looked through. */
export const LEADING_CHARACTERS = 512;

/** What may stand before one. A comment cannot go beyond its end here: a pattern that may try that takes exponential time. */
const LEADING = String.raw`(?:[\s;]|--[^\n]*\n|/\*(?:[^*]|\*(?!/))*\*/)*`;
const FORGETS = new RegExp(String.raw`^${LEADING}(?:deallocate|discard)\b`, 'i');
/** Commands that change the schema, and those that make such a change count, or take it back. */
const ALTERS = new RegExp(String.raw`^${LEADING}(?:alter|create|drop|do|import|grant|revoke|commit\s+prepared)\b`, 'i');
const ENDS = new RegExp(String.raw`^${LEADING}(?:commit|end|rollback|abort|prepare\s+transaction)\b`, 'i');

/** Does a text begin with a command that changes the schema? `altered`: its transaction has done so, and the end of that counts, too. */
export function altersSchema(text: string, altered: boolean): boolean {
  const beginning = text.slice(0, LEADING_CHARACTERS);
  return ALTERS.test(beginning) || (altered && ENDS.test(beginning));
}

/** A text that is cut before its first word ends. */
const UNDECIDED = new RegExp(String.raw`^${LEADING}(?:-|--[^\n\0]*|/|/\*[^\0]*|[a-z]{0,10})$`, 'i');

/** Does a text begin with DEALLOCATE or DISCARD? */
export function forgetsStatements(text: string): boolean {
  return FORGETS.test(text.slice(0, LEADING_CHARACTERS));
}

/** The same of a text of which the first characters are here: may it? */
export function mayForgetStatements(text: string): boolean {
  return forgetsStatements(text) || UNDECIDED.test(text);
}

const CHANGES =
  /^(?:ALTER |CREATE |DROP |DO$|COMMIT PREPARED$|GRANT|REVOKE|IMPORT FOREIGN SCHEMA$|DISCARD TEMP$|SELECT )/;

/** What a completed command changes for prepared statements, by its tag, of one that matters; null: nothing. */
export function changedBy(tag: string): 'everything' | 'statements' | 'schema' | null {
  if (tag === 'DISCARD ALL') return 'everything';
  if (tag === 'DEALLOCATE ALL') return 'statements';
  return CHANGES.test(tag) ? 'schema' : null;
}

/** "cached plan must not change result type", in whichever language. */
const PLAN_REJECTED = 'RevalidateCachedQuery';

/** The statement that PostgreSQL refuses to run since its result would have other columns than before; null: another error. */
export function rejectedPlan(error: ErrorFields | null, about: Effect | null): Statement | null {
  return error?.routine === PLAN_REJECTED && about instanceof StatementUse ? about.statement : null;
}

/**
 * PostgreSQL does not know a statement of ours, or has it already: what is written down of the server is not what it has. (Or the
 * client has prepared a name twice, where it comes to no more than a reset.)
 */
export function knowsOtherStatements(error: ErrorFields | null): boolean {
  return (error?.code === '26000' || error?.code === '42P05') && error.message.includes('PGBOUNCER_');
}

/** The bytes of a statement's tail as characters: what it is known by, with its reading. */
export function textOf(tail: Uint8Array): string {
  return Buffer.from(tail.buffer, tail.byteOffset, tail.length).toString('latin1');
}

/** All statements of the process, by text. */
export class StatementStore {
  /** Most memory that they may take (max_prepared_statement_bytes); 0: no limit. */
  maxBytes: number;
  /** The memory that those take which anybody has a name for, or may have. */
  bytes = 0;
  /** How often the schema has changed, as far as it is seen: who prepares a text after that is to have the types that columns have now. */
  alterations = 0;
  readonly #byKey = new Map<string, Statement>();
  /** Those that no client has a name for, the longest unused first: their texts go when room is needed. */
  readonly #unnamed = new Set<Statement>();
  #ids = 0;

  constructor(maxBytes = 0) {
    this.maxBytes = maxBytes;
  }

  get size(): number {
    return this.#byKey.size;
  }

  /**
   * The statement with this tail and this reading, with one more name. The bytes are copied when it is new. Null: those that
   * clients have names for leave no room for it. `exceeds`: even so, for who has had it before.
   */
  take(tail: Uint8Array, reading: string | null): Statement | null;
  take(tail: Uint8Array, reading: string | null, exceeds: true): Statement;
  take(tail: Uint8Array, reading: string | null, exceeds = false): Statement | null {
    // The length, so that nobody can make up bytes that end like a reading. Without one it is a statement by itself.
    const key = `${textOf(tail)}${reading ?? `\0${this.#ids}`}\0${this.alterations}\0${tail.length}`;
    let statement = reading === null ? undefined : this.#byKey.get(key);
    if (statement === undefined) {
      if (!this.#makeRoom(bytesOf(tail, key)) && !exceeds) return null;
      statement = new Statement(++this.#ids, key, Uint8Array.from(tail), reading);
      this.#byKey.set(key, statement);
    }
    this.retain(statement);
    return statement;
  }

  /** It was not read as was thought: nobody else gets it. */
  setApart(statement: Statement): void {
    if (statement.names === 0) this.#forget(statement);
    else this.#remove(statement);
  }

  /** One name more for a statement that somebody has. */
  retain(statement: Statement): void {
    if (statement.names++ > 0) return;
    this.#unnamed.delete(statement);
    if (statement.counted) return;
    statement.counted = true;
    this.bytes += statement.bytes;
  }

  /** One name less. */
  drop(statement: Statement): void {
    if (--statement.names > 0) return;
    if (statement.servers > 0 && this.#byKey.get(statement.key) === statement) this.#unnamed.add(statement);
    else this.#forget(statement);
  }

  /** One server less. */
  leave(statement: Statement): void {
    if (--statement.servers === 0 && statement.names === 0) this.#forget(statement);
  }

  /** Servers keep what they have parsed; who comes with the same text later has it parsed again under a new name. */
  #makeRoom(bytes: number): boolean {
    if (this.maxBytes === 0) return true;
    for (const statement of this.#unnamed) {
      if (this.bytes + bytes <= this.maxBytes) break;
      this.#forget(statement);
    }
    return this.bytes + bytes <= this.maxBytes;
  }

  #forget(statement: Statement): void {
    this.#unnamed.delete(statement);
    this.#remove(statement);
    if (!statement.counted) return;
    statement.counted = false;
    this.bytes -= statement.bytes;
  }

  #remove(statement: Statement): void {
    if (this.#byKey.get(statement.key) === statement) this.#byKey.delete(statement.key);
    statement.stored = false;
  }

  [Symbol.iterator](): IterableIterator<Statement> {
    return this.#byKey.values();
  }
}
