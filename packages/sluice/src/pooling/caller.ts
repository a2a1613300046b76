/**
 * A client that is no session: it logs in, waits for its pool's first server, or has brought a cancel request. What the
 * console shows of it, and by what the log knows it.
 */
import { ListNode } from '@sluice/core';
import type { StartupRequest } from '../client/login.ts';
import type { Conn } from '../net/conn.ts';
import { describeVisitor } from './visitor.ts';

/** As SHOW CLIENTS and SHOW SOCKETS have it. */
export type CallerState = 'login' | 'waiting' | 'waiting_cancel_req' | 'active_cancel_req';

export class Caller extends ListNode {
  readonly id: number;
  readonly conn: Conn;
  /** Null: it has brought a cancel request. */
  readonly request: StartupRequest | null;
  /** Clock milliseconds at which it was first heard of, and since when it is in its state. */
  readonly since: number;
  stateSince: number;
  #state: CallerState;
  /** The database of the pool that its cancel request goes through; null: none, or a peer's. */
  database: string | null;
  /** KILL_CLIENT. */
  drop: () => void;

  constructor(id: number, conn: Conn, request: StartupRequest | null, now: number) {
    super();
    this.id = id;
    this.conn = conn;
    this.request = request;
    this.since = this.stateSince = now;
    this.#state = request === null ? 'waiting_cancel_req' : 'login';
    this.database = request?.database ?? null;
    this.drop = () => conn.destroy();
  }

  get state(): CallerState {
    return this.#state;
  }

  becomes(state: CallerState, now: number): void {
    this.#state = state;
    this.stateSince = now;
  }

  /** In PgBouncer's words. */
  get name(): string {
    return describeVisitor(this.id, this.request, this.conn);
  }
}
