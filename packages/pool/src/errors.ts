/**
 * The pool's errors: one class a cause, each with a stable code and a message that says what happened, to what, and what
 * to do. Owns texts and codes; knows nothing of pools but the numbers it is given.
 */

/** Stable codes, one a class; `poolCode` always carries it. */
export const POOL_ERROR_CODES = [
  'SLUICE_POOL_EXHAUSTED',
  'SLUICE_DATABASE_DOWN',
  'SLUICE_AUTHENTICATION_FAILED',
  'SLUICE_ACQUIRE_ABORTED',
  'SLUICE_POOL_CLOSED',
  'SLUICE_STALE_HANDLE',
  'SLUICE_DEADLOCK',
  'SLUICE_QUERY_CANCELLED',
  'SLUICE_NO_SUITABLE_HOST',
  'SLUICE_TRANSACTION_ABORTED',
  'SLUICE_BAD_OPTION',
] as const;
export type PoolErrorCode = (typeof POOL_ERROR_CODES)[number];

/** How full the pool was when the error was made. */
export interface PoolNumbers {
  total: number;
  active: number;
  idle: number;
  waiting: number;
}

/** One connection in somebody's hands, for the table of an exhaustion. */
export interface Holder {
  /** Backend process id, or null when not known. */
  pid: number | null;
  heldMs: number;
  /** Since its last query began or ended. */
  idleMs: number;
  /** Transaction status: 'I' idle, 'T' in a transaction, 'E' in a failed one, null unknown. */
  transaction: string | null;
  sql: string;
  tenant: string;
  /** Where it was acquired; '' unless leak detection or a scope recorded it. */
  stack: string;
}

/** The code of each class here; '' is all of them. */
const CODES = new WeakMap<object, PoolErrorCode | ''>();

export class PoolError extends Error {
  /** The stable code of the class. */
  readonly poolCode: PoolErrorCode;
  /**
   * `poolCode`, except where the cause came from the network or the server: then the cause's own (`ECONNREFUSED`,
   * `28P01`), so that code which looks for it keeps working.
   */
  readonly code: string;

  constructor(poolCode: PoolErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = new.target.name;
    this.poolCode = poolCode;
    this.code = poolCode;
  }
}

/** No connection became free in time, or there was no room to wait for one. */
export class PoolExhausted extends PoolError {
  readonly reason: 'timeout' | 'queue full' | 'shed';
  readonly numbers: PoolNumbers;
  readonly holders: readonly Holder[];

  constructor(
    reason: PoolExhausted['reason'],
    message: string,
    numbers: PoolNumbers,
    holders: readonly Holder[],
    cause?: unknown,
  ) {
    super('SLUICE_POOL_EXHAUSTED', message, cause);
    this.reason = reason;
    this.numbers = numbers;
    this.holders = holders;
  }
}

/** The server can't be reached, or does not take the connection. `cause` is the last failure. */
export class DatabaseDown extends PoolError {
  declare readonly code: string;

  constructor(message: string, cause: unknown) {
    super('SLUICE_DATABASE_DOWN', message, cause);
    adoptCause(this, cause);
  }
}

/** The server was reached and refused the login (SQLSTATE class 28). */
export class AuthenticationFailed extends PoolError {
  constructor(message: string, cause: unknown) {
    super('SLUICE_AUTHENTICATION_FAILED', message, cause);
    adoptCause(this, cause);
  }
}

/** The caller's AbortSignal fired while it waited; `cause` is the signal's reason. */
export class AcquireAborted extends PoolError {
  constructor(cause: unknown) {
    super(
      'SLUICE_ACQUIRE_ABORTED',
      'the request for a connection was aborted by its signal before one was free; nothing needs to be released',
      cause,
    );
  }
}

export class PoolClosed extends PoolError {
  constructor(pool: string, what = 'Cannot use a pool after calling end on the pool') {
    super(
      'SLUICE_POOL_CLOSED',
      `${what}: "${pool}" takes no more requests; make a new pool, or end this one once, and last`,
    );
  }
}

/** A handle was used after it had been released, reclaimed or lost. It never reaches another holder's connection. */
export class StaleHandle extends PoolError {
  constructor(what: string) {
    super('SLUICE_STALE_HANDLE', `${what}; use a client only between its acquire and its release, and release it once`);
  }
}

/** Every holder is itself waiting for this pool: nobody could ever release. */
export class PoolDeadlock extends PoolError {
  /** Where each connection was acquired and where its holder waits now. */
  readonly stacks: readonly string[];

  constructor(message: string, stacks: readonly string[]) {
    super('SLUICE_DEADLOCK', message);
    this.stacks = stacks;
  }
}

/** A query was stopped at the caller's wish: its signal, its timeout, or a reclaimed handle. */
export class QueryCancelled extends PoolError {
  readonly reason: 'signal' | 'timeout' | 'reclaimed';

  constructor(reason: QueryCancelled['reason'], message: string, cause?: unknown) {
    super('SLUICE_QUERY_CANCELLED', message, cause);
    this.reason = reason;
  }
}

/** None of the hosts is of the kind that `targetSessionAttrs` asks for. `cause` is an AggregateError, one a host. */
export class NoSuitableHost extends PoolError {
  constructor(message: string, cause: unknown) {
    super('SLUICE_NO_SUITABLE_HOST', message, cause);
  }
}

/**
 * The function of a transaction was done, and the transaction was rolled back all the same: COMMIT was answered with ROLLBACK, for an earlier
 * statement had failed and its error was swallowed, or a query was left open.
 */
export class TransactionAborted extends PoolError {
  constructor(
    message = 'COMMIT was answered with ROLLBACK: a statement had failed and its error was caught inside the transaction; ' +
      'let the error out, or put the statement into a nested transaction',
  ) {
    super('SLUICE_TRANSACTION_ABORTED', message);
  }
}

export class BadOption extends PoolError {
  readonly option: string;

  constructor(option: string, message: string) {
    super('SLUICE_BAD_OPTION', message);
    this.option = option;
  }
}

/**
 * By the code: a program that imports and requires this package has it twice, and either half knows the other's errors.
 * For subclasses of the application's own, as usual.
 */
Object.defineProperty(PoolError, Symbol.hasInstance, {
  value: function (this: object, value: unknown): boolean {
    const code = CODES.get(this);
    if (Function.prototype[Symbol.hasInstance].call(this as () => void, value)) return true;
    if (code === undefined) return false;
    const own = (value as { poolCode?: unknown } | null | undefined)?.poolCode;
    return code === '' ? (POOL_ERROR_CODES as readonly unknown[]).includes(own) : own === code;
  },
});
CODES.set(PoolError, '')
  .set(PoolExhausted, 'SLUICE_POOL_EXHAUSTED')
  .set(DatabaseDown, 'SLUICE_DATABASE_DOWN')
  .set(AuthenticationFailed, 'SLUICE_AUTHENTICATION_FAILED')
  .set(AcquireAborted, 'SLUICE_ACQUIRE_ABORTED')
  .set(PoolClosed, 'SLUICE_POOL_CLOSED')
  .set(StaleHandle, 'SLUICE_STALE_HANDLE')
  .set(PoolDeadlock, 'SLUICE_DEADLOCK')
  .set(QueryCancelled, 'SLUICE_QUERY_CANCELLED')
  .set(NoSuitableHost, 'SLUICE_NO_SUITABLE_HOST')
  .set(TransactionAborted, 'SLUICE_TRANSACTION_ABORTED')
  .set(BadOption, 'SLUICE_BAD_OPTION');

/** Copies what people match on in driver errors: code, errno, syscall, address, port, severity. */
function adoptCause(error: PoolError, cause: unknown): void {
  if (typeof cause !== 'object' || cause === null) return;
  const from = cause as Record<string, unknown>;
  for (const key of ['code', 'errno', 'syscall', 'address', 'port', 'severity', 'hint', 'detail'])
    if (from[key] !== undefined)
      Object.defineProperty(error, key, { value: from[key], enumerable: true, configurable: true, writable: true });
}

/** The config for a dial could not be made: a hook of the application's has failed. Callers get its cause. */
export class ConfigNotMade extends Error {
  constructor(cause: unknown) {
    super(messageOf(cause), { cause });
  }
}

/** The message of anything thrown. */
export function messageOf(error: unknown): string {
  if (error instanceof AggregateError && error.message === '')
    return error.errors.map((each) => messageOf(each)).join('; ');
  return error instanceof Error ? error.message : String(error);
}
