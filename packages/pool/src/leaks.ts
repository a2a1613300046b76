/**
 * Connections that do not come back: held past a limit, or their handle garbage-collected. Owns the finding, the report
 * and, if asked, the taking back.
 */
import { EntryState } from '@sluice/core';
import { emitSafely } from './announce.ts';
import { abandonQuery } from './cancel.ts';
import { channels } from './channels.ts';
import type { Conn } from './conn.ts';
import type { LeakReport } from './contract.ts';
import type { Engine } from './engine.ts';
import { QueryCancelled } from './errors.ts';
import { dropQueued, isBusy, rewordError } from './raw-client.ts';
import { holderOf } from './report.ts';
import { unlessAnswered } from './stopped.ts';

interface Mark {
  conn: Conn;
  generation: number;
}

export class Leaks {
  readonly #engine: Engine;
  /** Only with leak detection: a registration costs more than the rest of an acquire. */
  readonly #registry: FinalizationRegistry<Mark> | null;

  constructor(engine: Engine) {
    this.#engine = engine;
    this.#registry = engine.settings.leakMs > 0 ? new FinalizationRegistry((mark) => this.collected(mark)) : null;
  }

  track(handle: object, conn: Conn): void {
    this.#registry?.register(handle, { conn, generation: conn.generation }, handle);
  }

  untrack(handle: object): void {
    this.#registry?.unregister(handle);
  }

  nextWake(): number {
    const { leakMs } = this.#engine.settings;
    let at = Number.POSITIVE_INFINITY;
    if (leakMs > 0)
      for (const entry of this.#engine.core.lists[EntryState.Linked]!)
        if (!entry.value!.leakReported && !entry.value!.preparing)
          at = Math.min(at, entry.stateSince + entry.value!.sleptMs + leakMs);
    return at;
  }

  look(): void {
    const { settings, clock, core } = this.#engine;
    if (settings.leakMs === 0) return;
    for (const entry of [...core.lists[EntryState.Linked]!]) {
      const conn = entry.value!;
      if (!conn.leakReported && !conn.preparing && clock.now - entry.stateSince - conn.sleptMs >= settings.leakMs)
        this.#report('held', conn);
    }
  }

  /** A handle is gone and its connection was never given back. Public for the test: collection can't be ordered. */
  collected({ conn, generation }: Mark): void {
    if (conn.generation !== generation) return;
    this.#engine.clock.refresh();
    this.#report('collected', conn);
  }

  /** A reported one was released after all (HikariCP's "unleaked" line). */
  cameBack(conn: Conn): void {
    const holder = holderOf(this.#engine, conn);
    emitSafely(this.#engine.events, 'leakReturned', { pool: this.#engine.name, holder });
  }

  #report(kind: LeakReport['kind'], conn: Conn): void {
    const engine = this.#engine;
    engine.tally.leaks++;
    conn.leakReported = true;
    const report: LeakReport = {
      pool: engine.name,
      kind,
      holder: holderOf(engine, conn),
      reclaimed: engine.settings.reclaim,
    };
    const what = kind === 'held' ? `held for more than ${engine.settings.leakMs} ms` : 'not referenced any more';
    if (engine.settings.reclaim) this.#takeBack(conn, what);
    if (channels.leak.hasSubscribers) channels.leak.publish(report);
    emitSafely(engine.events, 'leak', report, conn.client);
  }

  /**
   * A lease dies with its generation, so its connection can serve again: cancelled, rolled back, reset. Whoever holds the
   * client itself could go on using it, so that connection is closed.
   */
  #takeBack(conn: Conn, what: string): void {
    const engine = this.#engine;
    const { generation, entry } = conn;
    engine.tally.reclaimed++;
    const { asLease } = conn;
    const text = `the query was stopped, for its connection was ${what} and was taken back (leakAction): release connections in time, or raise leakDetectionMillis`;
    dropQueued(conn.client, new QueryCancelled('reclaimed', text));
    conn.queueChanged();
    rewordError(conn.client, (error) => unlessAnswered(new QueryCancelled('reclaimed', text, error), error));
    engine.forfeit(conn);
    // With reset: 'none' nothing would roll back what is open.
    const isClosed =
      !asLease || (engine.settings.reset === 'none' && (isBusy(conn.client) || conn.transaction !== 'I'));
    if (isClosed) {
      abandonQuery(conn.client, engine.settings.cancelTimeoutMs);
      engine.core.discard(entry, generation, 'cancelled');
    } else if (!isBusy(conn.client)) engine.core.release(entry, generation, 'reset');
    else {
      engine.core.release(entry, generation, 'cancels');
      void engine.queries.cancel(conn);
    }
    engine.wake();
  }
}
