/** The prepared statements of one client, by the names that it gave them. */
import type { Statement, StatementStore } from '../server/statements.ts';

/** A client's names. The empty one stands for its unnamed statement, where that is kept for later exchanges. */
export class StatementNames {
  /** The unnamed statement of the server that the client has is the client's own. */
  unnamedThere = false;
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

  /** A Parse without a name goes to the server as it is, and replaces what the client had. */
  unnamedSent(store: StatementStore): void {
    this.unnamedThere = true;
    if (this.#byName !== null) this.dropUnnamed(store);
  }

  dropUnnamed(store: StatementStore): void {
    const statement = this.get('');
    if (statement === undefined) return;
    this.delete('');
    store.drop(statement);
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
