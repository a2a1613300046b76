/**
 * What of a `pg` client the pool touches, internals included, each optional because a `Client` option may bring any
 * class. The only file that names node-postgres' private fields; knows nothing of pools.
 */
import type { EventEmitter } from 'node:events';

export interface RawStream {
  destroy(error?: Error): void;
  destroyed?: boolean;
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

/** The server knows none of the statements any more that pg has prepared by name. */
export function forgetStatements(client: RawClient): void {
  const known = client.connection?.parsedStatements;
  if (known !== undefined) for (const name of Object.keys(known)) delete known[name];
}

/** Has it been ended, or lost its connection? */
export function isSpent(client: RawClient): boolean {
  return client._ending === true || client._queryable === false;
}

/** Cuts the connection without a word to the server. */
export function destroy(client: RawClient): void {
  const stream = client.connection?.stream;
  if (stream !== undefined) stream.destroy();
  else client.end(() => {});
}
