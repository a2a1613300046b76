/** A client session as its own parts and the rooms above it see it. Types and the table of states only. */
import type { Parameters } from '@sluice/wire';
import type { Conn } from '../net/conn.ts';
import type { Server } from '../server/server.ts';
import type { SessionSettings } from '../server/session-settings.ts';
import type { Suspicion } from '../sql/suspicion.ts';
import type { Clock } from '../telemetry/clock.ts';
import type { Follow, Pin } from './follow.ts';
import type { ClientHome, ClientRegistry } from './home.ts';
import type { StatementNames } from './statement-names.ts';

export const SessionState = {
  /** No transaction, no server. Leaves with the first message that needs a server. */
  Idle: 0,
  /** Queued for a server. Leaves when one is served, the wait is refused or cancelled. */
  Waiting: 1,
  /** Has a server, whose settings are being brought in line, or asked for. Leaves when they are. */
  Preparing: 2,
  /** Has a server; bytes pass both ways. Leaves when the server is free again. */
  Linked: 3,
  /** Over. Final. */
  Closed: 4,
} as const;
export type SessionState = (typeof SessionState)[keyof typeof SessionState];

export const NO_PINS: readonly Pin[] = [];

export interface SessionIdentity {
  /** Ascending in the process; the number in log lines. */
  readonly id: number;
  readonly user: string;
  readonly database: string;
  readonly cancelKey: Uint8Array;
  readonly processId: number;
}

/** What a client is told about a statement that was not sent. */
export interface RefusedText {
  readonly code: string;
  readonly message: string;
  readonly hint: string;
}

/** What a client is told at its end beyond the reason. `message`: in its place, where the log's words are others. */
export interface LastWords {
  readonly message?: string;
  readonly detail?: string;
  readonly hint?: string;
  /** So long after them the connection ends; 0, the default: at once. */
  readonly endsAfterMs?: number;
}

export interface Session {
  readonly conn: Conn;
  readonly identity: SessionIdentity;
  readonly registry: ClientRegistry;
  readonly clock: Clock;
  readonly statements: StatementNames;
  readonly home: ClientHome;
  readonly state: SessionState;
  readonly server: Server | null;
  readonly parameters: Parameters;
  /** Clock milliseconds: login and last request; begin of the exchange and of the transaction, 0 = none. */
  readonly connectedAt: number;
  readonly requestedAt: number;
  readonly queryAt: number;
  readonly transactionAt: number;
  /** When the last exchange left a transaction open; 0 otherwise. */
  readonly idleInTransactionAt: number;
  /** When its server began to be brought in line, or to be asked; meaningful in state Preparing. */
  readonly preparingSince: number;
  /** Since when the session waits for a server; meaningful in state Waiting. */
  readonly waitingSince: number;
  readonly isOver: boolean;
  /** What it leaves behind in its session; null: it never gave reason to look. */
  readonly follow: Follow | null;
  readonly settings: SessionSettings;
  /** What pins the present server to it; empty: nothing. */
  readonly pins: readonly Pin[];
  /** A statement that may leave something behind in the session goes to its server. */
  suspect(suspicion: Suspicion, text: string): void;
  /** Returns a text that fails, to be sent in place of the client's, which is told this. */
  refuseNext(refusal: RefusedText): string;
  /** Gets a server for the first message of a transaction. False: the session waits, or is over. */
  obtainServer(): boolean;
  /** The server owes nothing any more: it is given back if it is free. */
  serverScanned(server: Server): void;
  /** A message goes to the server; the first one begins an exchange. */
  exchangeBegins(server: Server): void;
  /** Ends the session with an error that the client is told, after PostgreSQL's fashion, before the close. */
  disconnect(reason: string, sqlState?: string, extra?: LastWords): void;
  /** Ends the session without a word. */
  drop(reason: string): void;
  /** Sends this notice, once a wait (query_wait_notify). */
  notifyWaiting(notice: Uint8Array): void;
  /** A cancel request came while the session waits for a server: its first exchange is answered as PostgreSQL answers a cancelled one. */
  cancelWaiting(): void;
}
