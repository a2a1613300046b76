/**
 * Instrumentations wrap pg-pool's `connect` and `end` (OpenTelemetry's of pg, for its spans and metrics of pools), which stand behind
 * those of this pool. Where they have, a request goes through the wrapper: it calls pg-pool's own `connect`, which finds nothing idle
 * and nothing full here, and so asks the pool for a `newClient`, which is where the request is made. Owns that way round; what a request
 * is it does not know.
 */
import driver from 'pg';
import type { Conn } from './conn.ts';
import type { RawClient } from './raw-client.ts';

type Done = (error: unknown, client?: RawClient, release?: () => void) => void;
/** What pg-pool hands to its `newClient`. */
export interface PendingItem {
  callback: Done;
}
type Settle = (error: unknown, conn: Conn | null) => void;
type Ask = (settle: Settle) => void;
type Method = ((this: unknown, callback: Done) => unknown) & {
  /** As shimmer marks what it wraps, and OpenTelemetry's likeness of it. */
  __wrapped?: boolean;
  __original?: Method;
};

const theirs = driver.Pool.prototype as unknown as { connect: Method; end: Method };
const nothing = () => {};

let known: Method | null = null;
let isThrough = false;
/** The request that is on its way through the wrapper, this moment. */
let underWay: Ask | null = null;

/** What has been laid over pg-pool's `connect`; null: nothing, or what does not lead to `newClient`. */
function wrapper(): Method | null {
  const { connect } = theirs;
  if (connect !== known) {
    known = connect;
    isThrough = connect.__wrapped === true && leadsToNewClient(connect);
  }
  return isThrough ? connect : null;
}

export const isInstrumented = (): boolean => wrapper() !== null;

/** Tried on a pool that is none: what is pg-pool's own may be another in a release to come. */
function leadsToNewClient(connect: Method): boolean {
  let own = connect;
  while (own.__wrapped === true && own.__original !== undefined) own = own.__original;
  let asked = 0;
  const newClient = (item: Partial<PendingItem>) => {
    if (typeof item?.callback === 'function') asked++;
  };
  try {
    own.call(
      { options: {}, ending: false, log: nothing, Promise, _idle: [], _isFull: () => false, newClient },
      nothing,
    );
  } catch {
    return false;
  }
  return asked === 1;
}

/**
 * Makes the request by way of the wrapper, if there is one. Its callback says in which context the request's goes on, and no more: what came
 * of the request is what the pool knows, whatever the wrapper makes of it.
 */
export function throughInstrumentation(pool: object, ask: Ask, settle: Settle): void {
  const connect = wrapper();
  // A pool that ends has its own error, before pg-pool's.
  if (connect === null || (pool as { ending?: boolean }).ending === true) {
    ask(settle);
    return;
  }
  let wasMade = false;
  let outcome: { error: unknown; conn: Conn | null } | null = null;
  const goOn = () => {
    if (outcome === null) return;
    const { error, conn } = outcome;
    outcome = null;
    settle(error, conn);
  };
  const before = underWay;
  underWay = (told) => {
    wasMade = true;
    ask((error, conn) => {
      outcome = { error, conn };
      try {
        told(error, conn);
      } catch {
        // Its own mistake, too.
      }
      // It may have called back later than at once, or not at all.
      goOn();
    });
  };
  try {
    const returned: unknown = connect.call(pool, goOn);
    if (returned instanceof Promise) returned.catch(nothing);
  } catch {
    // Its own mistake: the request is made all the same.
  } finally {
    underWay = before;
  }
  if (!wasMade) ask(settle);
}

/** pg-pool's `connect` asks for a client: once a request, and at once. Whoever asks later has lost what the request was. */
export function newClient(item: PendingItem): void {
  const ask = underWay;
  underWay = null;
  if (ask === null)
    item.callback(new Error('a request to the pool was made twice, or too late, by what is laid over connect'));
  else
    ask((error, conn) =>
      conn === null ? item.callback(error, undefined, nothing) : item.callback(undefined, conn.client, nothing),
    );
}

/** Tells a wrapper of `end` that this pool is ending. pg-pool's own, behind it, finds that it does already. */
export function tellEnd(pool: unknown): void {
  if (theirs.end.__wrapped === true && isInstrumented()) theirs.end.call(pool, nothing);
}
