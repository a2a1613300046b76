/**
 * Prepared statements by text. The store keeps each text once, however many clients and servers use it; a server's book
 * says which of them it has parsed. Names on servers are ours, so that clients may share a server (PgBouncer
 * max_prepared_statements). Knows no sockets.
 */

import type { Suspicion } from '../sql/suspicion.ts';

/** A statement's text and parameter types, as Parse carries them, under the name that servers know it by. */
export class Statement {
  readonly id: number;
  readonly key: string;
  /** Parse's body after the name: query, NUL, parameter types. */
  readonly tail: Uint8Array;
  readonly serverName: string;
  /** What it may leave behind in the session; undefined: nobody has looked. */
  suspicion: Suspicion | null | undefined = undefined;
  /** Clients and servers that refer to it; at 0 it leaves the store. */
  references = 0;

  constructor(id: number, key: string, tail: Uint8Array) {
    this.id = id;
    this.key = key;
    this.tail = tail;
    this.serverName = `PGBOUNCER_${id}`;
  }
}

/** All statements of the process, by text. */
export class StatementStore {
  /** Bytes of text held. */
  bytes = 0;
  readonly #byKey = new Map<string, Statement>();
  #ids = 0;

  get size(): number {
    return this.#byKey.size;
  }

  /** The statement with this tail, with one more reference. The bytes are copied when it is new. */
  take(tail: Uint8Array): Statement {
    const key = Buffer.from(tail.buffer, tail.byteOffset, tail.length).toString('latin1');
    let statement = this.#byKey.get(key);
    if (statement === undefined) {
      statement = new Statement(++this.#ids, key, Uint8Array.from(tail));
      this.#byKey.set(key, statement);
      this.bytes += tail.length;
    }
    statement.references++;
    return statement;
  }

  /** One reference less. */
  drop(statement: Statement): void {
    if (--statement.references > 0) return;
    this.#byKey.delete(statement.key);
    this.bytes -= statement.tail.length;
  }

  [Symbol.iterator](): IterableIterator<Statement> {
    return this.#byKey.values();
  }
}

/** What one server has parsed, least recently used first. */
export class ServerStatements {
  readonly #store: StatementStore;
  readonly #known = new Map<number, Statement>();

  constructor(store: StatementStore) {
    this.#store = store;
  }

  get size(): number {
    return this.#known.size;
  }

  has(statement: Statement): boolean {
    return this.#known.has(statement.id);
  }

  /** Marks it as just used. */
  touch(statement: Statement): void {
    this.#known.delete(statement.id);
    this.#known.set(statement.id, statement);
  }

  add(statement: Statement): void {
    statement.references++;
    this.#known.set(statement.id, statement);
  }

  remove(statement: Statement): void {
    if (this.#known.delete(statement.id)) this.#store.drop(statement);
  }

  /** The one to give up first, or null. */
  get oldest(): Statement | null {
    return this.#known.values().next().value ?? null;
  }

  /** The server forgot everything (DISCARD ALL, DEALLOCATE ALL, a closed connection). */
  clear(): void {
    for (const statement of this.#known.values()) this.#store.drop(statement);
    this.#known.clear();
  }
}
