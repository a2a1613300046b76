/** The prepared statements of one client, by the names that it gave them. */
import type { Effect, Reply } from '@sluice/wire';
import type { Statement, StatementStore } from '../server/statements.ts';
import type { AutoPrepared } from './auto-prepared.ts';
import { NAMES_BYTES } from './bounds.ts';

export interface OnRun {
  readonly kind: Reply;
  readonly effect: Effect & { apply(): void };
  /** Its Parse has not been sent. */
  isNew: boolean;
}

/**
 * Whether the unnamed statement of the server that a client has is the client's own: known by the answers to the Parses that went
 * there as they were. One object for all of them, since they are answered in their order.
 */
export class UnnamedStatement implements Effect {
  readonly harmless = true;
  /** Parses sent. */
  sent = 0;
  /** The last one is in the group that is being sent: what follows there is skipped with it, if it is. */
  inGroup = false;
  #answered = 0;
  /** Those whose group has been sent to its end, so that their answers come. */
  #ended = 0;
  #good = 0;
  /** Those up to this one do not count any more. */
  #past = 0;

  /** Answers are on their way. */
  get open(): boolean {
    return this.#answered < this.#ended;
  }

  get there(): boolean {
    return this.#answered === this.sent && this.#good === this.sent && this.sent > this.#past;
  }

  /** What comes next is independent of what came before. */
  groupEnds(): void {
    this.inGroup = false;
    this.#ended = this.sent;
  }

  isSent(): void {
    this.sent++;
    this.inGroup = true;
  }

  confirm(): void {
    this.#good = ++this.#answered;
  }

  revert(): void {
    this.#answered++;
    this.#good = 0;
  }

  /** Another server, or another statement in its place. */
  isGone(): void {
    this.#past = this.sent;
    this.inGroup = false;
  }
}

/** What a name takes beside its characters. */
const BESIDE_BYTES = 100;

/** The longest name that is remembered as the last one. */
const REMEMBERED_BYTES = 64;

const bytesOf = (name: string) => BESIDE_BYTES + name.length;

/** A client's names. The empty one stands for its unnamed statement, where that is kept for later exchanges. */
export class StatementNames {
  readonly unnamed = new UnnamedStatement();
  /** The last unnamed one that is prepared on servers by a name of ours; null: there was none. */
  auto: AutoPrepared | null = null;
  /** What the next Query or Execute does to the names, if it comes at once. */
  onRun: OnRun | null = null;
  #byName: Map<string, Statement> | null = null;
  #bytes = 0;
  /** Most clients name the same statement again and again: it need not be made anew from bytes. */
  #lastName = '';

  get size(): number {
    return this.#byName?.size ?? 0;
  }

  get(name: string): Statement | undefined {
    if (name === '' && this.auto?.isCurrent) return this.auto.statement ?? undefined;
    return this.#byName?.get(name);
  }

  /** The unnamed statement is kept for later exchanges. */
  get keepsUnnamed(): boolean {
    return this.#byName?.has('') === true;
  }

  /** The server goes back, or another unnamed statement takes the place of this one. What is kept is kept. */
  unnamedIsGone(): void {
    this.unnamed.isGone();
    this.autoIsGone();
  }

  /** The unnamed statement is not the one that was prepared by a name of ours. */
  autoIsGone(): void {
    if (this.auto !== null) this.auto.isCurrent = false;
  }

  /** The name that begins at `from` and ends with a NUL before `end`; null: it does not. */
  nameAt(buffer: Buffer, from: number, end: number): string | null {
    const before = this.#lastName;
    const last = from + before.length;
    let at = from;
    while (at < last && buffer[at] === before.charCodeAt(at - from)) at++;
    if (at === last && last < end && buffer[last] === 0) return before;
    const to = buffer.indexOf(0, from);
    if (to < 0 || to >= end) return null;
    const name = buffer.toString('latin1', from, to);
    if (name.length <= REMEMBERED_BYTES) this.#lastName = name;
    return name;
  }

  hasRoomFor(name: string): boolean {
    return this.#byName?.has(name) === true || this.#bytes + bytesOf(name) <= NAMES_BYTES;
  }

  nameOf(statement: Statement): string | undefined {
    if (this.auto?.isCurrent && this.auto.statement === statement) return '';
    for (const [name, one] of this.entries()) if (one === statement) return name;
    return undefined;
  }

  set(name: string, statement: Statement): void {
    this.#byName ??= new Map();
    if (!this.#byName.has(name)) this.#bytes += bytesOf(name);
    this.#byName.set(name, statement);
  }

  /** What comes next is independent of what came before. */
  groupEnds(): void {
    this.unnamed.groupEnds();
    this.onRun = null;
  }

  dropUnnamed(store: StatementStore): void {
    this.autoIsGone();
    const statement = this.get('');
    if (statement === undefined) return;
    this.delete('');
    store.drop(statement);
  }

  delete(name: string): void {
    if (this.#byName?.delete(name)) this.#bytes -= bytesOf(name);
  }

  *entries(): IterableIterator<[string, Statement]> {
    if (this.#byName !== null) yield* this.#byName;
  }

  /** Forgets all names. */
  clear(store: StatementStore): void {
    this.auto?.clear(store);
    if (this.#byName === null) return;
    for (const statement of this.#byName.values()) store.drop(statement);
    this.#byName = null;
    this.#bytes = 0;
  }
}
