/**
 * What a holder has open on a connection: a cursor, a stream, a COPY, which end when he ends them and keep the connection until then. Owns
 * finding them and asking them to end; what follows from it is the transaction's.
 */
import pg from 'pg';
import type { Conn } from './conn.ts';
import { isBusy, type RawClient, trafficOf } from './raw-client.ts';

/** What pg-cursor, pg-query-stream and pg-copy-streams have of these, or none of it. */
interface OpenQuery {
  on?: (event: 'error', listener: () => void) => unknown;
  destroy?: () => unknown;
  close?: (done: () => void) => unknown;
}

/** So often in its time a query is looked at. */
const LOOKS = 10;

/** The object with a life of its own that the connection is at; null: none, or one of pg's, which ends by itself. */
function openOn(conn: Conn): OpenQuery | null {
  const query = conn.client._activeQuery as object | null | undefined;
  return query && conn.alive.has(query) && !(query instanceof pg.Query) ? query : null;
}

/**
 * Resolves with null when nothing is under way any more, or with what is open and has neither sent nor got anything for `patienceMs`: it
 * waits for its holder.
 */
export function quietOrOpen(conn: Conn, patienceMs: number): Promise<object | null> {
  const { client } = conn;
  return new Promise((resolve) => {
    let timer: NodeJS.Timeout | undefined;
    let seen: object | null = null;
    let before = 0;
    let looks = 0;
    const look = () => {
      const open = openOn(conn);
      const traffic = trafficOf(client);
      looks = open !== null && open === seen && traffic === before ? looks + 1 : 0;
      if (looks === LOOKS) {
        resolve(open);
        return;
      }
      [seen, before] = [open, traffic];
      timer = setTimeout(look, patienceMs / LOOKS);
    };
    if (isBusy(client)) look();
    conn.whenReady(() => {
      clearTimeout(timer);
      resolve(null);
    });
  });
}

/** Asks what is open to end, and what comes to be open behind it, as long as this query of the pool's waits for its turn. */
export function closeOpen(conn: Conn, inFrontOf: object | undefined): void {
  const open = openOn(conn);
  if (open !== null) close(open);
  const isWaiting = () => inFrontOf !== undefined && waitsIn(conn.client, inFrontOf);
  if (!isWaiting() || conn.broken !== null || conn.client.readyForQuery !== false) return;
  conn.whenTurnEnds(() => {
    if (isWaiting()) closeOpen(conn, inFrontOf);
  });
}

function waitsIn({ _queryQueue, _sentQueryQueue }: RawClient, query: object): boolean {
  return _queryQueue?.includes(query) === true || _sentQueryQueue?.includes(query) === true;
}

/** It fails perhaps, as the pool wanted: that is nobody's error, and does not end a process that has no listener for it. */
function close(query: OpenQuery): void {
  try {
    query.on?.('error', () => {});
    if (typeof query.destroy === 'function') query.destroy();
    else if (typeof query.close === 'function') query.close(() => {});
  } catch {
    // What it cannot end is ended with the connection.
  }
}
