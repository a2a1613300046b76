/**
 * What an operator can do to the running pooler: pause, resume, disable, reconnect, kill, wait for closing, shut down. Owns
 * the waits that such commands bring; the grammar and the answers are the console's, signals are the daemon's.
 */
import { EntryState } from '@sluice/core';
import { SessionState } from '../client/side.ts';
import { CONSOLE_DATABASE } from '../config/index.ts';
import { Dropped } from '../net/conn.ts';
import { type Database, FORCED_DISCONNECT, type Pooler, type ShutdownMode } from './pooler.ts';
import type { ServerPool } from './server-pool.ts';

/** A command could not be done: the text is PgBouncer's where it has one. */
export class OperatorError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'OperatorError';
  }
}

interface Wait {
  /** Whose pause it waits for, which a RESUME may undo; null: for none. */
  readonly pauseOf: Database | 'all' | null;
  done(): boolean;
  resolve(): void;
  reject(error: Error): void;
}

/** Who has sent nothing for so long does not keep the process from ending. */
const VISIT_MS = 2_000;
const REMOVED = 'database removed';
/** To who waits for a pause that another has undone. */
export const UNDONE = 'canceled by RESUME';

export class Operator {
  readonly #pooler: Pooler;
  readonly #waits = new Set<Wait>();
  readonly #passedOn: (() => void)[] = [];
  #shutDownWait: (() => void) | null = null;

  constructor(pooler: Pooler) {
    this.#pooler = pooler;
  }

  /** PAUSE: no server is handed out any more; resolves when all have come back and are closed. */
  pause(): Promise<void> {
    const pooler = this.#pooler;
    this.#mustRun();
    pooler.pauseMode = 'paused';
    for (const pool of pooler.pools.values()) pool.pool.pause(true);
    return this.#wait('all', () => [...pooler.pools.values()].every(isQuiet));
  }

  pauseDatabase(name: string): Promise<void> {
    this.#mustRun();
    const database = this.find(name, 'pause');
    database.paused = true;
    for (const pool of this.poolsOf(database)) pool.pool.pause(true);
    return this.#wait(database, () => this.poolsOf(database).every(isQuiet));
  }

  resume(): void {
    const pooler = this.#pooler;
    if (pooler.shutdown !== 'none') throw new OperatorError('pooler is shutting down');
    if (pooler.pauseMode === 'active') throw new OperatorError('pooler is not paused/suspended');
    const wasSuspended = pooler.pauseMode === 'suspended';
    pooler.pauseMode = 'active';
    this.#breakOff('all');
    this.#passedOn.length = 0;
    if (wasSuspended) this.#holdAll(false);
    for (const pool of pooler.pools.values())
      if (pooler.databases.get(pool.database)?.paused !== true) pool.pool.resume();
  }

  /** Everything that is paused. */
  resumeAll(): void {
    const pooler = this.#pooler;
    if (pooler.shutdown === 'none' && pooler.pauseMode !== 'active') this.resume();
    for (const { name, paused } of [...pooler.databases.values()]) if (paused) this.resumeDatabase(name);
  }

  resumeDatabase(name: string): void {
    const database = this.#pooler.databases.get(name);
    if (database === undefined && name !== CONSOLE_DATABASE) throw new OperatorError(`no such database: ${name}`);
    if (!database?.paused) throw new OperatorError(`database ${name} is not paused`);
    database.paused = false;
    this.#breakOff(database);
    if (this.#pooler.pauseMode !== 'active') return;
    for (const pool of this.poolsOf(database)) pool.pool.resume();
  }

  /** SUSPEND: nothing is read any more; resolves when everything that was written has left. */
  suspend(): Promise<void> {
    const pooler = this.#pooler;
    this.mustRunAll();
    pooler.pauseMode = 'suspended';
    for (const pool of pooler.pools.values()) pool.pool.pause(false);
    this.#holdAll(true);
    const begun = pooler.clock.now;
    return this.#wait('all', () => {
      const { suspendTimeoutMs } = pooler.config.global;
      if (suspendTimeoutMs > 0 && pooler.clock.now - begun >= suspendTimeoutMs) this.#dropUnflushed();
      return this.#unflushed().length === 0;
    });
  }

  /** While suspended: another process has a connection, and goes on with it when this one ends (SHOW FDS). A RESUME forgets it. */
  passedOn(letGo: () => void): void {
    if (this.#pooler.pauseMode === 'suspended') this.#passedOn.push(letGo);
  }

  /** What another process has leaves without a word to the other side. False: none has anything. */
  letGoPassedOn(): boolean {
    const all = this.#passedOn.splice(0);
    for (const letGo of all) letGo();
    return all.length > 0;
  }

  disable(name: string): void {
    this.find(name, 'disable').disabled = true;
  }

  enable(name: string): void {
    this.#mustNotBeOwn(name, 'enable');
    const database = this.#pooler.databases.get(name);
    if (database === undefined) throw new OperatorError(`no such database: ${name}`);
    database.disabled = false;
  }

  /** RECONNECT: every server is replaced as soon as it comes free. '' is all databases. */
  reconnect(name: string): void {
    const database = name === '' ? null : this.find(name, 'reconnect');
    for (const pool of database === null ? this.#pooler.pools.values() : this.poolsOf(database)) {
      pool.pool.adder.forgive();
      pool.pool.retireAll('retired');
    }
  }

  /** KILL: clients and servers are dropped at once, and the database stays paused. '' is all databases. */
  kill(name: string): void {
    this.#mustRun();
    const { pools, databases } = this.#pooler;
    const doomed = name === '' ? [...new Set([...pools.values()].map((pool) => pool.database))] : [name];
    for (const each of doomed) {
      const database = name === '' ? databases.get(each) : this.find(each, 'kill');
      if (database === undefined) continue;
      database.paused = true;
      for (const pool of this.poolsOf(database)) this.killPool(pool, REMOVED);
    }
  }

  killClient(id: number): boolean {
    for (const session of this.#pooler.sessions.values()) {
      if (session.identity.id !== id) continue;
      session.disconnect(FORCED_DISCONNECT);
      return true;
    }
    for (const caller of this.#pooler.callers) {
      // Who logs in is no client yet, as in PgBouncer.
      if (caller.id !== id || caller.state === 'login') continue;
      caller.drop();
      return true;
    }
    return false;
  }

  /** WAIT_CLOSE: resolves when all servers that RECONNECT or RELOAD condemned are closed. '' is all databases. */
  waitClose(name: string): Promise<void> {
    const database = name === '' ? null : this.find(name, 'wait in');
    return this.#wait(null, () =>
      (database === null ? [...this.#pooler.pools.values()] : this.poolsOf(database)).every(
        (pool) => !hasCondemned(pool),
      ),
    );
  }

  /** Resolves when nobody can connect any more (`closed`) and the last client, or the last server in use, is gone. */
  async shutDown(mode: Exclude<ShutdownMode, 'none'>, closed: Promise<unknown>): Promise<void> {
    const pooler = this.#pooler;
    pooler.shutdown = mode;
    if (mode === 'wait for servers') {
      if (pooler.pauseMode === 'suspended') this.#holdAll(false);
      pooler.pauseMode = 'paused';
      for (const pool of pooler.pools.values()) pool.pool.pause(true);
      for (const session of [...pooler.sessions.values()])
        if (session.state === SessionState.Waiting) session.disconnect('server shutting down', '57P01');
    }
    await closed;
    return new Promise((resolve) => {
      this.#shutDownWait = resolve;
      this.sweep();
    });
  }

  /** A database's pool goes, with its clients and servers. */
  killPool(pool: ServerPool, reason: string): void {
    const pooler = this.#pooler;
    for (const session of [...pooler.sessions.values()]) if (session.home === pool) session.disconnect(reason);
    pool.shut(reason);
    pool.cancels.tick();
    pooler.pools.delete(pool.key);
    pooler.context.set.remove(pool.pool);
  }

  killDatabase(database: Database): void {
    const { log, databases } = this.#pooler;
    log.warn(`dropping database '${database.name}' as it does not exist anymore or inactive auto-database`);
    for (const pool of this.poolsOf(database)) this.killPool(pool, REMOVED);
    databases.delete(database.name);
  }

  poolsOf(database: Database): ServerPool[] {
    return [...this.#pooler.pools.values()].filter((pool) => pool.database === database.name);
  }

  /** The database that a command names; one of the '*' entry's is made. */
  find(name: string, verb: string): Database {
    this.#mustNotBeOwn(name, verb);
    const database = this.#pooler.database(name);
    if (database === null) throw new OperatorError(`no such database: ${name}`);
    return database;
  }

  #mustNotBeOwn(name: string, verb: string): void {
    if (name === CONSOLE_DATABASE) throw new OperatorError(`cannot ${verb} admin db: ${name}`);
  }

  /** Ends the waits whose time has come. Called by the janitor. */
  sweep(): void {
    for (const wait of this.#waits) {
      if (!wait.done()) continue;
      this.#waits.delete(wait);
      wait.resolve();
    }
    if (this.#pooler.shutdown === 'wait for servers') this.#endPinned();
    if (this.#shutDownWait !== null && this.#nobodyLeft()) {
      this.#shutDownWait();
      this.#shutDownWait = null;
    }
  }

  /** What pins a server may last for ever: who is between two transactions has had its time. */
  #endPinned(): void {
    for (const session of [...this.#pooler.sessions.values()]) {
      const atRest = session.state === SessionState.Linked && session.transactionAt === 0;
      if (atRest && session.pins.length > 0) session.disconnect('server shutting down', '57P01');
    }
  }

  #nobodyLeft(): boolean {
    const pooler = this.#pooler;
    return pooler.shutdown === 'wait for clients'
      ? pooler.sessions.size + pooler.loggingIn === 0 && !this.#expectsAnybody()
      : [...pooler.pools.values()].every(isQuiet);
  }

  /** Somebody has just connected, and may be about to log in. */
  #expectsAnybody(): boolean {
    const { visitors, clock } = this.#pooler;
    for (const { since } of visitors) if (clock.now - since < VISIT_MS) return true;
    return false;
  }

  /** Throws when anything is paused: another process that took this one's place would not keep to it. */
  mustRunAll(): void {
    this.#mustRun();
    if ([...this.#pooler.databases.values()].some(({ paused }) => paused))
      throw new OperatorError('cannot suspend with paused databases');
  }

  #mustRun(): void {
    if (this.#pooler.pauseMode !== 'active') throw new OperatorError('already suspended/paused');
  }

  #wait(pauseOf: Wait['pauseOf'], done: () => boolean): Promise<void> {
    if (done()) return Promise.resolve();
    return new Promise((resolve, reject) => this.#waits.add({ pauseOf, done, resolve, reject }));
  }

  /** Whoever waits for a pause that was undone would wait for ever. */
  #breakOff(pauseOf: Database | 'all'): void {
    for (const wait of this.#waits) {
      if (wait.pauseOf !== pauseOf) continue;
      this.#waits.delete(wait);
      wait.reject(new OperatorError(UNDONE));
    }
  }

  #conns() {
    const { sessions, pools } = this.#pooler;
    const clients = [...sessions.values()].map((session) => session.conn);
    const servers = [...pools.values()].flatMap((pool) => [...pool.pool.entries()].map((entry) => entry.value?.conn));
    return [...clients, ...servers].filter((conn) => conn !== undefined);
  }

  #holdAll(held: boolean): void {
    for (const conn of this.#conns()) conn.hold(held);
  }

  #unflushed() {
    return this.#conns().filter((conn) => conn.queued > 0 && !conn.closed);
  }

  #dropUnflushed(): void {
    for (const conn of this.#unflushed()) conn.destroy(new Dropped('suspend_timeout'));
  }
}

/** No server of the pool is in anybody's hands or under way to be. */
function isQuiet({ pool }: ServerPool): boolean {
  const { Linked, Checking, Resetting, CancelWait } = EntryState;
  return [Linked, Checking, Resetting, CancelWait].every((state) => pool.count(state) === 0);
}

function hasCondemned({ pool }: ServerPool): boolean {
  if (pool.count(EntryState.Closing) > 0) return true;
  for (const entry of pool.entries()) if (entry.retiring !== null) return true;
  return false;
}
