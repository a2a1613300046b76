/** What a client session needs from the rooms above: its pool, and the registry of all sessions. Implemented by pooling/. */
import type { Pool, Refusal } from '@sluice/core';
import type { Server } from '../server/server.ts';
import type { StatementStore } from '../server/statements.ts';
import type { Classifier } from '../sql/classifier.ts';
import type { Traffic } from '../telemetry/traffic.ts';
import type { SeenTexts } from './auto-prepared.ts';
import type { Target } from './numbers.ts';
import type { Session } from './side.ts';

export type PoolingMode = 'session' | 'transaction' | 'statement';

/** What is made of a client's session state beyond PostgreSQL's reported parameters. */
export const Keeping = {
  /** Nothing: it stays where it is (session mode), or nobody looks. */
  Nothing: 0,
  /** PREPARE and DEALLOCATE are followed (max_prepared_statements). */
  Statements: 1,
  /** session_state = follow. */
  Follow: 2,
  /** session_state = refuse. */
  Refuse: 3,
} as const;
export type Keeping = (typeof Keeping)[keyof typeof Keeping];

/** The pool of one database and user, as its clients see it. */
export interface ClientHome {
  readonly pool: Pool<Server>;
  readonly traffic: Traffic;
  readonly mode: PoolingMode;
  /** It serves one replication connection. */
  readonly replication: boolean;
  /** Named statements followed from server to server; 0 when they pass untouched. */
  readonly maxPrepared: number;
  /** How often an unnamed statement is sent before it is prepared by a name of ours (prepare_threshold); 0: never. */
  readonly prepareThreshold: number;
  readonly keeping: Keeping;
  /** Reset after every transaction (server_reset_query_always). */
  readonly resetAlways: boolean;
  /** Clock milliseconds at which a wait of this user that begins now is given up; Infinity: never. */
  waitDeadline(now: number, user?: string): number;
}

/** An error for a client, with its SQLSTATE. */
export interface ClientError {
  message: string;
  sqlState: string;
  detail?: string;
  hint?: string;
  /** What the log says instead of the message: something that the client must not learn. */
  logged?: string;
}

export interface ClientRegistry {
  readonly statements: StatementStore;
  readonly classifier: Classifier;
  readonly seenTexts: SeenTexts;
  /** Bytes of the largest message accepted (max_packet_size). */
  readonly maxPacketSize: number;
  /** Simple queries are refused (disable_pqexec). */
  readonly refusesSimple: boolean;
  /** Why this client may not begin anything now (shutdown, database gone), or null. */
  refuseWork(session: Session): ClientError | null;
  /** Something that the client does wrong, for the log. */
  warn(session: Session, message: string): void;
  /** Something that the client may not do, for which it is about to be sent away. */
  fault(session: Session, message: string): void;
  /** For the log of who looks closely (verbose = 2). */
  debug(session: Session, message: string): void;
  /** The session is queued for a server. */
  sessionWaits(session: Session): void;
  describeRefusal(session: Session, reason: Refusal): ClientError;
  /** The session is over, for this reason, of which its client is told or not; its connection may still be flushing. */
  sessionEnds(session: Session, reason: string, told: boolean): void;
  /** The client of this server's query is gone: the query is cancelled and the server closed. */
  stopServer(server: Server, reason: string): void;
  /** A statement of its is about to be sent that concerns others: those in its way in these databases, and the sessions that it names. */
  concernsOthers(session: Session, databases: ReadonlySet<string>, targets: readonly Target[]): void;
  /** Something happened that must not: for the log. */
  report(error: Error): void;
  /** Its connection broke with an error of the system's. */
  connectionBroke(session: Session, error: Error): void;
  /** Its connection is closed. */
  sessionClosed(session: Session): void;
  /** A server was lost while the session held it. */
  serverLostByClient(session: Session, server: Server): void;
}
