/**
 * Who waits while holding what. A scope is an asynchronous context (a transaction, a `use`, an HTTP request) in which
 * connections are held; a request made inside it makes it, and the scopes around it, wait. Owns the contexts and the
 * question whether everybody waits for everybody; fails nobody itself.
 */
import { AsyncLocalStorage } from 'node:async_hooks';

export class Scope {
  /** The pool it belongs to: scopes of several pools nest in one context. */
  readonly owner: object;
  readonly parent: Scope | null;
  /** Requests of this scope or one inside it that wait for the owner. */
  waiting = 0;
  /** Where the innermost of them waits. */
  waitTrace: Error | null = null;
  /** The open transaction, if the scope is one's. */
  transaction: object | null = null;

  constructor(owner: object, parent: Scope | null) {
    this.owner = owner;
    this.parent = parent;
  }
}

const contexts = new AsyncLocalStorage<Scope>();

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

export function newScope(owner: object): Scope {
  return new Scope(owner, contexts.getStore() ?? null);
}

export function runIn<R>(scope: Scope, fn: () => R): R {
  return contexts.run(scope, fn);
}

/** Makes everything that follows in this asynchronous flow part of the scope. For `deadlockDetection: 'all'` only. */
export function enter(scope: Scope): void {
  contexts.enterWith(scope);
}

/** A request of this scope begins to wait. */
export function beginWait(scope: Scope, trace: Error): void {
  for (let at: Scope | null = scope; at !== null; at = at.parent) {
    if (at.owner !== scope.owner) continue;
    at.waiting++;
    at.waitTrace = trace;
  }
}

export function endWait(scope: Scope): void {
  for (let at: Scope | null = scope; at !== null; at = at.parent) if (at.owner === scope.owner) at.waiting--;
}
