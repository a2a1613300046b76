/** What a dial and a login to a server come to: the lines of the log, and after a failure whether waiting would help. */
import type { ErrorFields } from '@sluice/wire';
import type { Conn } from '../net/conn.ts';
import { DialTimeout, isUnixHost } from '../net/dial.ts';
import { LoginImpossible, ServerRefused } from '../server/login.ts';
import type { OpeningWatcher, ServerOpening } from '../server/open.ts';
import type { Server } from '../server/server.ts';
import type { ServerPool } from './server-pool.ts';
import { socketName } from './socket-name.ts';

/** SQLSTATE classes with which a server refuses for good: waiting would not help. */
const PERMANENT = new Set(['28', '3D', '22', '42', '0A', '08']);

/** No later attempt can succeed with these settings. */
export function isHopeless(error: Error): boolean {
  if (error instanceof LoginImpossible) return true;
  return error instanceof ServerRefused && PERMANENT.has(error.fields.code.slice(0, 2));
}

/** Why a connection could not be opened, in PgBouncer's words where it has some. */
export function closeText(error: Error): string {
  if (error instanceof ServerRefused) return error.message;
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return 'server DNS lookup failed';
  if (error instanceof DialTimeout && error.connected) return 'connect timeout';
  if (code !== undefined) return 'connect failed';
  return error.message;
}

/** Why a pool's connection could not be opened, in one line. */
export function explain({ shape, user }: ServerPool, error: unknown): string {
  const where = `server ${shape.database.hosts.join(',') || shape.unixSocketDir}:${shape.database.port}`;
  if (error instanceof ServerRefused) return `${where} refused the login of user "${user.name}": ${error.message}`;
  return `cannot connect to ${where}: ${error instanceof Error ? error.message : String(error)}`;
}

/** PgBouncer's lines of a connection that is made. */
export function logsOpening(pool: ServerPool, id: number): OpeningWatcher {
  const line = (conn: Conn, text: string) => {
    if (pool.shape.logConnections) pool.context.log.info(text, socketName('S', id, pool.name, conn.remote));
  };
  return {
    connected(conn) {
      const { address, port, unix } = conn.local;
      const from = address.includes(':') ? `[${address}]` : address;
      line(conn, `new connection to server${unix ? '' : ` (from ${from}:${port})`}`);
    },
    encrypted: (conn) => line(conn, `SSL established: ${conn.tls!.description}`),
  };
}

/** PgBouncer's lines, then ours, which says what to do. `opening`: null where it did not come to that; `began`: clock milliseconds. */
export function logFailure(pool: ServerPool, opening: ServerOpening | null, began: number, error: Error): void {
  const { log } = pool.context;
  const about = nameOf(pool, opening);
  if (error instanceof ServerRefused) log.warn(`server login failed: ${error.fields.severity} ${error.message}`, about);
  const reason = pool.replication && error instanceof ServerRefused ? 'login failed' : closeText(error);
  logEnd(pool, about, reason, began);
  log.warn(`${pool.name}: ${explain(pool, error)}`);
}

/** It is not wanted any more; who was told of the connection hears of its end. */
export function logGivenUp(pool: ServerPool, opening: ServerOpening | null, began: number): void {
  if (opening?.abortedBecause && opening.remote !== null)
    logEnd(pool, nameOf(pool, opening), opening.abortedBecause, began);
}

/** Something that the pooler asked the server itself has failed; PgBouncer has a line for connect_query. */
export function logUpkeep(
  pool: ServerPool,
  server: Server,
  sql: string,
  { severity, message }: ErrorFields,
  isConnectQuery: boolean,
): void {
  const { log } = pool.context;
  const about = pool.describe(server);
  if (isConnectQuery) log.error(`S: error while executing exec_on_query: ${severity}: ${message}`, about);
  else log.warn(`"${sql}" failed: ${message}`, about);
}

function logEnd(pool: ServerPool, about: string, reason: string, began: number): void {
  const { log, clock } = pool.context;
  if (pool.shape.logDisconnections)
    log.info(`closing because: ${reason} (age=${Math.floor((clock.now - began) / 1000)}s)`, about);
}

function nameOf({ name, context }: ServerPool, opening: ServerOpening | null): string {
  if (opening === null) return socketName('S', context.nextConnectionId(), name, null);
  const { id, host, port } = opening.target;
  return socketName('S', id, name, opening.remote ?? { address: isUnixHost(host) ? 'unix' : host, port });
}
