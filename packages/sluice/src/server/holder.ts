/** The two sides that hear what a server does: its holder (the client session) and its watcher (the pool). Types only, and Tx. */
import type { Effect, ErrorFields, Reply } from '@sluice/wire';
import type { DialTls, Names } from '../net/dial.ts';
import type { Server } from './server.ts';

/** Transaction status bytes of ReadyForQuery. */
export const Tx = { Idle: 0x49, InBlock: 0x54, Failed: 0x45 } as const;

/** Who holds a server: the client session. Called while the server scans; nothing here may re-enter the server. */
export interface ServerHolder {
  /** Bytes for the client; valid until `serverScanned`. */
  relay(buffer: Uint8Array, from: number, to: number): void;
  /** What was given to `relay` is about to be overwritten: copy it. */
  keepRelayed(): void;
  /** A reply that the client is owed by us is due now. */
  answerDue(kind: Reply): void;
  /** An exchange ended, with the transaction status of its ReadyForQuery. */
  exchangeEnded(status: number): void;
  /** The server reported an error for the client. False: the client must not see it. */
  errorRelayed(fields: ErrorFields | null, about: Effect | null, body: Uint8Array | null): boolean;
  /**
   * PostgreSQL refuses to run a prepared statement whose result would have other columns than before; asked while the replies
   * to that exchange are still owed. True: the exchange will be sent once more, and this error and its end are not to be seen.
   */
  planRejected(server: Server): boolean;
  /** The server threw all prepared statements away (DEALLOCATE ALL), or everything that the session had (DISCARD ALL). */
  discarded(what: 'statements' | 'everything'): void;
  /** A followed parameter changed on the client's behalf. */
  parameterChanged(index: number, value: string): void;
  /** A chunk has been scanned: flush, and give the server back if it is free. */
  serverScanned(server: Server): void;
  /** The connection is gone while held; `reason` for the log. */
  serverLost(server: Server, reason: string): void;
  /** Everything written to the server has left. */
  serverDrained(): void;
}

/** Called when an exchange of our own has ended: the error PostgreSQL reported, or null. */
export type InternalDone = (error: ErrorFields | null) => void;

/** What the server's owner (the pool's port) wants to hear. */
export interface ServerWatcher {
  /** Milliseconds that it has to answer what it is asked on our own account (server_answer_timeout); 0: no bound. */
  readonly answerMs: number;
  /** Bytes of the largest message let through (max_packet_size). */
  readonly maxPacketSize: number;
  /** Gone, for whatever reason. After `holder.serverLost`. */
  serverClosed(server: Server, reason: string): void;
  /** The connection broke with an error of the system's. Before `serverClosed`. */
  connectionBroke(server: Server, error: Error): void;
  /** A mistake of this program's, on which the connection is closed. */
  failedItself(server: Server, error: Error): void;
  /** A notice or error that nobody asked for, for the log. */
  unaskedMessage(server: Server, severity: string, fields: ErrorFields): void;
}

export interface ServerIdentity extends CancelTarget {
  /** Number in the log and in SHOW SERVERS; clients and servers are numbered in one row. */
  id: number;
  /** The role that it is logged in as. */
  user: string;
}

/** Whom a cancel request is for. */
export interface CancelTarget {
  processId: number;
  cancelKey: Uint8Array;
  /** Where a cancel request for it must go. */
  host: string;
  port: number;
  /** Which of the host's addresses it is at; null or absent: a Unix socket, or not known. */
  address?: string | null;
  /** Who knows the addresses of the host where `address` has none. */
  names?: Names;
  /** How it must go there; null: in plain. */
  tls: DialTls | null;
}
