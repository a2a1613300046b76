/**
 * The new process's half of a take-over (-R): makes sessions and servers of the connections that the old one passes on. What
 * belongs to each is in its parcel; databases and pools are the new configuration's.
 */
import { errorResponse } from '@sluice/wire';
import { ClientSession } from '../client/session.ts';
import { DISCARD } from '../net/conn.ts';
import { FastConn } from '../net/fast-conn.ts';
import { notePeer } from '../net/peer-cred.ts';
import { setSocketOptions } from '../net/socket-options.ts';
import { readingOf } from '../server/readings.ts';
import { Server } from '../server/server.ts';
import { textOf } from '../server/statements.ts';
import {
  type ClientParcel,
  fromBase64,
  restoreParameters,
  restoreScramKeys,
  restoreSecret,
  restoreSettings,
  type ServerParcel,
  type StoredCredentials,
} from './parcels.ts';
import type { Pooler } from './pooler.ts';

/** A client goes on as if nothing had happened; one whose database is not there any more is told so. */
export function clientArrives(pooler: Pooler, parcel: ClientParcel, fd: number): void {
  const conn = FastConn.adopted(fd, DISCARD, parcel.unixPort);
  const database = pooler.database(parcel.database);
  if (database === null) {
    const gone = errorResponse({ severity: 'FATAL', code: '57P01', message: 'database removed' });
    conn.write(gone, 0, gone.length);
    conn.end();
    return;
  }
  setSocketOptions(conn, pooler.config.global);
  notePeer(conn);
  const pool = pooler.poolFor(database, parcel.user);
  learn(pooler, database.name, pool.user.name, parcel.credentials);
  const { context, clock } = pooler;
  const identity = {
    id: pooler.nextConnectionId(),
    user: parcel.user,
    database: parcel.database,
    processId: parcel.processId,
    cancelKey: fromBase64(parcel.cancelKey),
  };
  const parameters = restoreParameters(parcel.parameters, context.parameters);
  const [settings, base] = [restoreSettings(parcel.settings), restoreSettings(parcel.base)];
  const session = new ClientSession(conn, identity, pool, pooler, parameters, clock, settings, base);
  session.connectedAt = clock.update() - parcel.connectedMs;
  session.requestedAt = clock.now - parcel.requestedMs;
  for (const [name, tail] of parcel.statements) {
    const bytes = fromBase64(tail);
    const statement = context.statements.take(bytes, readingOf(textOf(bytes), parameters, settings), true);
    session.statements.set(name, statement);
  }
  pooler.clientEnters(database.name, parcel.user);
  pooler.restore(session);
  conn.resume();
}

/** A server joins its pool; where there is no place for it, it is sent away. */
export function serverArrives(pooler: Pooler, parcel: ServerParcel, fd: number): void {
  const conn = FastConn.adopted(fd, DISCARD, parcel.unixPort);
  const { context, clock } = pooler;
  const database = pooler.database(parcel.database);
  const pool = database === null ? null : pooler.poolOf(database, parcel.role);
  const { host, port, address, processId } = parcel;
  const home = pool?.reaches(host, port) ? pool : null;
  const parameters = restoreParameters(parcel.startParameters, context.parameters);
  const welcome = { reported: new Map(parcel.reported), parameters };
  const arrived = home?.arrive(welcome, (entry) => {
    setSocketOptions(conn, context.tcp);
    const id = pooler.nextConnectionId();
    const cancelKey = fromBase64(parcel.cancelKey);
    const identity = { id, user: parcel.role, processId, cancelKey, host, port, address, tls: null };
    const connectedAt = clock.update() - parcel.connectedMs;
    const server = new Server(conn, entry, identity, parameters, home, context.statements, connectedAt);
    server.parameters = restoreParameters(parcel.parameters, context.parameters);
    server.settings = restoreSettings(parcel.settings);
    entry.createdAt = connectedAt;
    return server;
  });
  if (!arrived) conn.destroy();
}

/** What logins have taught the old process, for logging in to servers. */
function learn(pooler: Pooler, database: string, role: string, stored: StoredCredentials): void {
  const secret = restoreSecret(stored);
  const keys = restoreScramKeys(stored);
  if (pooler.secrets.has(role)) {
    // What auth_file says now is what counts.
  } else if (secret?.kind === 'plain')
    pooler.learnPassword(database, role, { password: secret.password, against: null });
  else if (secret !== null) pooler.learnAnswer(database, role, secret);
  if (keys !== null) pooler.learnScramKeys(role, keys);
}
