/** A request that waits: the core's waiter, with the promise or callback to settle. Owns nothing else. */
import { type Entry, Waiter, type WaiterOwner } from '@sluice/core';
import type { Conn } from './conn.ts';
import type { Scope } from './scope.ts';

export class Ticket extends Waiter<Conn> {
  /** Settles the caller; null while `acquire` has not returned yet. */
  resolve: ((conn: Conn) => void) | null = null;
  reject: ((error: unknown) => void) | null = null;
  /** How it ended when that was before there was anybody to tell. */
  entry: Entry<Conn> | null = null;
  error: unknown = null;
  /** The milliseconds it may wait, for the message; 0 = no bound. */
  patienceMs = 0;
  scope: Scope | null = null;
  trace: Error | null = null;
  /** It counts among the waiting requests of its scope. */
  counted = false;
  signal: AbortSignal | null = null;
  onAbort: (() => void) | null = null;

  constructor(owner: WaiterOwner<Conn>) {
    super(owner);
  }

  /** Stops listening to the signal. */
  unhook(): void {
    if (this.signal !== null && this.onAbort !== null) this.signal.removeEventListener('abort', this.onAbort);
    this.signal = null;
    this.onAbort = null;
  }
}
