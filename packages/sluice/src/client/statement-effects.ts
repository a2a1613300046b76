/**
 * What a message changes in the books of names and statements, on the assumption that the server will carry it out; undone when
 * the server skips it (see Effect).
 */
import { type Effect, type ErrorFields, errorWith } from '@sluice/wire';
import type { Server } from '../server/server.ts';
import { type Statement, type StatementStore, StatementUse } from '../server/statements.ts';
import { isReadBy } from '../sql/read-by.ts';
import type { Session } from './side.ts';
import type { StatementNames } from './statement-names.ts';

/** The client has a name. Holds the reference that `take` gave. */
export class NamedEffect implements Effect {
  readonly #session: Session;
  readonly #name: string;
  readonly #statement: Statement;

  constructor(session: Session, name: string, statement: Statement) {
    this.#session = session;
    this.#name = name;
    this.#statement = statement;
  }

  apply(): void {
    this.#session.statements.set(this.#name, this.#statement);
  }

  confirm(): void {}

  revert(_itself: boolean): void {
    if (this.#session.statements.get(this.#name) !== this.#statement) return;
    this.#session.statements.delete(this.#name);
    this.#session.registry.statements.drop(this.#statement);
  }

  again(): void {
    if (this.#session.isOver) return;
    this.#session.registry.statements.retain(this.#statement);
    this.apply();
  }
}

/** As NamedEffect, for the name that a Parse may give again and again: the empty one. Holds the reference of what it replaces, too. */
export class ReplacedEffect extends NamedEffect {
  readonly #owner: Session;
  readonly #before: Statement;

  constructor(session: Session, name: string, statement: Statement, before: Statement) {
    super(session, name, statement);
    this.#owner = session;
    this.#before = before;
  }

  override confirm(): void {
    this.#owner.registry.statements.drop(this.#before);
  }

  /** A Parse that fails leaves nothing; one that was skipped leaves what was there. */
  override revert(itself: boolean): void {
    const { statements, registry, isOver } = this.#owner;
    super.revert(itself);
    if (itself || isOver || statements.get('') !== undefined) registry.statements.drop(this.#before);
    else statements.set('', this.#before);
  }
}

/** The client has given a name up; its reference is dropped when that is certain. */
export class ClosedEffect implements Effect {
  readonly #session: Session;
  readonly #name: string;
  readonly #statement: Statement;
  /** How many unnamed statements the client had sent by then. */
  readonly #unnamed: number;
  #gone = false;
  #idle = false;

  constructor(session: Session, name: string, statement: Statement) {
    this.#session = session;
    this.#name = name;
    this.#statement = statement;
    this.#unnamed = session.statements.unnamed.sent;
  }

  apply(): void {
    // Somebody else has taken it away meanwhile.
    this.#idle = this.#session.statements.get(this.#name) !== this.#statement;
    if (!this.#idle) this.#session.statements.delete(this.#name);
  }

  confirm(): void {
    if (!this.#idle) this.#session.registry.statements.drop(this.#statement);
  }

  revert(): void {
    if (this.#idle) return;
    const replaced = this.#name === '' && this.#session.statements.unnamed.sent !== this.#unnamed;
    if (this.#session.isOver || this.#gone || replaced) this.confirm();
    else this.#session.statements.set(this.#name, this.#statement);
  }

  again(): void {
    const { statements, registry } = this.#session;
    if (this.#idle) return;
    if (statements.get(this.#name) !== this.#statement) {
      this.#gone = true;
      return;
    }
    // The name was given after the books were emptied, and has just been written down again.
    statements.delete(this.#name);
    registry.statements.drop(this.#statement);
  }
}

/**
 * A name that the client has was to be prepared once more, which PostgreSQL refuses; unless the name was given up before, by
 * something whose answer had not come. Holds the reference that `take` gave.
 */
export class RepeatedEffect implements Effect {
  readonly name: string;
  readonly #session: Session;
  readonly #server: Server;
  readonly statement: Statement;

  constructor(session: Session, server: Server, name: string, statement: Statement) {
    this.#session = session;
    this.#server = server;
    this.name = name;
    this.statement = statement;
  }

  confirm(): void {
    const { statements, isOver } = this.#session;
    if (isOver || statements.get(this.name) !== undefined) {
      this.revert();
      return;
    }
    statements.set(this.name, this.statement);
    this.#server.statements.add(this.statement);
  }

  revert(): void {
    this.#session.registry.statements.drop(this.statement);
  }
}

/** The server knows a statement. */
export class ParsedEffect implements Effect {
  readonly #server: Server;
  readonly #statement: Statement;

  constructor(server: Server, statement: Statement) {
    this.#server = server;
    this.#statement = statement;
  }

  apply(): void {
    this.#server.statements.add(this.#statement);
  }

  confirm(): void {}

  revert(): void {
    this.#server.statements.remove(this.#statement);
  }

  again(): void {
    this.apply();
  }

  settingChanged(name: string): void {
    if (isReadBy(name.toLowerCase())) this.#server.statements.setApart(this.#statement);
  }
}

/** The server was told to forget a statement. */
export class EvictedEffect implements Effect {
  readonly #server: Server;
  readonly #store: StatementStore;
  readonly #statement: Statement;
  readonly #wasStale: boolean;
  #gone = false;

  constructor(server: Server, store: StatementStore, statement: Statement) {
    this.#server = server;
    this.#store = store;
    this.#statement = statement;
    this.#wasStale = server.statements.isStale(statement);
  }

  apply(): void {
    this.#statement.servers++;
    this.#server.statements.remove(this.#statement);
  }

  confirm(): void {
    this.#store.leave(this.#statement);
  }

  revert(): void {
    const { statements } = this.#server;
    if (!this.#gone) statements.add(this.#statement);
    if (!this.#gone && this.#wasStale) statements.invalidate(this.#statement);
    this.#store.leave(this.#statement);
  }

  again(): void {
    const { statements } = this.#server;
    if (statements.has(this.#statement)) statements.remove(this.#statement);
    else this.#gone = true;
  }
}

/** What is written down when its message is sent. */
export interface AppliedEffect extends Effect {
  apply(): void;
  again(): void;
}

export class PairEffect implements Effect {
  readonly #first: AppliedEffect;
  readonly #second: ParsedEffect;

  constructor(first: AppliedEffect, second: ParsedEffect) {
    this.#first = first;
    this.#second = second;
  }

  apply(): void {
    this.#first.apply();
    this.#second.apply();
  }

  confirm(): void {
    this.#first.confirm();
  }

  revert(itself: boolean): void {
    this.#second.revert();
    this.#first.revert(itself);
  }

  again(): void {
    this.#first.again();
    this.#second.again();
  }

  settingChanged(name: string): void {
    this.#second.settingChanged(name);
  }
}

/** SQLSTATEs of errors that speak of a prepared statement: there already, not there, bound with other parameters. */
const OF_STATEMENTS = ['42P05', '26000', '08P01'];

/** An error that speaks of a prepared statement, with the name that the client has given it; null: it may stay as it is. */
export function inClientsWords(
  fields: ErrorFields | null,
  body: Uint8Array | null,
  names: StatementNames,
  about: Effect | null,
): Uint8Array | null {
  if (fields === null || body === null || !OF_STATEMENTS.includes(fields.code)) return null;
  if (!(about instanceof RepeatedEffect || about instanceof StatementUse)) return null;
  const { statement } = about;
  const inServersWords = Buffer.from(`"${statement.serverName}"`);
  const own = about instanceof RepeatedEffect ? about.name : names.nameOf(statement);
  if (own === undefined) return null;
  return errorWith(body, (message) => {
    const at = Buffer.from(message).indexOf(inServersWords);
    if (at < 0) return message;
    const after = message.subarray(at + inServersWords.length);
    return Buffer.concat([message.subarray(0, at), Buffer.from(`"${own}"`, 'latin1'), after]);
  });
}
