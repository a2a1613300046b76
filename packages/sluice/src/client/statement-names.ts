/** The prepared statements of one client, by the names that it gave them. */
import type { Statement, StatementStore } from '../server/statements.ts';

/** A client's names. */
export class StatementNames {
  #byName: Map<string, Statement> | null = null;

  get size(): number {
    return this.#byName?.size ?? 0;
  }

  get(name: string): Statement | undefined {
    return this.#byName?.get(name);
  }

  set(name: string, statement: Statement): void {
    this.#byName ??= new Map();
    this.#byName.set(name, statement);
  }

  delete(name: string): void {
    this.#byName?.delete(name);
  }

  *entries(): IterableIterator<[string, Statement]> {
    if (this.#byName !== null) yield* this.#byName;
  }

  /** Forgets all names. */
  clear(store: StatementStore): void {
    if (this.#byName === null) return;
    for (const statement of this.#byName.values()) store.drop(statement);
    this.#byName = null;
  }
}
