/**
 * What of a `pg` client the pool touches, internals included, each optional because a `Client` option may bring any
 * class. The only file that names node-postgres' private fields; knows nothing of pools.
 */
import type { EventEmitter } from 'node:events';

export interface RawStream {
  destroy(error?: Error): void;
  destroyed?: boolean;
  bytesRead?: number;
  bytesWritten?: number;
}

export interface RawConnection extends EventEmitter {
  stream?: RawStream;
  parsedStatements?: Record<string, string>;
  ssl?: unknown;
}

export interface RawClient extends EventEmitter {
  connect(callback: (error?: Error | null) => void): unknown;
  query(...args: unknown[]): unknown;
  end(callback?: (error?: Error) => void): unknown;
  release?: (error?: Error | boolean) => void;
  ref?(): void;
  unref?(): void;
  isConnected?(): boolean;
  connection?: RawConnection;
  host?: string;
  port?: number;
  ssl?: unknown;
  sslNegotiation?: string;
  processID?: number | null;
  secretKey?: number | Buffer | null;
  readyForQuery?: boolean;
  _ending?: boolean;
  _queryable?: boolean;
  _connected?: boolean;
  _activeQuery?: unknown;
  _queryQueue?: unknown[];
  _sentQueryQueue?: unknown[];
  _pulseQueryQueue?: (() => void) | undefined;
  pipeline?: boolean;
  _poolUseCount?: number;
}

export type RawClientClass = new (config: unknown) => RawClient;

/** Is a query under way or queued? Clients of other makes are taken to be quiet. */
export function isBusy(client: RawClient): boolean {
  return client.readyForQuery === false || isQueued(client);
}

/** Does a query wait behind the one under way? */
export function isQueued(client: RawClient): boolean {
  const queued = client._queryQueue;
  if (queued !== undefined && queued.length > 0) return true;
  const sent = client._sentQueryQueue;
  return sent !== undefined && sent.length > 0;
}

/** The query that was handed to the client last. */
export function lastSent(client: RawClient): object | undefined {
  const query = client._queryQueue?.at(-1) ?? client._sentQueryQueue?.at(-1) ?? client._activeQuery;
  return (query ?? undefined) as object | undefined;
}

/** Takes a query that was not sent yet out of the client's queue. */
export function dequeue(client: RawClient, query: object | undefined): boolean {
  const at = query === undefined ? -1 : (client._queryQueue?.indexOf(query) ?? -1);
  if (at < 0) return false;
  client._queryQueue!.splice(at, 1);
  return true;
}

/**
 * Would a cancel request reach this query and no other? In pipeline mode others may be at the server before and behind it. Clients of
 * other makes do not tell what runs.
 */
export function isUnderWay(client: RawClient, query: object | undefined): boolean {
  if (query === undefined) return !('_activeQuery' in client);
  return client._activeQuery === query && (client._sentQueryQueue ?? []).length === 0;
}

/** Takes all queries that were not sent yet out of the client's queue; each ends with this error. */
export function dropQueued(client: RawClient, error: Error): void {
  for (const query of client._queryQueue?.splice(0) ?? []) {
    const { handleError } = query as { handleError?: (error: Error, connection: unknown) => void };
    process.nextTick(() => handleError?.call(query, error, client.connection));
  }
}

/** Puts another error in the place of that with which the query under way will end. */
export function rewordError(client: RawClient, reword: (error: unknown) => unknown): void {
  const query = client._activeQuery as
    | { handleError?: (error: unknown, connection: unknown) => unknown }
    | null
    | undefined;
  const own = query?.handleError;
  if (query && typeof own === 'function')
    query.handleError = (error, connection) => own.call(query, reword(error), connection);
}

/** What stood on a client of its own before its queue was held. */
const held = new WeakMap<RawClient, (() => void) | undefined>();

/** Nothing more is sent until `releaseQueue`. */
export function holdQueue(client: RawClient): void {
  if (typeof client._pulseQueryQueue !== 'function' || held.has(client)) return;
  held.set(client, Object.hasOwn(client, '_pulseQueryQueue') ? client._pulseQueryQueue : undefined);
  client._pulseQueryQueue = () => {};
}

export function releaseQueue(client: RawClient): void {
  if (!held.has(client)) return;
  const own = held.get(client);
  held.delete(client);
  if (own === undefined) delete client._pulseQueryQueue;
  else client._pulseQueryQueue = own;
  (client as { _pulseQueryQueue?: () => void })._pulseQueryQueue?.();
}

/** The server does not know these statements any more that pg has prepared by name. */
export function forgetStatements(client: RawClient, names: 'all' | readonly string[]): void {
  const known = client.connection?.parsedStatements;
  if (known !== undefined) for (const name of names === 'all' ? Object.keys(known) : names) delete known[name];
}

/** Bytes that went over its connection, both ways. */
export function trafficOf(client: RawClient): number {
  const { bytesRead = 0, bytesWritten = 0 } = client.connection?.stream ?? {};
  return bytesRead + bytesWritten;
}

/** Has it been ended, or lost its connection? */
export function isSpent(client: RawClient): boolean {
  return client._ending === true || client._queryable === false;
}

/** Cuts the connection without a word to the server. */
export function destroy(client: RawClient): void {
  const stream = client.connection?.stream;
  if (stream !== undefined) {
    stream.destroy();
    return;
  }
  try {
    // A class of another make may refuse to end what has never been connected: there is nothing to be done about it.
    const ended: unknown = client.end(() => {});
    if (ended instanceof Promise) ended.catch(() => {});
  } catch {}
}
