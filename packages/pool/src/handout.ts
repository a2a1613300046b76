/**
 * The last steps of a hand-out: verify and prepare, and the shape in which the caller gets the connection. Owns the order
 * of the hooks; getting a connection is the engine's.
 */
import type pg from 'pg';
import type { Conn } from './conn.ts';
import type { AcquireOptions } from './contract.ts';
import type { Engine } from './engine.ts';
import { Lease } from './lease.ts';
import { leaseClient } from './lease-client.ts';
import { type Shape, Ticket } from './ticket.ts';

export type Settle = (error: unknown, conn: Conn | null) => void;

/** Calls `settle` at once when a connection is free and no hook stands between. */
export function obtain(engine: Engine, options: AcquireOptions | undefined, settle: Settle): void {
  const got = engine.request(options);
  if (!(got instanceof Ticket)) finish(engine, got, options, settle);
  else if (!got.waiting) settle(got.error, null);
  else {
    got.shape = itself;
    got.resolve = (conn) => finish(engine, conn as Conn, options, settle);
    got.reject = (error) => settle(error, null);
  }
}

const itself: Shape = (_engine, conn) => conn;

const nobody = (): void => {};
let resolveLast: (value: unknown) => void = nobody;
let rejectLast: (error: unknown) => void = nobody;
/** Hands a promise's functions out without a closure a promise. */
const expose = (resolve: (value: unknown) => void, reject: (error: unknown) => void) => {
  resolveLast = resolve;
  rejectLast = reject;
};

/** `obtain` as a promise. Without hooks there is no closure of ours in it. */
export function obtainAsync<T>(
  engine: Engine,
  Promised: PromiseConstructor,
  options: AcquireOptions | undefined,
  shape: (engine: Engine, conn: Conn) => T,
): Promise<T> {
  if (engine.hasHandoutHooks)
    return new Promised((resolve, reject) => {
      obtain(engine, options, (error, conn) => (conn === null ? reject(error) : resolve(shape(engine, conn))));
    });
  const got = engine.request(options);
  if (!(got instanceof Ticket)) return Promised.resolve(shape(engine, got));
  if (!got.waiting) return Promised.reject(got.error);
  const promise = new Promised<unknown>(expose);
  got.shape = shape;
  got.resolve = resolveLast;
  got.reject = rejectLast;
  // Kept here they would keep the promise and its lease from being collected.
  resolveLast = nobody;
  rejectLast = nobody;
  return promise as Promise<T>;
}

function finish(engine: Engine, conn: Conn, options: AcquireOptions | undefined, settle: Settle): void {
  if (!engine.hasHandoutHooks) {
    settle(null, conn);
    return;
  }
  const { generation } = conn;
  runHooks(engine, conn).then(
    (fit) => {
      if (fit) settle(null, conn);
      else {
        engine.release(conn, generation, true);
        obtain(engine, options, settle);
      }
    },
    (error) => {
      if (conn.generation === generation) engine.release(conn, generation, error);
      settle(error, null);
    },
  );
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

export function asLease(engine: Engine, conn: Conn): Lease {
  return new Lease(engine, conn);
}

function bindRelease(engine: Engine, conn: Conn): void {
  const { generation } = conn;
  conn.asLease = false;
  conn.client.release = (error) => engine.release(conn, generation, error);
}
