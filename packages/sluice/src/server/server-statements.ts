/** The book of the prepared statements that one server has: by it a client's Parse is answered, sent or injected. */
import { tagMatters } from '@sluice/wire';
import { changedBy, type Statement, type StatementStore } from './statements.ts';

const ENDS_WORK = /^(?:ROLLBACK|COMMIT)$/;

/** What one server has parsed, least recently used first. */
export class ServerStatements {
  /** What they take, as it is counted here. */
  bytes = 0;
  readonly #store: StatementStore;
  readonly #known = new Map<number, Statement>();
  /** The last one in it, if that is certain. */
  #newest: Statement | null = null;
  /** Clock milliseconds at which statements were parsed, of those that must not grow old. */
  readonly #parsedAt = new Map<number, number>();
  #alters = false;
  /** Parsed before something changed that they depend on: PostgreSQL refuses to run them. */
  readonly #stale = new Set<number>();

  constructor(store: StatementStore) {
    this.#store = store;
  }

  get size(): number {
    return this.#known.size;
  }

  /** Can it be run? */
  has(statement: Statement): boolean {
    return this.#known.has(statement.id) && !this.#stale.has(statement.id);
  }

  /** Is it there, and must be parsed again? */
  isStale(statement: Statement): boolean {
    return this.#stale.has(statement.id);
  }

  /** It must be parsed again before its next use. */
  invalidate(statement: Statement): void {
    if (this.#known.has(statement.id)) this.#stale.add(statement.id);
  }

  /** One that was parsed longer than `lifeMs` ago must be parsed again; where nobody has noted the time it counts from `now` on. */
  expire(statement: Statement, now: number, lifeMs: number): void {
    const parsedAt = this.#parsedAt.get(statement.id);
    if (parsedAt === undefined) this.noteTime(statement, now);
    else if (now - parsedAt > lifeMs) this.invalidate(statement);
  }

  noteTime(statement: Statement, now: number): void {
    if (this.#known.has(statement.id)) this.#parsedAt.set(statement.id, now);
  }

  /** Marks it as just used. */
  touch(statement: Statement): void {
    if (this.#newest === statement) return;
    this.#newest = statement;
    this.#known.delete(statement.id);
    this.#known.set(statement.id, statement);
  }

  add(statement: Statement): void {
    if (this.#known.has(statement.id)) return;
    statement.servers++;
    this.bytes += statement.bytes;
    this.#known.set(statement.id, statement);
    this.#newest = statement;
  }

  remove(statement: Statement): void {
    if (!this.#known.delete(statement.id)) return;
    if (this.#newest === statement) this.#newest = null;
    this.#stale.delete(statement.id);
    this.#parsedAt.delete(statement.id);
    this.bytes -= statement.bytes;
    this.#store.leave(statement);
  }

  /** The one to give up first, or null. */
  get oldest(): Statement | null {
    return this.#known.values().next().value ?? null;
  }

  /** Somebody reads it by other settings than was thought when it was prepared here. */
  setApart(statement: Statement): void {
    this.#store.setApart(statement);
  }

  /** A command was completed whose tag lies from `at` to `end`, behind a message of type `before`. Returns which statements it threw away. */
  completed(
    bytes: Buffer,
    at: number,
    end: number,
    before: number,
    isQuery: boolean,
  ): 'everything' | 'statements' | null {
    const matters = tagMatters(bytes, at, before, isQuery);
    if (!matters && !this.#alters) return null;
    const tag = bytes.toString('latin1', at, end);
    const what = matters ? changedBy(tag) : null;
    // What a ROLLBACK TO takes back, and a COMMIT AND CHAIN gives to all, is a change of the schema, too.
    if (what === 'schema' || (this.#alters && ENDS_WORK.test(tag))) {
      this.#alters = true;
      this.#store.alterations++;
    }
    return what === 'schema' ? null : what;
  }

  /** What its transaction has changed others see from now on: who has prepared a text meanwhile has read it as it was. */
  transactionEnds(): void {
    if (!this.#alters) return;
    this.#alters = false;
    this.#store.alterations++;
  }

  /** Has the transaction under way changed the schema? */
  get alters(): boolean {
    return this.#alters;
  }

  /** The connection is closed. `unsure`: what was under way may have changed the schema, and nobody will tell. */
  gone(unsure: boolean): void {
    if (unsure || this.#alters) this.#store.alterations++;
    this.clear();
  }

  /** The server forgot everything (DISCARD ALL, DEALLOCATE ALL, a closed connection). */
  clear(): void {
    for (const statement of this.#known.values()) this.#store.leave(statement);
    this.#known.clear();
    this.#newest = null;
    this.#stale.clear();
    this.#parsedAt.clear();
    this.bytes = 0;
  }
}
