/** A client that is no session yet: what the log calls it, where it comes from, whether it comes too late. */
import { hostname } from 'node:os';
import type { Parameters as ClientParameters } from '@sluice/wire';
import type { StartupRequest } from '../client/login.ts';
import type { Conn } from '../net/conn.ts';
import { notePeer } from '../net/peer-cred.ts';
import type { Pooler } from './pooler.ts';
import { socketName } from './socket-name.ts';

/**
 * Nobody is let in any more. Who is there while the process waits for its clients, and came by TCP, connected before the port was
 * closed; the Unix socket stays open for the console.
 */
export function isLate({ shutdown }: Pooler, conn: Conn): boolean {
  return shutdown === 'wait for servers' || (shutdown === 'wait for clients' && conn.remote.unix);
}

/** application_name_add_host: where the client comes from stands behind its name. */
export function withHost(parameters: ClientParameters, conn: Conn): ClientParameters {
  const name = nameWithHost(parameters.get('application_name') ?? '', conn);
  return parameters.with(parameters.names.indexOf('application_name'), name);
}

export function nameWithHost(name: string, conn: Conn): string {
  const { address, port, unix } = conn.remote;
  if (unix && !conn.remote.pid) notePeer(conn);
  const { pid } = conn.remote;
  const process = pid ? `(${pid}@${hostname()})` : '';
  const host = address.includes(':') ? `[${address}]` : address;
  return `${name || 'app'} - ${host}${process}:${port}`.slice(-63);
}

/** As PgBouncer has it, with what was asked for also where it is not there. */
export function describeVisitor(id: number, request: StartupRequest | null, conn: Conn): string {
  const who = request === null ? '(nodb)/(nouser)' : `${request.database}/${request.user}`;
  return socketName('C', id, who, conn.remote);
}
