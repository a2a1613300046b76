/**
 * One connection of the pool: the client, what is known of its session, and who holds it. Owns the listeners on the
 * client; decides nothing about its life, which is the core's.
 */
import type { Entry } from '@sluice/core';
import { afterCommand, Dirt, forgotten, isTelling, suspectsIn } from './dirt.ts';
import { forgetStatements, isBusy, isQueued, type RawClient } from './raw-client.ts';
import { beginHold, endHold, type Scope } from './scope.ts';

/** A statement of the connect hook, to be said again when what it did has been undone. */
export interface Setup {
  readonly text: unknown;
  readonly values: unknown;
  /** Bits of Dirt. */
  readonly does: number;
}

const SETS = /^\s*set\b/i;
const LISTENS = /^\s*listen\b/i;

export interface ServerError extends Error {
  code?: string;
  severity?: string;
  routine?: string;
}

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
  /** Depth of the pool's own use: hooks, checks, resets. Above 0 any query is let through. */
  internal = 0;
  /** The connect hook is running: its settings are part of the clean state. */
  settingUp = false;
  /** Cancel requests that may still land. */
  cancels = 0;
  // The present holder.
  generation = -1;
  asLease = false;
  scope: Scope | null = null;
  tenant = '';
  priority = 0;
  trace: Error | null = null;
  leakReported = false;
  readonly #setup: Setup[] = [];
  /** Statements of the connect hook that are still under way: what their tags tell is no dirt. */
  #settingUp = 0;
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
    connection.on('commandComplete', (message: { text: string }) => {
      if (isTelling(message.text) && this.internal === 0 && this.#settingUp === 0) this.#told(message.text);
    });
    // Before pg's own listeners, which tell the holder, who may release at once.
    connection.prependListener('readyForQuery', (message: { status: 'I' | 'T' | 'E' }) => {
      this.transaction = message.status;
      this.lastAt = now();
      if (this.#settingUp > 0) this.#settingUp--;
    });
    connection.prependListener('errorMessage', onError);
    connection.on('readyForQuery', () => {
      if (this.#turns.length > 0) call(this.#turns);
      if (this.#ready.length > 0 && !isBusy(this.client)) call(this.#ready);
    });
  }

  /** Notes a query that the holder sends. */
  note(config: unknown, values: unknown, now: number): void {
    const text = textOf(config);
    this.lastSql = text;
    this.lastAt = now;
    const suspects = text === '' ? 0 : suspectsIn(text);
    if (!this.settingUp) {
      if (this.internal === 0) this.dirt |= suspects;
      return;
    }
    this.#settingUp++;
    const does = suspects | (SETS.test(text) ? Dirt.Settings : 0) | (LISTENS.test(text) ? Dirt.Listen : 0);
    if (does !== 0) this.#setup.push({ text: config, values: Array.isArray(values) ? values : undefined, does });
  }

  /** Calls back when no query is under way: at once, or at a later ReadyForQuery. */
  whenReady(callback: () => void): void {
    if (isBusy(this.client)) this.#ready.push(callback);
    else callback();
  }

  /** Calls back when the query under way has ended, at once if there is none; others may be queued behind it. */
  whenTurnEnds(callback: () => void): void {
    if (this.client.readyForQuery === false) this.#turns.push(callback);
    else callback();
  }

  /** The session is as it was after the connect hook. */
  cleaned(all: boolean): void {
    if (all || this.dirt & Dirt.Prepared) forgetStatements(this.client, 'all');
    this.dirt = 0;
  }

  /** A command of the holder's has completed. Others may wait behind it, so its text is not the last one. */
  #told(tag: string): void {
    const { client } = this;
    const text = textOf(client._activeQuery);
    forgetStatements(client, forgotten(tag, text));
    this.dirt = afterCommand(this.dirt, tag, text, !isQueued(client), this.#setup.length > 0);
  }

  /** What the connect hook has done that a reset may undo. */
  get setup(): readonly Setup[] {
    return this.#setup;
  }

  /** Where its new holder is. */
  heldIn(scope: Scope | null): void {
    this.scope = scope;
    if (scope?.implied === true) beginHold(scope);
  }

  /** Nobody holds it any more. */
  letGo(): void {
    this.generation = -1;
    if (this.scope?.implied === true) endHold(this.scope);
    this.scope = null;
    this.trace = null;
    this.leakReported = false;
  }
}

function call(callbacks: (() => void)[]): void {
  for (const callback of callbacks.splice(0)) callback();
}

/** The SQL of whatever was given to `query`; '' when it can't be told. */
export function textOf(config: unknown): string {
  if (typeof config === 'string') return config;
  if (typeof config !== 'object' || config === null) return '';
  const { text, cursor } = config as { text?: unknown; cursor?: { text?: unknown } };
  if (typeof text === 'string') return text;
  return typeof cursor?.text === 'string' ? cursor.text : '';
}
