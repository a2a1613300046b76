/**
 * Who waits while holding what. A scope is an asynchronous context (a transaction, a `use`, an HTTP request) in which
 * connections are held; a request made inside it makes it, and the scopes around it, wait. Owns the contexts and the
 * question whether everybody waits for everybody; fails nobody itself.
 */
import { AsyncLocalStorage } from 'node:async_hooks';

/** `own`: of a function with a connection of its own. `shared`: of many (pool.scope, an HTTP request). */
export type ScopeKind = 'own' | 'shared' | 'implied';

export class Scope {
  /** The pool it belongs to: scopes of several pools nest in one context. */
  readonly owner: object;
  readonly parent: Scope | null;
  /**
   * Opened by a plain connect or acquire, for what follows in its flow. What else the caller starts before it awaits is
   * inside too, so it tells of a nesting only while a connection that was given out in it is held, and never for certain.
   */
  readonly implied: boolean;
  /** Opened around a function that has a connection of its own and gives it back at its end: a transaction, a `use`. */
  readonly certain: boolean;
  /** That connection. */
  owned: object | null = null;
  /** Connections held that were given out in it. */
  held = 0;
  /** Requests of this scope or one inside it that wait for the owner. */
  waiting = 0;
  /** Where the innermost of them waits. */
  waitTrace: Error | null = null;
  /** Clock milliseconds since when. */
  waitSince = 0;
  /** The open transaction, if the scope is one's. */
  transaction: object | null = null;

  constructor(owner: object, parent: Scope | null, kind: ScopeKind) {
    this.owner = owner;
    this.parent = parent;
    this.implied = kind === 'implied';
    this.certain = kind === 'own';
  }
}

const contexts = new AsyncLocalStorage<Scope | undefined>();
/** There are scopes in this process: before that nothing is paid for them. */
let used = false;

/** Is there a scope of any pool around the present code? */
export function isInScope(): boolean {
  return contexts.getStore() !== undefined;
}

/** The innermost scope of this pool around the present code, or null. */
export function currentScope(owner: object): Scope | null {
  let scope = contexts.getStore() ?? null;
  while (scope !== null && scope.owner !== owner) scope = scope.parent;
  return scope;
}

/** The open transaction around the present code that a new one would nest in, or null. */
export function currentTransaction(owner: object): object | null {
  for (let scope = currentScope(owner); scope !== null; scope = scope.parent)
    if (scope.owner === owner && scope.transaction !== null) return scope.transaction;
  return null;
}

export function newScope(owner: object, kind: ScopeKind): Scope {
  let parent = contexts.getStore() ?? null;
  // Also keeps a flow that starts others for ever from building a chain of them.
  while (parent?.implied === true && parent.held <= 0) parent = parent.parent;
  return new Scope(owner, parent, kind);
}

export function runIn<R>(scope: Scope, fn: () => R): R {
  used = true;
  return contexts.run(scope, fn);
}

/** Runs `fn` in no scope: a connection's socket outlives whoever had it dialled, and calls back in the scope of its making. */
export function outside<R>(fn: () => R): R {
  return used ? contexts.run(undefined, fn) : fn();
}

/** The callback, to be run in the scope of the present code, whoever calls it. */
export function bound<A extends unknown[], R>(callback: (...args: A) => R): (...args: A) => R {
  const scope = contexts.getStore();
  return (...args) => (used ? contexts.run(scope, callback, ...args) : callback(...args));
}

/** Makes everything that follows in this asynchronous flow part of a new scope. For `deadlockDetection: 'all'` only. */
export function enterImplied(owner: object): void {
  used = true;
  contexts.enterWith(newScope(owner, 'implied'));
}

/** A connection was given out in the scope: it counts from when its holder can go on. */
export function beginHold(scope: Scope): void {
  queueMicrotask(() => scope.held++);
}

/** At once: what its flow asks for next is not asked while it holds. It may come before the hold has begun. */
export function endHold(scope: Scope): void {
  scope.held--;
}

/** A request of this scope begins to wait. */
export function beginWait(scope: Scope, trace: Error, now: number): void {
  for (let at: Scope | null = scope; at !== null; at = at.parent) {
    if (at.owner !== scope.owner) continue;
    at.waiting++;
    at.waitTrace = trace;
    at.waitSince = now;
  }
}

export function endWait(scope: Scope): void {
  for (let at: Scope | null = scope; at !== null; at = at.parent) if (at.owner === scope.owner) at.waiting--;
}
