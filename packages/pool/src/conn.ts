/**
 * One connection of the pool: the client, what is known of its session, and who holds it. Owns the listeners on the
 * client; decides nothing about its life, which is the core's.
 */
import type { Entry } from '@sluice/core';
import type { Bound } from './bounds.ts';
import { afterCommand, Dirt, forgotten, isTelling, suspectsIn } from './dirt.ts';
import { Guests } from './guests.ts';
import { bare, isSubmittable, textOf } from './query-config.ts';
import { forgetStatements, isBusy, isQueued, lastSent, type RawClient } from './raw-client.ts';
import { beginHold, endHold, type Scope } from './scope.ts';

/** A statement of the connect hook, to be said again when what it did has been undone. */
export interface Setup {
  readonly text: unknown;
  readonly values: unknown;
  /** Bits of Dirt, as far as they are known by now. */
  does: number;
  /** It begins or ends a transaction: it is said again with whichever of the others is. */
  isFrame: boolean;
}

export interface ServerError extends Error {
  code?: string;
  severity?: string;
  routine?: string;
}

/** Whose the connection of a scope was has given it back. */
const NOBODY = {};

export class Conn {
  readonly client: RawClient;
  readonly entry: Entry<Conn>;
  /** 'host:port' as dialled, or '' when the client chose. */
  readonly host: string;
  /** Not handed out yet: `verify` is still owed. */
  fresh = true;
  /** Transaction status of the last ReadyForQuery. */
  transaction: 'I' | 'T' | 'E' = 'I';
  dirt = 0;
  lastSql = '';
  /** Clock milliseconds at which the last query began or ended. */
  lastAt: number;
  /** Set when the connection failed or must not be used again. */
  broken: Error | null = null;
  /** It has failed or ended by itself, and that was told. */
  lost = false;
  /** Queries of the pool's own that are under way: checks, resets. What their tags tell is no dirt. */
  internal = 0;
  /** Hooks at work with a connection that nobody holds: queries are let through. */
  hooks = 0;
  /** The connect hook is running: its settings are part of the clean state. */
  settingUp = false;
  /** The pool itself is sending a query, this moment. */
  asking = false;
  /** Listeners of 'connect' have heard of it. */
  announced = false;
  /** The verify or prepare hook is at work on behalf of its next holder. */
  preparing = false;
  /** Milliseconds of the present hold that are not its holder's: the process was frozen, or a hook was at work. */
  sleptMs = 0;
  /** Its commands' tags are heard. */
  watched = false;
  /** Hears the tag of each command that has completed. */
  onTag: ((tag: string) => void) | null = null;
  /** Its holder has been given time for a process that stood still. */
  excused = false;
  /** Cancel requests that may still land. */
  cancels = 0;
  // The present holder.
  generation = -1;
  asLease = false;
  bound: Bound | null = null;
  /** Why what its holder has begun must not be committed: one of his queries was not sent, or not waited for. */
  doom: Error | null = null;
  scope: Scope | null = null;
  tenant = '';
  priority = 0;
  trace: Error | null = null;
  leakReported = false;
  /** Objects with a life of their own that were given to `query`: cursors, streams. */
  readonly alive = new WeakSet<object>();
  /** Puts the pool's own listeners on the client, where one of them was taken off. */
  listenToClient = (): void => {};
  /** Listeners of a lease's holder. */
  readonly guests = new Guests();
  readonly #setup: Setup[] = [];
  /** The entries of queries that the connect hook has sent, some of which may still be under way. */
  readonly #ofTheHook = new WeakMap<object, Setup>();
  readonly #ready: (() => void)[] = [];
  readonly #turns: (() => void)[] = [];

  constructor(client: RawClient, entry: Entry<Conn>, host: string, now: number) {
    this.client = client;
    this.entry = entry;
    this.host = host;
    this.lastAt = now;
  }

  get held(): boolean {
    return this.generation >= 0;
  }

  /** Watches the session from here on. `onError` hears every ErrorResponse. */
  watch(onError: (error: ServerError) => void, now: () => number): void {
    const connection = this.client.connection;
    if (connection === undefined || typeof connection.on !== 'function') return;
    this.watched = true;
    connection.on('commandComplete', (message: { text: string }) => {
      this.onTag?.(message.text);
      if (this.internal > 0) return;
      const entry = this.#entryUnderWay();
      // Its transactions are said again too: what they had rolled back must be.
      if (entry !== undefined && OF_TRANSACTIONS.test(message.text)) entry.isFrame = true;
      else if (entry !== undefined) entry.does = doneBy(entry, message.text);
      else if (isTelling(message.text)) this.#told(message.text);
    });
    // Before pg's own listeners, which tell the holder, who may release at once.
    connection.prependListener('readyForQuery', (message: { status: 'I' | 'T' | 'E' }) => {
      this.transaction = message.status;
      this.lastAt = now();
    });
    connection.prependListener('errorMessage', (error: ServerError) => {
      const entry = this.#entryUnderWay();
      if (entry !== undefined) entry.does = 0;
      onError(error);
    });
    connection.on('readyForQuery', () => {
      if (this.#turns.length > 0) call(this.#turns);
      this.#look();
      // What comes next may be refused by pg itself, and end without another.
      if (this.#ready.length > 0) setImmediate(() => this.#look());
    });
  }

  /** Notes a query that the holder sends. */
  note(config: unknown, now: number): void {
    this.lastSql = textOf(config) || this.#namedIn(config);
    this.lastAt = now;
    if (this.hooks > 0 || this.lastSql === '') return;
    this.dirt |= suspectsIn(this.lastSql);
    if (this.#setup.length > 0 && EXECUTES.test(this.lastSql)) this.dirt |= this.#runsLeave;
  }

  /** Sends a query of a hook, and notes it where it is the connect hook's. */
  noted(args: readonly unknown[], now: number, send: () => unknown): unknown {
    const [config, values] = args;
    this.note(config, now);
    if (!this.settingUp) return send();
    // Without its callback, which is called once; of an object with a life of its own the statement is kept.
    const alive = isSubmittable(config);
    const own = alive ? (config as { values?: unknown }).values : undefined;
    const given = Array.isArray(values) ? values : own;
    const entry: Setup = {
      text: alive ? this.lastSql : bare(config),
      values: given,
      does: suspectsIn(this.lastSql),
      isFrame: false,
    };
    const before = lastSent(this.client);
    const result = send();
    const query = lastSent(this.client);
    if (query !== undefined && query !== before) {
      this.#ofTheHook.set(query, entry);
      this.#setup.push(entry);
    }
    return result;
  }

  /** Sends a query of the pool's own. */
  ask(...args: unknown[]): unknown {
    this.asking = true;
    try {
      return this.client.query(...args);
    } finally {
      this.asking = false;
    }
  }

  /** pg lets a statement be run by its name alone once it was prepared. */
  #namedIn(config: unknown): string {
    const name = (config as { name?: unknown } | null)?.name;
    return typeof name === 'string' ? (this.client.connection?.parsedStatements?.[name] ?? '') : '';
  }

  /** Calls back when no query is under way: at once, at a later ReadyForQuery, or when the connection is gone. */
  whenReady(callback: () => void): void {
    if (this.broken === null && isBusy(this.client)) this.#later(this.#ready, callback);
    else callback();
  }

  /** Calls back when the query under way has ended, at once if there is none; others may be queued behind it. */
  whenTurnEnds(callback: () => void): void {
    if (this.broken === null && this.client.readyForQuery === false) this.#later(this.#turns, callback);
    else callback();
  }

  /** Queries were taken out of the client's queue, or let go again: no ReadyForQuery tells when nothing is left. */
  queueChanged(): void {
    if (this.#ready.length > 0) setImmediate(() => this.#look());
  }

  /** A query that pg refuses by itself ends without a ReadyForQuery, right after its callback. */
  #later(callbacks: (() => void)[], callback: () => void): void {
    callbacks.push(callback);
    setImmediate(() => this.#look());
  }

  #look(): void {
    if (this.#turns.length > 0 && this.client.readyForQuery !== false) call(this.#turns);
    if (this.#ready.length > 0 && !isBusy(this.client)) call(this.#ready);
  }

  /** Nothing will be ready on this connection any more. */
  gone(): void {
    call(this.#turns);
    call(this.#ready);
  }

  /** The session is as it was after the connect hook. */
  cleaned(all: boolean): void {
    if (all || this.dirt & Dirt.Prepared) forgetStatements(this.client, 'all');
    this.dirt = 0;
  }

  /** That of the connect hook's query whose answer is coming. */
  #entryUnderWay(): Setup | undefined {
    const query = this.#setup.length === 0 ? null : (this.client._activeQuery as object | null | undefined);
    return query ? this.#ofTheHook.get(query) : undefined;
  }

  /** A command of the holder's has completed. Others may wait behind it, so its text is not the last one. */
  #told(tag: string): void {
    const { client } = this;
    const text = textOf(client._activeQuery);
    forgetStatements(client, forgotten(tag, text));
    this.dirt = afterCommand(this.dirt, tag, text, !isQueued(client), this.hooked);
  }

  /** What the connect hook has done that a reset may undo: bits of Dirt. */
  get hooked(): number {
    let bits = 0;
    for (const { does } of this.#setup) bits |= does;
    return bits;
  }

  /**
   * What is undone with these bits: of a statement of the connect hook all that it did goes, since all of it will be said again.
   */
  undoneWith(dirt: number): number {
    for (let bits = dirt; ; ) {
      let more = bits;
      for (const { does } of this.#setup) if (does & bits) more |= does;
      if (more === bits) return bits;
      bits = more;
    }
  }

  /** What statements that the connect hook has prepared may leave behind when they are run. */
  get #runsLeave(): number {
    let bits = 0;
    for (const { does, text } of this.#setup) if (does & Dirt.Prepared) bits |= suspectsIn(textOf(text));
    return bits & (Dirt.Settings | Dirt.Locks);
  }

  /** What the connect hook has said. */
  get setup(): readonly Setup[] {
    return this.#setup;
  }

  /** Is its holder sure to wait when something in the holder's scope does? */
  get certain(): boolean {
    return this.scope?.owned === this;
  }

  /** Where its new holder is. */
  heldIn(scope: Scope | null): void {
    this.scope = scope;
    this.asLease = false;
    this.preparing = false;
    this.sleptMs = 0;
    this.excused = false;
    if (scope?.implied === true) beginHold(scope);
    else if (scope?.certain === true) scope.owned ??= this;
  }

  /** Nobody holds it any more. */
  letGo(): void {
    this.generation = -1;
    this.guests.removeAll();
    this.listenToClient();
    this.bound = null;
    this.doom = null;
    this.onTag = null;
    if (this.scope?.implied === true) endHold(this.scope);
    else if (this.scope?.owned === this) this.scope.owned = NOBODY;
    this.scope = null;
    this.trace = null;
    this.leakReported = false;
  }
}

const EXECUTES = /\bexecute\b/i;
const OF_TRANSACTIONS = /^(?:BEGIN|START TRANSACTION|COMMIT|ROLLBACK|SAVEPOINT|RELEASE)$/;

/** What the connect hook's statement has done, now that it is known. A RESET of its own belongs to it. */
function doneBy({ does, text }: Setup, tag: string): number {
  return afterCommand(does, tag, textOf(text), false, Dirt.Settings | Dirt.Listen);
}

function call(callbacks: (() => void)[]): void {
  for (const callback of callbacks.splice(0)) callback();
}
