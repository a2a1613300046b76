/** A row a connection, of clients and servers: what SHOW CLIENTS, SERVERS and SOCKETS are made of. Changes nothing. */
import { type Entry, EntryState, isCondemned, isTrusted } from '@sluice/core';
import { type Replication, replicationOf } from '../client/login.ts';
import { ClientSession } from '../client/session.ts';
import { type Session, SessionState } from '../client/side.ts';
import type { Conn } from '../net/conn.ts';
import type { Server } from '../server/server.ts';
import { Clock } from '../telemetry/clock.ts';
import type { Caller } from './caller.ts';
import type { Carriage } from './cancel-queue.ts';
import type { ServerPool } from './server-pool.ts';

export interface SocketRow {
  kind: 'client' | 'server';
  id: number;
  user: string;
  database: string;
  replication: Replication;
  state: string;
  remote: { address: string; port: number };
  local: { address: string; port: number };
  connectedAt: Date;
  requestedAt: Date;
  /** Milliseconds since the query began that is running or waiting; 0 without one. */
  waitMs: number;
  /** A server that closes at its next release. */
  closeNeeded: boolean;
  /** Number of the connection that it is linked with, or null. */
  link: number | null;
  remotePid: number;
  tls: string;
  applicationName: string;
  preparedStatements: number;
  queued: number;
}

/** What stands for a user or a database that there is none of. */
const NOBODY = { user: '(nouser)', database: '(nodb)' } as const;
/** Of a connection that is linked with none, and runs nothing. */
const UNLINKED = { closeNeeded: false, link: null, remotePid: 0, preparedStatements: 0, applicationName: '' } as const;
const NOWHERE = { address: 'unknown', port: 0 } as const;

const SERVER_STATES: Readonly<Record<number, string>> = {
  [EntryState.Opening]: 'new',
  [EntryState.Idle]: 'idle',
  [EntryState.Linked]: 'active',
  [EntryState.Checking]: 'tested',
  [EntryState.Resetting]: 'tested',
  [EntryState.CancelWait]: 'being_canceled',
  [EntryState.Closing]: 'closing',
};

export function sessionRow(session: Session, now: number): SocketRow {
  const { identity, conn, server, state, parameters } = session;
  const name = state === SessionState.Waiting ? 'waiting' : server === null ? 'idle' : 'active';
  const since = state === SessionState.Waiting ? session.waitingSince : session.queryAt;
  return {
    ...ends(conn),
    ...UNLINKED,
    kind: 'client',
    id: identity.id,
    user: identity.user,
    database: identity.database,
    replication: kindOf(session.home as ServerPool),
    state: name,
    connectedAt: wall(session.connectedAt),
    requestedAt: wall(session.requestedAt),
    waitMs: since > 0 ? Math.max(0, now - since) : 0,
    link: server?.identity.id ?? null,
    applicationName: parameters.get('application_name') ?? '',
    preparedStatements: session.statements.size,
  };
}

export function callerRow(caller: Caller, now: number): SocketRow {
  const { id, conn, request, database, state, since, stateSince } = caller;
  return {
    ...ends(conn),
    ...UNLINKED,
    kind: 'client',
    id,
    user: request?.user ?? NOBODY.user,
    database: database ?? NOBODY.database,
    replication: request?.replication ?? 'none',
    state,
    connectedAt: wall(since),
    requestedAt: wall(stateSince),
    waitMs: state === 'waiting' ? Math.max(0, now - stateSince) : 0,
    applicationName: request?.params.get('application_name') ?? '',
  };
}

export function serverRow(home: ServerPool, entry: Entry<Server>, now: number): SocketRow {
  const server = entry.value;
  const used = entry.state === EntryState.Idle && isUsed(home, entry, now) ? 'used' : null;
  const holder = server?.holder instanceof ClientSession ? server.holder : null;
  return {
    ...ends(server?.conn ?? null),
    kind: 'server',
    id: server?.identity.id ?? 0,
    user: home.user.name,
    database: home.database,
    replication: kindOf(home),
    state: used ?? SERVER_STATES[entry.state]!,
    connectedAt: wall(server?.connectedAt ?? entry.createdAt),
    requestedAt: wall(server === null ? entry.createdAt : server.requestedAt || server.connectedAt),
    waitMs: 0,
    closeNeeded: isCondemned(entry),
    link: holder?.identity.id ?? null,
    remotePid: server?.identity.processId ?? 0,
    applicationName: server?.parameters.get('application_name') ?? '',
    preparedStatements: server?.statements.size ?? 0,
  };
}

/** A connection that carries a cancel request, or is being made for one. `home`: null, to a peer. */
export function carriageRow({ id, conn, state, since }: Carriage, home: ServerPool | null): SocketRow {
  const at = wall(since);
  return {
    ...ends(conn),
    ...UNLINKED,
    kind: 'server',
    id,
    user: home?.user.name ?? NOBODY.user,
    database: home?.database ?? NOBODY.database,
    replication: 'none',
    state,
    connectedAt: at,
    requestedAt: at,
    waitMs: 0,
  };
}

/** Idle for longer than server_check_delay: to be checked before its next use. */
export function isUsed({ pool }: ServerPool, entry: Entry<Server>, now: number): boolean {
  return !isTrusted(pool, entry, now);
}

/** A clock's moment, in the calendar. */
export function wall(moment: number): Date {
  return new Date(Clock.wallMicros(moment) / 1000);
}

function kindOf({ shape }: ServerPool): Replication {
  return shape.replication === null ? 'none' : replicationOf(shape.replication);
}

function ends(conn: Conn | null): Pick<SocketRow, 'remote' | 'local' | 'tls' | 'queued'> {
  if (conn === null) return { remote: NOWHERE, local: NOWHERE, tls: '', queued: 0 };
  return { remote: conn.remote, local: conn.local, tls: conn.tls?.description ?? '', queued: conn.queued };
}
