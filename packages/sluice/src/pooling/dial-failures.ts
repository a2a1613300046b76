/** What a failed dial or login to a server means: whether waiting would help, and what the log says. */
import { DialTimeout } from '../net/dial.ts';
import { LoginImpossible, ServerRefused } from '../server/login.ts';
import type { OpenTarget } from '../server/open.ts';
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

/** PgBouncer's lines, then ours, which says what to do. `at`: where it was dialled, if it came to that; `began`: clock milliseconds. */
export function logFailure(pool: ServerPool, at: OpenTarget | null, began: number, error: Error): void {
  const { log, clock } = pool.context;
  const where = at === null ? null : { address: at.host, port: at.port };
  const about = socketName('S', pool.context.nextConnectionId(), pool.name, where);
  if (error instanceof ServerRefused) log.warn(`server login failed: ${error.fields.severity} ${error.message}`, about);
  if (pool.shape.logDisconnections) {
    const age = Math.floor((clock.now - began) / 1000);
    const reason = pool.replication && error instanceof ServerRefused ? 'login failed' : closeText(error);
    log.info(`closing because: ${reason} (age=${age}s)`, about);
  }
  log.warn(`${pool.name}: ${explain(pool, error)}`);
}
