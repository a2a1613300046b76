/**
 * What an operator does to a pool: end, drain, resize, evict, check, wait until it is warm, give it new credentials. Owns the verbs; the pool's
 * state is the core's.
 */
import { EntryState } from '@sluice/core';
import { abandonQuery } from './cancel.ts';
import type { PoolOptions } from './contract.ts';
import type { Engine, PoolWatcher } from './engine.ts';
import { BadOption, PoolClosed } from './errors.ts';
import { Lease } from './lease.ts';
import { checkTogether } from './options.ts';
import { downOrRefused, notWarm } from './report.ts';
import { after } from './timers.ts';

/** Refuses new requests, serves those that wait, and resolves when the last connection is closed. */
export function drain(engine: Engine): Promise<void> {
  engine.clock.refresh();
  return new Promise((resolve) => {
    engine.onEmpty = () => {
      engine.onEmpty = null;
      engine.alarm.stop();
      resolve();
    };
    engine.core.drain();
    for (const watcher of [...engine.watchers]) watcher.ended();
    engine.wake();
  });
}

/** Closes everything now: those who wait are refused, connections in use are cut. */
export function cut(engine: Engine): void {
  engine.clock.refresh();
  const { core } = engine;
  core.shut();
  for (const entry of [...core.lists[EntryState.Linked]!]) {
    const conn = entry.value!;
    engine.forfeit(conn);
    abandonQuery(conn.client, engine.settings.cancelTimeoutMs);
    core.discard(entry, entry.generation, 'drained');
  }
  engine.wake();
}

/** New bounds, each of them a size. Too many idle connections close at once, those in use when they come back. */
export function resize(engine: Engine, min: number, max: number): void {
  if (min > max) throw new BadOption('min', `resize: min is ${min}, more than max, which is ${max}`);
  checkTogether({ ...engine.options, min, max });
  engine.clock.refresh();
  engine.minAsked = min;
  applyBounds(engine, max);
  for (const watcher of [...engine.watchers]) watcher.opened();
  for (const entry of [...engine.core.lists[EntryState.Idle]!]) engine.nowIdle(entry);
  engine.tick();
}

/** Without a minimum there is nobody to dial for: one connection is wanted while somebody waits for the pool to be warm. */
function applyBounds({ core, minAsked, watchers, settings }: Engine, maxSize = core.policy.maxSize): void {
  const isAwaited = watchers.size > 0;
  const minSize = isAwaited ? Math.max(1, minAsked) : minAsked;
  const fillMin = isAwaited || !settings.compat;
  const { policy } = core;
  if (policy.minSize !== minSize || policy.maxSize !== maxSize || policy.fillMin !== fillMin)
    core.setPolicy({ ...policy, minSize, maxSize, fillMin });
}

/** Every connection that exists now is replaced: idle ones close, the others when they come back. */
export function evictAll(engine: Engine): void {
  engine.clock.refresh();
  engine.core.retireAll('retired');
  engine.core.adder.forgive();
  engine.tick();
}

export interface Credentials {
  user?: string | undefined;
  password?: string | (() => string | Promise<string>) | undefined;
}

/** For every later dial. `options`: the pool's own. */
export function changeCredentials({ dialOptions }: Engine, options: PoolOptions, given: Credentials): void {
  const user = given.user ?? undefined;
  const password = given.password ?? undefined;
  const { credentials } = dialOptions;
  // Beside a connection string they would not count.
  if (options.connectionString !== undefined)
    dialOptions.credentials = {
      ...credentials,
      ...(user !== undefined && { user }),
      ...(password !== undefined && { password }),
    };
  if (user !== undefined) options.user = user;
  if (password === undefined) return;
  const hidden = { value: password, enumerable: false, configurable: true, writable: true };
  Object.defineProperty(options, 'password', hidden);
}

/** Checks all idle connections now; resolves with how many were alive and how many were not. */
export function checkIdle(engine: Engine): Promise<{ alive: number; dead: number }> {
  engine.clock.refresh();
  const checked = [...engine.core.lists[EntryState.Idle]!].filter((entry) => engine.core.check(entry));
  return new Promise((resolve) => {
    const look = () => {
      if (checked.some((entry) => entry.state === EntryState.Checking)) {
        setTimeout(look, 5);
        return;
      }
      const alive = checked.filter((entry) => entry.state < EntryState.Closing).length;
      resolve({ alive, dead: checked.length - alive });
    };
    look();
  });
}

/** Takes every idle connection at once (pgxpool's AcquireAllIdle); none that would need a dial, none from a waiter. */
export function takeIdle(engine: Engine): Lease[] {
  const leases: Lease[] = [];
  const { core } = engine;
  // There is no time for a check: as at any hand-out within checkAfterMillis of the last use.
  const now = engine.clock.refresh();
  for (const entry of [...core.lists[EntryState.Idle]!])
    if (entry.expiresAt <= now) core.close(entry, 'lifetime over');
    else entry.provenAt = now;
  while (core.count(EntryState.Idle) > 0 && core.queue.length === 0 && core.mode === 'running') {
    core.justChecked = core.lists[EntryState.Idle]!.head;
    const conn = engine.takeFree();
    if (conn === null) break;
    leases.push(new Lease(engine, conn));
  }
  core.justChecked = null;
  return leases;
}

/**
 * Resolves when `min` connections (at least one) have been opened; rejects with the last failure when `timeoutMs` is over
 * before, or at once when the login is refused.
 */
export function warmUp(engine: Engine, timeoutMs: number): Promise<void> {
  const { core } = engine;
  const ready = () =>
    core.size - core.count(EntryState.Opening) - core.count(EntryState.Closing) >= Math.max(1, engine.minAsked);
  engine.clock.refresh();
  return new Promise((resolve, reject) => {
    const finish = (error: unknown) => {
      clearTimeout(timer);
      engine.watchers.delete(watcher);
      applyBounds(engine);
      if (error) reject(error);
      else resolve();
    };
    const watcher: PoolWatcher = {
      opened: () => {
        if (ready()) finish(null);
      },
      dialFailed: (error) => {
        if (String((error as { code?: unknown }).code ?? '').startsWith('28')) finish(downOrRefused(engine, error, 0));
      },
      ended: () => finish(new PoolClosed(engine.name)),
    };
    const timer = after(timeoutMs > 0 ? timeoutMs : Number.POSITIVE_INFINITY, () => {
      const { lastError } = core.adder;
      finish(
        lastError === null
          ? notWarm(engine, Math.max(1, engine.minAsked), timeoutMs)
          : downOrRefused(engine, lastError, timeoutMs),
      );
    });
    engine.watchers.add(watcher);
    if (ready()) finish(null);
    else if (engine.ending) watcher.ended();
    else {
      applyBounds(engine);
      engine.tick();
    }
  });
}
