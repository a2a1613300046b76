/**
 * From the caller's options to checked ones, and from those to the core's policy. Owns validation: a bad value is refused
 * by name, with what is allowed; nothing is quietly repaired. Knows no connection.
 */
import { DEFAULT_POLICY, type PoolPolicy } from '@sluice/core';
import type { AcquireOptions, PoolOptions } from './contract.ts';
import { AcquireAborted, BadOption } from './errors.ts';
import { nearest, show, wrongWith } from './option-check.ts';
import { CLIENT_OPTIONS, type OptionRow, POOL_OPTIONS } from './option-table.ts';
import { LONGEST_MS } from './timers.ts';

/** Options with every default filled in. */
export interface Settings {
  readonly compat: boolean;
  readonly name: string;
  connectionTimeoutMs: number;
  dialTimeoutMs: number;
  initTimeoutMs: number;
  keepaliveMs: number;
  checkTimeoutMs: number;
  checkQuery: string;
  cancelTimeoutMs: number;
  closeTimeoutMs: number;
  commandTimeoutMs: number;
  reset: 'lazy' | 'full' | 'none';
  resetTimeoutMs: number;
  leakMs: number;
  reclaim: boolean;
  deadlocks: false | 'scoped' | 'all';
  whenDown: 'fail' | 'wait';
  nullPool: boolean;
  leases: boolean;
  allowExitOnIdle: boolean;
  reservedSlots: number;
  reservedPriority: number;
  tenantWeights: ReadonlyMap<string, number>;
  random: () => number;
}

let poolNumber = 0;

/** Throws BadOption for anything that is not allowed. */
export function checkOptions(options: PoolOptions | undefined): PoolOptions {
  const given = (options ?? {}) as Record<string, unknown>;
  if (typeof given !== 'object' || Array.isArray(given))
    throw new BadOption(
      'options',
      `options of a pool are an object, such as { connectionString: 'postgres://…' }, and not ${show(given)}`,
    );
  if (typeof given.connect === 'function' && typeof given.query === 'function')
    throw new BadOption('options', 'a pool or a client was given where the options of a new pool are expected');
  const compat = given.compat === 'pg-pool';
  /** What is another value than was given; undefined: as if it had not been given. */
  const changed = new Map<string, unknown>();
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined) continue;
    const row = Object.hasOwn(POOL_OPTIONS, name) ? POOL_OPTIONS[name]! : null;
    // As good as not given, as with pg-pool; where it has a meaning of its own it is a value.
    if (row !== null && value === null && row.nullable !== true) changed.set(name, undefined);
    else if (row !== null) {
      const taken = compat ? asPgPoolTakes(name, value) : value;
      checkValue(name, taken, row, compat);
      if (taken !== value) changed.set(name, taken);
    } else if (!CLIENT_OPTIONS.has(name) && !compat) refuseUnknown(name, given.Client !== undefined);
  }
  const checked = changed.size === 0 ? (options ?? {}) : withValues(given, changed);
  if (!compat) checkSizes(checked);
  checkTogether(checked);
  return checked;
}

function withValues(given: Record<string, unknown>, changed: ReadonlyMap<string, unknown>): PoolOptions {
  const own = Object.getOwnPropertyDescriptors(given);
  for (const [name, value] of changed)
    if (value === undefined) delete own[name];
    else own[name] = { value, enumerable: true, configurable: true, writable: true };
  return Object.create(Object.getPrototypeOf(given), own) as PoolOptions;
}

const NUMBERS = 'max poolSize min maxUses maxLifetimeSeconds idleTimeoutMillis connectionTimeoutMillis'.split(' ');

/**
 * What pg-pool makes of its own options: it compares and multiplies whatever it is given (strings of the environment), tests some
 * for truth, and gives durations to timers, for which anything out of bounds is 1 ms. What makes no pool there stays as it is.
 */
function asPgPoolTakes(name: string, value: unknown): unknown {
  if (name === 'allowExitOnIdle') return Boolean(value);
  if (!NUMBERS.includes(name)) return value;
  if (!value) return 0;
  const n = typeof value === 'symbol' ? Number.NaN : Number(value);
  if (Number.isNaN(n)) return value;
  if (name === 'maxUses') return Math.max(1, Math.ceil(n));
  if (name === 'min') return Math.min(Math.max(0, Math.floor(n)), Number.MAX_SAFE_INTEGER);
  if (name === 'maxLifetimeSeconds') return timed(n * 1_000) / 1_000;
  if (name.endsWith('Millis')) return timed(n);
  return n > 0 ? Math.min(Math.ceil(n), Number.MAX_SAFE_INTEGER) : value;
}

const timed = (ms: number) => (ms >= 1 && ms <= LONGEST_MS ? Math.trunc(ms) : 1);

/** Why a request is refused before it is made: what it asks makes no sense, or its signal has fired. Null: nothing. */
export function checkRequest(options: AcquireOptions | undefined): BadOption | AcquireAborted | null {
  if (options === undefined) return null;
  const { signal } = options;
  return wrongIn(options) ?? (signal?.aborted === true ? new AcquireAborted(signal.reason) : null);
}

/** What of this makes no sense, or null. Null stands for undefined, as with `fetch`. */
export function wrongIn({ timeoutMillis, deadline, priority, signal, tenant }: AcquireOptions): BadOption | null {
  if (typeof (timeoutMillis ?? 0) !== 'number' || !((timeoutMillis ?? 0) >= 0))
    return new BadOption(
      'timeoutMillis',
      `timeoutMillis is ${show(timeoutMillis)}: it must be milliseconds, 0 (no bound) or more`,
    );
  const isTime = typeof deadline === 'number' || deadline instanceof Date;
  if ((deadline ?? null) !== null && (!isTime || Number.isNaN(Number(deadline))))
    return new BadOption('deadline', 'deadline is no point in time: give a Date or epoch milliseconds');
  if (!Number.isFinite(priority ?? 0))
    return new BadOption('priority', `priority is ${priority}: it must be a number, higher is served first`);
  if (typeof (tenant ?? '') !== 'string') return new BadOption('tenant', `tenant is ${tenant}: it must be a string`);
  if (signal && typeof signal.addEventListener !== 'function')
    return new BadOption('signal', 'signal is no AbortSignal: give the signal of a controller, not the controller');
  return null;
}

function checkValue(name: string, value: unknown, row: OptionRow, compat: boolean): void {
  if (compat && !value) return; // pg-pool takes its default for 0, null, '' and NaN alike
  if (value === null && row.nullable === true) return;
  const problem = wrongWith(value, row);
  if (problem !== null) throw new BadOption(name, `pool option ${name} is ${show(value)}: ${problem} (${row.doc})`);
}

function refuseUnknown(name: string, customClient: boolean): void {
  const near = nearest(name, [...Object.keys(POOL_OPTIONS), ...CLIENT_OPTIONS]);
  // A Client class of the caller's may have options of its own; a slip of the pen is one all the same.
  if (customClient && near === null) return;
  const hint = near === null ? 'it is neither an option of the pool nor of pg.Client' : `did you mean ${near}?`;
  throw new BadOption(name, `pool option ${name} is not known: ${hint}`);
}

/** pg-pool takes any sizes; `compat` does too. */
function checkSizes(options: PoolOptions): void {
  const { max = options.poolSize ?? 10, min = 0, minIdle = 0, poolSize } = options;
  if (min > max) refuse('min', min, `it must be at most max, which is ${max}`);
  if (minIdle > max) refuse('minIdle', minIdle, `it must be at most max, which is ${max}`);
  if (poolSize !== undefined && options.max !== undefined && poolSize !== options.max)
    refuse('poolSize', poolSize, `it must be left out, for max is ${options.max}`);
}

/** Throws BadOption when options contradict each other. */
export function checkTogether(options: PoolOptions): void {
  const {
    min = 0,
    minIdle = 0,
    maxOverflow = 0,
    reservedSlots = 0,
    retryMinMillis = 100,
    retryMaxMillis = 1_000,
  } = options;
  const places = (options.max || options.poolSize || 10) + maxOverflow;
  if (reservedSlots >= places && reservedSlots > 0)
    refuse('reservedSlots', reservedSlots, `it must be below max plus maxOverflow, which is ${places}`);
  if (retryMinMillis > retryMaxMillis)
    refuse('retryMinMillis', retryMinMillis, `it must be at most retryMaxMillis, which is ${retryMaxMillis}`);
  if (options.nullPool === true && min > 0)
    refuse('nullPool', true, `it keeps nothing open, so min must be 0, but is ${min}`);
  if (options.nullPool === true && minIdle > 0)
    refuse('minIdle', minIdle, 'it must be left out, for with nullPool nothing stays open');
  if (options.compat === 'pg-pool' && minIdle > 0)
    refuse('minIdle', minIdle, "it must be left out, for with compat: 'pg-pool' nothing is dialled ahead of need");
  const { keepaliveMillis = 0, maxLifetimeSeconds = 0 } = options;
  if (options.nullPool === true && keepaliveMillis > 0)
    refuse('keepaliveMillis', keepaliveMillis, 'it must be left out, for with nullPool nothing stays open');
  if (maxLifetimeSeconds > 0 && keepaliveMillis >= maxLifetimeSeconds * 1_000)
    refuse('keepaliveMillis', keepaliveMillis, `it must be below maxLifetimeSeconds, which is ${maxLifetimeSeconds}`);
  if (options.compat === 'pg-pool' && options.deadlockDetection)
    refuse(
      'deadlockDetection',
      options.deadlockDetection,
      "it must be left out, for with compat: 'pg-pool' there is none",
    );
  if (options.leakAction === 'reclaim' && !options.leakDetectionMillis)
    refuse('leakAction', 'reclaim', 'it needs leakDetectionMillis above 0');
  for (const [tenant, weight] of Object.entries(options.tenantWeights ?? {}))
    if (typeof weight !== 'number' || !(weight > 0) || weight === Number.POSITIVE_INFINITY)
      throw new BadOption(
        'tenantWeights',
        `pool option tenantWeights gives ${show(weight)} to "${tenant}": it must be a number above 0`,
      );
}

function refuse(name: string, value: unknown, allowed: string): never {
  throw new BadOption(name, `pool option ${name} is ${show(value)}: ${allowed}`);
}

export function readSettings(options: PoolOptions): Settings {
  const compat = options.compat === 'pg-pool';
  const connectionTimeoutMs = options.connectionTimeoutMillis ?? 0;
  const patience = connectionTimeoutMs || 30_000;
  const detection = options.deadlockDetection ?? true;
  return {
    compat,
    name: options.name ?? `pool-${++poolNumber}`,
    connectionTimeoutMs,
    dialTimeoutMs: options.dialTimeoutMillis || (compat ? connectionTimeoutMs : patience),
    initTimeoutMs: options.initializationFailTimeoutMillis ?? patience,
    keepaliveMs: options.keepaliveMillis ?? 0,
    checkTimeoutMs: options.checkTimeoutMillis ?? 5_000,
    checkQuery: options.checkQuery ?? ';',
    cancelTimeoutMs: options.cancelTimeoutMillis ?? 5_000,
    closeTimeoutMs: options.closeTimeoutMillis ?? 5_000,
    commandTimeoutMs: options.commandTimeoutMillis ?? 0,
    reset: options.reset ?? (compat ? 'none' : 'lazy'),
    resetTimeoutMs: options.resetTimeoutMillis ?? 5_000,
    leakMs: options.leakDetectionMillis ?? 0,
    reclaim: options.leakAction === 'reclaim',
    deadlocks: compat || detection === false ? false : detection === 'all' ? 'all' : 'scoped',
    whenDown: options.whenDown ?? 'fail',
    nullPool: options.nullPool ?? false,
    leases: options.handles === 'lease',
    allowExitOnIdle: options.allowExitOnIdle ?? false,
    reservedSlots: options.reservedSlots ?? 0,
    reservedPriority: options.reservedPriority ?? 1,
    tenantWeights: new Map(Object.entries(options.tenantWeights ?? {})),
    random: options.random ?? Math.random,
  };
}

/** The core's policy. Durations that pg-pool gives in seconds become milliseconds here. */
export function readPolicy(options: PoolOptions): PoolPolicy {
  const compat = options.compat === 'pg-pool';
  const max = options.max || options.poolSize || 10;
  const { maxUses = Number.POSITIVE_INFINITY, maxOverflow = 0 } = options;
  return {
    ...DEFAULT_POLICY,
    minSize: options.min ?? 0,
    minIdle: options.minIdle ?? 0,
    fillMin: !compat,
    maxSize: max,
    reserveSize: maxOverflow,
    reserveDelayMs: 0,
    idleTimeoutMs: options.idleTimeoutMillis === undefined ? 10_000 : (options.idleTimeoutMillis ?? 0),
    lifetimeMs: (options.maxLifetimeSeconds ?? 0) * 1_000,
    lifetimeJitter: compat ? 0 : (options.maxLifetimeJitter ?? 0.1),
    maxUses: Number.isFinite(maxUses) ? maxUses : 0,
    checkDelayMs: options.checkAfterMillis ?? (compat ? Number.POSITIVE_INFINITY : 500),
    order: options.order ?? 'lifo',
    maxWaiters: options.maxWaiting ?? 0,
    shed: options.shed ?? false,
    maxDials: options.maxDials ?? (compat ? max + maxOverflow : 4),
    retryMinMs: compat ? 0 : (options.retryMinMillis ?? 100),
    retryMaxMs: compat ? 0 : (options.retryMaxMillis ?? 1_000),
  };
}
