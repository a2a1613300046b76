/**
 * The core's port over `pg` clients: opens, checks, resets and closes connections and answers the core. Owns what happens
 * on the wire between two holders; who gets a connection, and when to dial, is the core's.
 */
import { type CloseReason, type Entry, EntryState, type PoolPort } from '@sluice/core';
import { announce, emitSafely } from './announce.ts';
import { abandonQuery } from './cancel.ts';
import { channels } from './channels.ts';
import { Conn, type ServerError } from './conn.ts';
import { type DialDone, dial } from './dial.ts';
import { ALL_DIRT, Dirt, undo } from './dirt.ts';
import type { Engine } from './engine.ts';
import { spoilt } from './evict.ts';
import { destroy, forgetStatements, isSpent, type RawClient } from './raw-client.ts';
import { HookError } from './refusals.ts';
import { outside } from './scope.ts';
import { within } from './timers.ts';

type Callback = (error: unknown) => void;

/** A connection that is given up for lost has so long for its goodbye. */
const LOST_MS = 200;

export class ClientPort implements PoolPort<Conn> {
  readonly #engine: Engine;
  /** Clients that are being dialled: known to the outside before they are connections. */
  readonly dialling = new Map<Entry<Conn>, RawClient>();

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  open(entry: Entry<Conn>): void {
    const engine = this.#engine;
    const started = engine.clock.now;
    const onClient = (client: RawClient) => {
      this.dialling.set(entry, client);
      client.on('error', () => {});
    };
    const wanted = () => entry.state === EntryState.Opening;
    const done: DialDone = (error, dialled) => {
      engine.clock.refresh();
      this.dialling.delete(entry);
      if (dialled === null) this.#failed(entry, error);
      else if (!wanted()) this.#goodbye(entry, dialled.client);
      else this.#connected(entry, dialled.client, dialled.host, started);
    };
    outside(() => dial(engine.dialOptions, onClient, wanted, done));
  }

  #connected(entry: Entry<Conn>, client: RawClient, host: string, started: number): void {
    const engine = this.#engine;
    const conn = new Conn(client, entry, host, engine.clock.now);
    entry.value = conn;
    conn.watch(
      (error) => this.#judge(conn, error),
      () => engine.clock.refresh(),
    );
    const failed = (error: Error) => this.#broke(conn, error);
    const ended = () => this.#broke(conn, new Error('Connection terminated'));
    let listens = false;
    conn.listenToClient = () => {
      if (listens && (client.listenerCount?.('error', failed) ?? 1) > 0) return;
      listens = true;
      client.removeListener('error', failed).on('error', failed);
      client.removeListener('end', ended).once('end', ended);
    };
    conn.listenToClient();
    engine.queries.adopt(conn);
    const { onConnect, afterConnect } = engine.options;
    const ready = (error: unknown) => {
      engine.clock.refresh();
      if (this.#isLost(conn, error, 'right after its login')) return;
      // Given up while its hook was at work: it is being closed, and nobody is told of it.
      if (entry.state !== EntryState.Opening) return;
      const dialMs = engine.clock.now - started;
      engine.tally.dialMs.note(dialMs);
      announce(engine, conn, left(), () => {
        engine.clock.refresh();
        this.#announced(conn, dialMs);
      });
    };
    const left = () => {
      const { timeoutMs } = engine.dialOptions;
      return timeoutMs > 0 ? Math.max(1, timeoutMs - (engine.clock.now - started)) : Number.POSITIVE_INFINITY;
    };
    if (onConnect === undefined && afterConnect === undefined) ready(null);
    else {
      const leftMs = left();
      const why = `the connect hook did not end within dialTimeoutMillis (${Math.ceil(leftMs)} ms were left after the login)`;
      const setUp = this.#setUp(conn, [onConnect, afterConnect]);
      within(setUp, leftMs, () => new HookError(new Error(why))).then(() => ready(null), ready);
    }
  }

  /** The listeners of 'connect' have ended: it can be given out, if it is still there. */
  #announced(conn: Conn, dialMs: number): void {
    const engine = this.#engine;
    const { entry, client } = conn;
    if (entry.state !== EntryState.Opening || this.#isLost(conn, null, "under the listeners of 'connect'")) return;
    if (channels.open.hasSubscribers) channels.open.publish({ pool: engine.name, client, dialMs });
    engine.opened(entry, null);
  }

  /** Has it failed before anybody had it? Then its dial has, when it is closed. */
  #isLost(conn: Conn, error: unknown, when: string): boolean {
    const engine = this.#engine;
    const { entry, client } = conn;
    const ended = isSpent(client) ? new Error(`the server ended the connection ${when}`) : null;
    const failure = error ?? conn.broken ?? ended;
    if (!failure) return false;
    this.#farewell(client, engine.settings.closeTimeoutMs, () => {
      if (conn.announced) emitSafely(engine.events, 'remove', client);
      engine.opened(entry, failure);
    });
    return true;
  }

  async #setUp(conn: Conn, hooks: readonly (((client: never) => unknown) | undefined)[]): Promise<void> {
    conn.hooks++;
    conn.settingUp = true;
    try {
      for (const hook of hooks) await hook?.(conn.client as never);
    } catch (error) {
      throw new HookError(error);
    } finally {
      conn.settingUp = false;
      conn.hooks--;
    }
  }

  #failed(entry: Entry<Conn>, error: unknown): void {
    this.#engine.opened(entry, error ?? new Error('the connection could not be made'));
  }

  /** A dial that finished after its entry was given up. */
  #goodbye(entry: Entry<Conn>, client: RawClient): void {
    this.#farewell(client, this.#engine.settings.closeTimeoutMs, () => {
      this.#engine.core.closed(entry);
      this.#engine.wake();
    });
  }

  /** Ends a client, by cutting it off when its goodbye takes longer; `gone` is called once. */
  #farewell(client: RawClient, patienceMs: number, gone: () => void): void {
    let over = false;
    const once = () => {
      if (over) return;
      over = true;
      clearTimeout(timer);
      gone();
    };
    const timer = setTimeout(() => {
      destroy(client);
      once();
    }, patienceMs);
    client.end(once);
  }

  check(entry: Entry<Conn>): void {
    const engine = this.#engine;
    const conn = entry.value!;
    const startedAt = engine.clock.now;
    engine.tally.checks++;
    if (engine.settings.allowExitOnIdle) conn.client.ref?.();
    this.#command(conn, engine.settings.checkQuery, engine.settings.checkTimeoutMs, (error) => {
      const alive = !error && !isSpent(conn.client);
      if (!alive) engine.tally.checksFailed++;
      if (entry.state !== EntryState.Checking) return;
      // What broke this connection most likely broke those that are older: they are not tried one by one.
      if (!alive) engine.distrust(startedAt, conn);
      engine.core.checked(entry, alive);
      engine.nowIdle(entry);
      engine.wake();
    });
  }

  reset(entry: Entry<Conn>): void {
    const engine = this.#engine;
    const conn = entry.value!;
    const { resetTimeoutMs } = engine.settings;
    let over = false;
    const finish = (error: unknown, isClean = !error) => {
      if (over) return;
      over = true;
      clearTimeout(timer);
      engine.clock.refresh();
      if (error) engine.tally.resetsFailed++;
      if (entry.state !== EntryState.Resetting) return;
      if (conn.watched) entry.provenAt = conn.lastAt;
      // A cancel that is still under way might reach the next holder's query.
      engine.core.resetDone(entry, isClean && !isSpent(conn.client) && conn.cancels === 0);
      engine.nowIdle(entry);
      engine.wake();
    };
    const timer = setTimeout(() => finish(new Error('reset timed out')), resetTimeoutMs);
    conn.whenReady(() => {
      if (over) return;
      conn.dirt = conn.undoneWith(conn.dirt);
      // Only a new connection has again what the connect hook had put into temporary tables.
      if (conn.hooked & this.#undoneBy(conn) & Dirt.Temp) {
        finish(null, false);
        return;
      }
      const sql = this.#resetSql(conn);
      const after = (error: unknown) => (error ? finish(error) : this.#afterRelease(conn, finish));
      if (sql === '') after(null);
      else this.#undo(conn, sql, after);
    });
  }

  /** What the connection's reset undoes. */
  #undoneBy(conn: Conn): number {
    const { reset } = this.#engine.settings;
    if (reset === 'none') return 0;
    return reset === 'full' ? ALL_DIRT : conn.dirt;
  }

  #resetSql(conn: Conn): string {
    if (this.#engine.settings.reset === 'none') return '';
    return undo(this.#undoneBy(conn), conn.transaction !== 'I');
  }

  #undo(conn: Conn, sql: string, done: Callback): void {
    const { settings, tally } = this.#engine;
    const undone = this.#undoneBy(conn);
    tally.resets++;
    this.#command(conn, sql, settings.resetTimeoutMs, (error) => {
      if (error) {
        done(error);
        return;
      }
      conn.cleaned(settings.reset === 'full');
      this.#repeat(conn, undone).then(() => done(null), done);
    });
  }

  /** What was undone and the connect hook had done is done again, in its order. */
  async #repeat(conn: Conn, undone: number): Promise<void> {
    conn.internal++;
    try {
      for (const { text, values, does, isFrame } of conn.setup)
        if (does & undone || (isFrame && undone !== 0)) await conn.ask(text, values);
    } finally {
      conn.internal--;
    }
  }

  #afterRelease(conn: Conn, done: Callback): void {
    const hook = this.#engine.options.afterRelease;
    if (hook === undefined) {
      done(null);
      return;
    }
    conn.hooks++;
    new Promise((resolve) => resolve(hook(conn.client as never)))
      .then((verdict) => {
        if (verdict === false) throw new Error('the afterRelease hook said false');
        if (conn.transaction !== 'I') throw new Error('the afterRelease hook left a transaction open');
        done(null);
      })
      .catch(done)
      .finally(() => conn.hooks--);
  }

  /** One query of the pool's own, limited in time. */
  #command(conn: Conn, text: string, timeoutMs: number, done: Callback): void {
    let over = false;
    conn.internal++;
    const finish = (error: unknown) => {
      if (over) return;
      over = true;
      conn.internal--;
      clearTimeout(timer);
      this.#engine.clock.refresh();
      done(error);
    };
    const timer = setTimeout(() => finish(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
    if (this.#engine.settings.allowExitOnIdle) timer.unref();
    try {
      conn.ask(text, (error: unknown) => finish(error ?? null));
    } catch (error) {
      finish(error);
    }
  }

  close(entry: Entry<Conn>, reason: CloseReason): void {
    const engine = this.#engine;
    const conn = entry.value;
    if (conn === null) {
      // Still dialling: the connection is cut, and the place is free when the dial has ended.
      const client = this.dialling.get(entry);
      if (client !== undefined) destroy(client);
      else engine.core.closed(entry);
      return;
    }
    const { client } = conn;
    if (channels.close.hasSubscribers) channels.close.publish({ pool: engine.name, client, reason });
    if (engine.settings.allowExitOnIdle) client.ref?.();
    if (reason === 'max uses') engine.log('remove expended client');
    this.#beforeClose(conn, reason);
    if (reason === 'reset failed' || reason === 'dirty') abandonQuery(client, engine.settings.cancelTimeoutMs);
    this.#farewell(client, this.#patience(reason), () => {
      engine.clock.refresh();
      engine.core.closed(entry);
      if (conn.announced) emitSafely(engine.events, 'remove', client);
      engine.wake();
    });
    // It did not answer: nobody is there to say goodbye to.
    if (reason === 'check failed') destroy(client);
  }

  /** How long a goodbye may take. What is lost may still be heard, but not waited for. */
  #patience(reason: CloseReason): number {
    const { closeTimeoutMs } = this.#engine.settings;
    return reason === 'lost' ? Math.min(LOST_MS, closeTimeoutMs) : closeTimeoutMs;
  }

  #beforeClose(conn: Conn, reason: CloseReason): void {
    const hook = this.#engine.options.beforeClose;
    if (hook === undefined) return;
    // Its outcome is ignored: a close can't be refused.
    new Promise((resolve) => resolve(hook(conn.client as never, reason))).catch(() => {});
  }

  /** An ErrorResponse: does it cost the connection? */
  #judge(conn: Conn, error: ServerError): void {
    const engine = this.#engine;
    engine.tally.queryErrors++;
    const unknown = error.code === '26000' ? /"(.+)"/.exec(error.message)?.[1] : undefined;
    if (unknown !== undefined) forgetStatements(conn.client, [unknown]);
    if (!spoilt(error, engine.options.evictOn, conn.client, engine.wantsPrimary)) return;
    engine.tally.evictions++;
    conn.broken ??= error;
    if (engine.wantsPrimary && error.code === '25006') engine.distrust(engine.clock.now, conn);
  }

  /** The connection has failed or ended by itself. */
  #broke(conn: Conn, error: Error): void {
    const engine = this.#engine;
    const { entry, client } = conn;
    const first = !conn.lost;
    conn.lost = true;
    conn.broken ??= error;
    engine.clock.refresh();
    conn.gone();
    if (entry.state >= EntryState.Closing || entry.state === EntryState.Opening) return;
    if (entry.state === EntryState.Linked) {
      // Its holder hears by its query; the place is free once it has given the handle back.
      engine.core.retire(entry, 'lost');
      return;
    }
    engine.core.retire(entry, 'lost');
    if (first) engine.idleFailed(error, client);
    engine.wake();
  }
}
