/**
 * What SHOW FDS lists, as PgBouncer does: the listening sockets, clients and servers with their descriptors, and for each that
 * another process could have as it is, how it leaves this one. PgBouncer's rows have no place for settings and prepared
 * statements, so a connection that has any could not be gone on with.
 */
import { EntryState } from '@sluice/core';
import type { ScramKeys } from '@sluice/wire';
import type { ClientSession } from '../client/session.ts';
import type { Session } from '../client/side.ts';
import type { Address, Conn } from '../net/conn.ts';
import type { Listener } from '../net/listen.ts';
import type { Server } from '../server/server.ts';
import { isAtRest, isSpare, letClientGo, letServerGo } from './at-rest.ts';
import { secretText } from './parcels.ts';
import type { Pooler } from './pooler.ts';
import type { ServerPool } from './server-pool.ts';

export interface DescriptorRow {
  readonly task: 'pooler' | 'client' | 'server';
  /** -1: this runtime does not tell it. */
  readonly fd: number;
  readonly user: string | null;
  readonly database: string | null;
  readonly address: string;
  readonly port: number;
  /** Process id and the first four bytes of the cancel key. */
  readonly cancel: bigint;
  /** The descriptor that it is linked with, or 0. */
  readonly link: number;
  /** What the connection has of the parameters that every PgBouncer follows; null: not known. */
  readonly parameters: { get(name: string): string | null } | null;
  /** The secret that a user of its own name, in no file, has for servers; else null. Not for everybody's eyes, as scramKeys. */
  readonly password: string | null;
  readonly scramKeys: ScramKeys | null;
  /** Null: it must stay. Else asked when it is passed on, as things may have changed meanwhile. */
  readonly passing: Passing | null;
}

export interface Passing {
  /** It still is what the row says. */
  possible(): boolean;
  /** The other process has it and goes on with it. */
  done(): void;
}

/** Nothing can be passed on unless the pooler is suspended: two processes that read one connection would spoil it. */
export function descriptorRows(pooler: Pooler, listeners: readonly Listener[]): DescriptorRow[] {
  const rows = listeners.filter(({ released }) => !released).map(listenerRow);
  for (const session of pooler.sessions.values()) rows.push(clientRow(pooler, session));
  for (const pool of pooler.pools.values())
    for (const entry of pool.pool.entries())
      if (entry.value !== null && entry.state !== EntryState.Closing)
        rows.push(serverRow(pool, entry.value, () => entry.state === EntryState.Idle && entry.retiring === null));
  return rows.map((row) => onlySuspended(pooler, row));
}

function onlySuspended(pooler: Pooler, row: DescriptorRow): DescriptorRow {
  const { passing } = row;
  if (passing === null) return row;
  const possible = () => pooler.pauseMode === 'suspended' && passing.possible();
  return { ...row, passing: { ...passing, possible } };
}

function listenerRow(listener: Listener): DescriptorRow {
  const { target, port, fd } = listener;
  const host = target.host === '*' ? '::' : target.host;
  return {
    ...{ task: 'pooler', fd, user: null, database: null, address: target.unix ? 'unix' : host, port },
    ...{ cancel: 0n, link: 0, parameters: null, password: null, scramKeys: null },
    passing: { possible: () => !listener.released && listener.fd === fd, done: () => listener.release() },
  };
}

function clientRow(pooler: Pooler, session: Session): DescriptorRow {
  const { conn, identity, server } = session;
  const { fd } = conn;
  const { user: role } = session.home as ServerPool;
  const bare = isAtRest(session) && isBare(session);
  return {
    ...{ task: 'client', fd, user: identity.user, database: identity.database, ...shown(conn.remote) },
    ...{ cancel: cancelOf(identity), link: server?.conn.fd ?? 0, parameters: session.parameters },
    password: secretOf(pooler, session),
    scramKeys: role.scramKeys,
    passing: bare
      ? {
          possible: () => pooler.sessions.get(identity.processId) === session && isAtRest(session) && conn.fd === fd,
          done: () => letClientGo(session),
        }
      : null,
  };
}

/** Not that of a database's own user, which the configuration names. */
function secretOf({ secrets, databases }: Pooler, { identity, home }: Session): string | null {
  const { name, secret } = (home as ServerPool).user;
  const own = name === identity.user && databases.get(identity.database)?.config.user === undefined;
  return own && secret !== null && !secrets.has(name) ? secretText(secret) : null;
}

function isBare({ settings, base, statements }: ClientSession): boolean {
  return [settings, base].every(({ size }) => size === 0) && statements.size === 0;
}

function serverRow(pool: ServerPool, server: Server, isIdle: () => boolean): DescriptorRow {
  const { conn, identity, parameters } = server;
  const { fd } = conn;
  const spare = () => isIdle() && isSpare(pool, server) && conn.fd === fd;
  const bare = spare() && server.settings.size === 0 && server.statements.size === 0;
  return {
    ...{ task: 'server', fd, user: pool.user.name, database: pool.database, ...shown(conn.remote) },
    ...{ cancel: cancelOf(identity), link: holderOf(server)?.fd ?? 0, parameters, password: null },
    scramKeys: pool.user.scramKeys,
    passing: bare ? { possible: spare, done: () => letServerGo(server) } : null,
  };
}

function holderOf({ holder }: Server): Conn | null {
  return (holder as Partial<ClientSession> | null)?.conn ?? null;
}

function shown({ address, port }: Address): { address: string; port: number } {
  return { address, port };
}

function cancelOf({ processId, cancelKey }: { processId: number; cancelKey: Uint8Array }): bigint {
  let key = BigInt(processId >>> 0);
  for (let i = 0; i < 4; i++) key = (key << 8n) | BigInt(cancelKey[i] ?? 0);
  return key;
}
