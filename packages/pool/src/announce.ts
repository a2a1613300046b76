/**
 * Events to the application's listeners. What they throw is theirs, and is thrown where nothing of the pool's is under way. A listener
 * of 'connect' may be asynchronous: what it sends to the new connection one after the other comes before its first holder.
 */
import { EventEmitter } from 'node:events';
import type { Conn } from './conn.ts';
import { isBusy } from './raw-client.ts';

/** An asynchronous listener of 'connect' that has nothing under way on the connection for so long is not waited for. */
const QUIET_MS = 1_000;
const LOOK_MS = 50;

/** Has the event listeners? Asked of Node's own table where there is one: `listenerCount` costs as much as a tenth of a cycle. */
export function isHeard(events: EventEmitter, name: 'acquire' | 'release'): boolean {
  const table = (events as { _events?: { acquire?: unknown; release?: unknown } })._events;
  if (table === undefined || table === null) return events.listenerCount(name) > 0;
  return (name === 'acquire' ? table.acquire : table.release) !== undefined;
}

/** As `emit`, but it never throws. */
export function emitSafely(events: EventEmitter, name: string, ...args: unknown[]): void {
  try {
    events.emit(name, ...args);
  } catch (error) {
    throwLater(error);
  }
}

export function throwLater(error: unknown): void {
  process.nextTick(() => {
    throw error;
  });
}

/**
 * Tells the listeners of 'connect'. What they send belongs to the clean state of the session, as the connect hook's does. `done` is
 * called when they have ended, at once where none is asynchronous, and after `leftMs` at the latest.
 */
export function announce(
  { events, capturesRejections }: Announcing,
  conn: Conn,
  leftMs: number,
  done: () => void,
): void {
  conn.hooks++;
  conn.settingUp = true;
  conn.announced = true;
  let underWay = 1;
  let timer: NodeJS.Timeout | undefined;
  let isOver = false;
  const finish = () => {
    if (isOver) return;
    isOver = true;
    clearInterval(timer);
    conn.settingUp = false;
    conn.hooks--;
    done();
  };
  const ended = () => {
    if (--underWay === 0) finish();
  };
  for (const result of callEach(events, conn.client)) {
    underWay++;
    // Its rejection stays unhandled, as with any emitter that is not told to capture them.
    result.then(ended, (error) => {
      ended();
      if (!capturesRejections) throw error;
      emitSafely(events, 'error', error);
    });
  }
  ended();
  if (isOver) return;
  let quietMs = 0;
  let spentMs = 0;
  timer = setInterval(() => {
    spentMs += LOOK_MS;
    quietMs = isBusy(conn.client) ? 0 : quietMs + LOOK_MS;
    if (quietMs >= QUIET_MS || spentMs >= leftMs || conn.broken !== null) finish();
  }, LOOK_MS);
}

/** The pool, as far as it matters here. */
interface Announcing {
  readonly events: EventEmitter;
  readonly capturesRejections: boolean;
}

/** Emits 'connect' and gives what the listeners returned that can be waited for. */
function callEach(events: EventEmitter, client: unknown): PromiseLike<unknown>[] {
  if (events.emit !== EventEmitter.prototype.emit) {
    emitSafely(events, 'connect', client);
    return [];
  }
  const waiting: PromiseLike<unknown>[] = [];
  for (const listener of events.rawListeners('connect')) {
    try {
      const result: unknown = Reflect.apply(listener, events, [client]);
      if (typeof (result as PromiseLike<unknown> | null | undefined)?.then === 'function')
        waiting.push(result as PromiseLike<unknown>);
    } catch (error) {
      throwLater(error);
    }
  }
  return waiting;
}
