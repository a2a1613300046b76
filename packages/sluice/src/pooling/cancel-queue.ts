/**
 * Cancel requests for the servers of one pool, or for one peer, on their way: each needs a connection of its own, and there are
 * not more of them at a time than there is room for (PgBouncer: twice pool_size with the servers themselves; a peer's pool_size).
 * Who finds no room waits in line, up to cancel_wait_timeout. Knows neither sessions nor servers.
 */
import type { Conn } from '../net/conn.ts';
import { timeLimit } from '../net/time-limit.ts';
import { sendCancel } from '../server/cancel.ts';
import type { CancelTarget } from '../server/holder.ts';
import type { PoolingContext } from './pool-shape.ts';

/** What became of a request that was sent, and of one whose query had ended before; PgBouncer's words. */
export const CANCEL_SENT = 'successfully sent cancel request';
const UNWANTED = 'not sending cancel request for client that is now idle';

export interface CancelErrand {
  readonly to: CancelTarget;
  /** Milliseconds that it may wait for room, and that the other side has then; 0: no bound. */
  readonly timeoutMs: number;
  /** Is there still what it was meant for? Asked when it could be sent. */
  isWanted(): boolean;
  /** It goes out now: from here on it may land. */
  sending(): void;
  /**
   * The end, in PgBouncer's words. `wasSent`: `sending` was called before. `mayStillLand`: the other side may have it and has not
   * said that it is done with it.
   */
  done(outcome: string, wasSent: boolean, mayStillLand: boolean): void;
}

/** A connection that carries a cancel request, or is being made for one. */
export interface Carriage extends Birth {
  readonly state: 'new' | 'active_cancel';
  /** Null: not connected yet. */
  readonly conn: Conn | null;
}

/** Its number, and clock milliseconds of its beginning. */
export interface Birth {
  readonly id: number;
  readonly since: number;
}

export function birthOf({ nextConnectionId, clock }: Pick<PoolingContext, 'nextConnectionId' | 'clock'>): () => Birth {
  return () => ({ id: nextConnectionId(), since: clock.update() });
}

class Run implements Carriage {
  readonly id: number;
  readonly since: number;
  state: Carriage['state'] = 'new';
  conn: Conn | null = null;

  constructor({ id, since }: Birth) {
    this.id = id;
    this.since = since;
  }
}

interface Place {
  readonly errand: CancelErrand;
  readonly timer: NodeJS.Timeout | undefined;
}

export class CancelQueue {
  /** How many connections for cancel requests there may be now. */
  readonly #room: () => number;
  readonly #born: () => Birth;
  readonly #line: Place[] = [];
  readonly #runs = new Set<Run>();

  constructor(room: () => number, born: () => Birth) {
    this.#room = room;
    this.#born = born;
  }

  /** Those in line. */
  get waiting(): number {
    return this.#line.length;
  }

  /** The connections that carry one, or are being made for one. */
  get carriages(): ReadonlySet<Carriage> {
    return this.#runs;
  }

  add(errand: CancelErrand): void {
    const place: Place = { errand, timer: timeLimit(errand.timeoutMs, () => this.#late(place)) };
    this.#line.push(place);
    this.#proceed();
  }

  /** There is one at least: a reserve must not keep everybody from cancelling. */
  get #hasRoom(): boolean {
    return this.#runs.size < Math.max(1, this.#room());
  }

  /** There may be more room now, and some may be for queries that have ended. */
  tick(): void {
    if (this.#line.length === 0) return;
    for (const place of this.#line.filter(({ errand }) => !errand.isWanted())) this.#leave(place, UNWANTED);
    this.#proceed();
  }

  #late(place: Place): void {
    this.#leave(place, 'cancel_wait_timeout');
  }

  #leave(place: Place, outcome: string): void {
    this.#line.splice(this.#line.indexOf(place), 1);
    clearTimeout(place.timer);
    place.errand.done(outcome, false, false);
  }

  #proceed(): void {
    while (this.#line.length > 0 && this.#hasRoom) {
      const place = this.#line[0]!;
      if (!place.errand.isWanted()) {
        this.#leave(place, UNWANTED);
        continue;
      }
      this.#line.shift();
      clearTimeout(place.timer);
      this.#run(place.errand);
    }
  }

  #run(errand: CancelErrand): void {
    const run = new Run(this.#born());
    this.#runs.add(run);
    const connected = (conn: Conn): boolean => {
      if (!errand.isWanted()) return false;
      run.conn = conn;
      run.state = 'active_cancel';
      errand.sending();
      return true;
    };
    sendCancel(
      errand.to,
      errand.timeoutMs,
      (error, mayStillLand) => {
        this.#runs.delete(run);
        const wasSent = run.state === 'active_cancel';
        errand.done(error === null ? (wasSent ? CANCEL_SENT : UNWANTED) : failure(error), wasSent, mayStillLand);
        this.#proceed();
      },
      connected,
    );
  }
}

function failure(error: NodeJS.ErrnoException): string {
  return error.code === 'ETIMEDOUT' ? 'cancel_wait_timeout' : `cancel request failed: ${error.message}`;
}
