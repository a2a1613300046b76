/**
 * The last steps of a hand-out: verify and prepare, and the shape in which the caller gets the connection. Owns the order
 * of the hooks; getting a connection is the engine's.
 */
import type * as pg from 'pg';
import { boundBy } from './bounds.ts';
import type { Conn } from './conn.ts';
import type { AcquireOptions } from './contract.ts';
import type { Engine } from './engine.ts';
import { AcquireAborted, PoolExhausted } from './errors.ts';
import { isInstrumented, throughInstrumentation } from './instrumented.ts';
import { Lease } from './lease.ts';
import { leaseClient } from './lease-client.ts';
import { isSpent } from './raw-client.ts';
import { hooksTookTooLong } from './report.ts';
import { bound } from './scope.ts';
import { onAbort } from './signals.ts';
import { type Shape, Ticket } from './ticket.ts';
import { within } from './timers.ts';

export type Settle = (error: unknown, conn: Conn | null) => void;

/** Calls `settle` at once when a connection is free and no hook stands between. */
export function obtain(engine: Engine, options: AcquireOptions | undefined, settle: Settle): void {
  if (isInstrumented())
    throughInstrumentation(engine.events, (then) => obtainPlainly(engine, options, then), bound(settle));
  else obtainPlainly(engine, options, settle);
}

/** The same without a word to instrumentations. */
function obtainPlainly(engine: Engine, options: AcquireOptions | undefined, settle: Settle): void {
  if (engine.hasHandoutHooks) obtainWithHooks(engine, untilWhen(engine, options), bound(settle));
  else obtainOne(engine, options, settle);
}

/** Calls `settle` with a connection that no hook has seen. */
function obtainOne(engine: Engine, options: AcquireOptions | undefined, settle: Settle): void {
  const got = engine.request(options);
  if (!(got instanceof Ticket)) settle(null, got);
  else if (!got.waiting) settle(got.error, null);
  else {
    got.shape = itself;
    got.resolve = (conn) => settle(null, conn as Conn);
    got.reject = (error) => settle(error, null);
  }
}

const itself: Shape = (_engine, conn) => conn;

/** `obtain` as a promise. Without hooks and instrumentations there is no closure of ours in it. */
export function obtainAsync<T>(
  engine: Engine,
  Promised: PromiseConstructor,
  options: AcquireOptions | undefined,
  shape: (engine: Engine, conn: Conn) => T,
): Promise<T> {
  if (engine.hasHandoutHooks || isInstrumented())
    return new Promised((resolve, reject) => {
      obtain(engine, options, (error, conn) => (conn === null ? reject(error) : resolve(shape(engine, conn))));
    });
  const got = engine.request(options);
  if (!(got instanceof Ticket)) return Promised.resolve(shape(engine, got));
  if (!got.waiting) return Promised.reject(got.error);
  got.shape = shape;
  return new Promised(got.settleBy) as Promise<T>;
}

/** The request with one deadline for all that happens on its behalf. */
function untilWhen(engine: Engine, options: AcquireOptions | undefined): AcquireOptions {
  const patience = options?.timeoutMillis ?? engine.settings.connectionTimeoutMs;
  const end = patience > 0 ? Date.now() + patience : Number.POSITIVE_INFINITY;
  const deadline = Math.min(end, Number(options?.deadline ?? Number.POSITIVE_INFINITY));
  const { deadline: _, ...rest } = options ?? {};
  return deadline === Number.POSITIVE_INFINITY ? rest : { ...rest, timeoutMillis: patience, deadline };
}

/** `unfit`: how many connections the hooks have turned down for this request. */
function obtainWithHooks(engine: Engine, options: AcquireOptions, settle: Settle, unfit = 0): void {
  const none = (turned: number) => hooksTookTooLong(engine, `${turned} connections were not fit for it`);
  obtainOne(engine, options, (error, conn) => {
    if (conn === null) {
      const inVain = unfit > 0 && error instanceof PoolExhausted && error.reason === 'timeout';
      settle(inVain ? none(unfit) : error, null);
      return;
    }
    const { generation } = conn;
    conn.preparing = true;
    const ended = () => {
      conn.preparing = false;
      conn.sleptMs = engine.clock.refresh() - conn.entry.stateSince;
      if (engine.settings.leakMs > 0) engine.wake(engine.clock.now + engine.settings.leakMs);
    };
    inTime(engine, runHooks(engine, conn), options).then(
      (fit) => {
        // It may have been taken away meanwhile (drain, reclaim): then it is as good as unfit.
        const held = conn.generation === generation;
        if (held) ended();
        if (fit && held && conn.broken === null && !isSpent(conn.client)) {
          settle(null, conn);
          return;
        }
        if (held) engine.release(conn, generation, true);
        const late = Number(options.deadline ?? Number.POSITIVE_INFINITY) <= Date.now();
        if (late) settle(none(unfit + 1), null);
        else obtainWithHooks(engine, options, settle, unfit + 1);
      },
      (failure) => {
        if (conn.generation === generation) engine.release(conn, generation, failure);
        settle(failure, null);
      },
    );
  });
}

/** What the hooks say, unless the request is over before. */
function inTime(engine: Engine, hooks: Promise<boolean>, { deadline, signal }: AcquireOptions): Promise<boolean> {
  const left = Math.max(1, Number(deadline ?? Number.POSITIVE_INFINITY) - Date.now());
  const timed = within(hooks, left, () => hooksTookTooLong(engine, 'it has not ended'));
  if (!signal) return timed;
  return new Promise((resolve, reject) => {
    const abort = () => reject(new AcquireAborted(signal.reason));
    const unhook = onAbort(signal, abort);
    if (signal.aborted) abort();
    timed.finally(unhook).then(resolve, reject);
  });
}

async function runHooks(engine: Engine, conn: Conn): Promise<boolean> {
  const { verify, prepare } = engine.options;
  const client = conn.client as unknown as pg.PoolClient;
  if (verify !== undefined && conn.fresh)
    await new Promise<void>((resolve, reject) => {
      bindRelease(engine, conn);
      verify(client, (error) => (error ? reject(error) : resolve()));
    });
  if (prepare === undefined) return true;
  return (await prepare(client, { priority: conn.priority, tenant: conn.tenant })) !== false;
}

/** What `connect` gives: the client as it is only to this holder, or the client itself with a `release` that works once. */
export function asClient(engine: Engine, conn: Conn): pg.PoolClient {
  if (engine.settings.leases) return leaseClient(engine, conn) as unknown as pg.PoolClient;
  bindRelease(engine, conn);
  return conn.client as unknown as pg.PoolClient;
}

function asLease(engine: Engine, conn: Conn): Lease {
  return new Lease(engine, conn);
}

/** The same, its queries bound to the request's signal and deadline where it has any. */
export function leaseFor(options: AcquireOptions | undefined): (engine: Engine, conn: Conn) => Lease {
  const bound = boundBy(options, null);
  if (bound === null) return asLease;
  return (engine, conn) => {
    conn.bound = bound;
    return asLease(engine, conn);
  };
}

function bindRelease(engine: Engine, conn: Conn): void {
  const { generation } = conn;
  conn.asLease = false;
  conn.client.release = (error) => engine.release(conn, generation, error);
}
