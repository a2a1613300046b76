/**
 * A request that waits: the core's waiter, with the promise or callback to settle. Used again once it has ended, so nobody
 * but the engine may keep one. Owns nothing else.
 */
import { type Entry, Waiter, type WaiterOwner } from '@sluice/core';
import type { Conn } from './conn.ts';
import type { AcquireOptions } from './contract.ts';
import type { Engine } from './engine.ts';
import type { Scope } from './scope.ts';

export type Shape = (engine: Engine, conn: Conn) => unknown;

export class Ticket extends Waiter<Conn> {
  /** Settles the caller; null while `acquire` has not returned yet. */
  resolve: ((value: unknown) => void) | null = null;
  /** Makes of the connection what `resolve` gets. */
  shape: Shape;
  reject: ((error: unknown) => void) | null = null;
  /** Makes a promise's functions those that settle it: one closure a ticket, not one a promise. */
  readonly settleBy = (resolve: (value: unknown) => void, reject: (error: unknown) => void): void => {
    this.resolve = resolve;
    this.reject = reject;
  };
  /** How it ended when that was before there was anybody to tell. */
  entry: Entry<Conn> | null = null;
  error: unknown = null;
  /** The milliseconds it may wait, for the message; 0 = no bound. */
  patienceMs = 0;
  scope: Scope | null = null;
  trace: Error | null = null;
  /** It counts among the waiting requests of its scope. */
  counted = false;
  /** Stops listening to its signal. */
  stopListening: (() => void) | null = null;
  /** Its time limit is a point in time, and not so long a wait. */
  untilDate = false;
  /** It has been given time for a process that stood still. */
  excused = false;

  constructor(owner: WaiterOwner<Conn>, shape: Shape) {
    super(owner);
    this.shape = shape;
  }

  /** What the caller asks beyond the pool's own patience. */
  apply(options: AcquireOptions, now: number): void {
    const { timeoutMillis, deadline } = options;
    if (typeof timeoutMillis === 'number') {
      this.patienceMs = timeoutMillis;
      this.deadline = timeoutMillis > 0 ? now + timeoutMillis : Number.POSITIVE_INFINITY;
    }
    if (deadline !== undefined && deadline !== null) {
      const left = Number(deadline) - Date.now();
      if (now + left < this.deadline) {
        // What stands for a wait of so long, in a round with hooks, is no more of a date than that.
        this.untilDate = now + left < this.deadline - 5;
        this.deadline = now + left;
        this.patienceMs = Math.max(0, Math.round(left));
      }
    }
    this.priority = options.priority ?? 0;
    this.tenant = options.tenant ?? '';
  }

  /** Forgets everything of the last request but its priority and tenant, which are always set. */
  clear(): void {
    this.resolve = null;
    this.reject = null;
    this.entry = null;
    this.error = null;
    this.scope = null;
    this.trace = null;
    this.untilDate = false;
    this.excused = false;
    this.priority = 0;
    this.tenant = '';
  }

  /** Stops listening to the signal. */
  unhook(): void {
    this.stopListening?.();
    this.stopListening = null;
  }
}
