/**
 * A logged-in client: scans what it sends, gets it a server for the first message of a transaction, relays both ways,
 * and gives the server back when it is free. Owns the client's state machine (idle, waiting, preparing, linked, closed).
 * Login is in login.ts, prepared statements in prepared.ts; the pool's rules are the pool's.
 */
import { type Entry, type Pool, type Refusal, Waiter, type WaiterOwner } from '@sluice/core';
import {
  applyStatement,
  concat,
  type ErrorFields,
  errorResponse,
  type Parameters,
  query,
  type Reply,
  readyForQuery,
} from '@sluice/wire';
import type { Conn, ConnHandler } from '../net/conn.ts';
import { type ServerHolder, Tx } from '../server/holder.ts';
import type { Server } from '../server/server.ts';
import type { Clock } from '../telemetry/clock.ts';
import { ANSWERS } from './answers.ts';
import type { ClientHome, ClientRegistry } from './home.ts';
import { Intake, PIPELINE_REPLIES, TERMINATED, TO_CLIENT, TO_SERVER } from './intake.ts';
import { type Session, type SessionIdentity, SessionState } from './side.ts';
import { StatementNames } from './statement-names.ts';

export class ClientSession implements Session, ConnHandler, ServerHolder, WaiterOwner<Server> {
  readonly conn: Conn;
  readonly identity: SessionIdentity;
  readonly registry: ClientRegistry;
  readonly clock: Clock;
  readonly waiter: Waiter<Server>;
  readonly statements = new StatementNames();
  readonly intake: Intake;
  home: ClientHome;
  state: SessionState = SessionState.Idle;
  server: Server | null = null;
  parameters: Parameters;
  /** Clock milliseconds: login, last request, begin of the exchange, of the transaction and of the wait; 0 = none. */
  connectedAt: number;
  requestedAt: number;
  queryAt = 0;
  transactionAt = 0;
  /** When the last exchange left a transaction open; 0 otherwise. */
  idleInTransactionAt = 0;
  linkedAt = 0;
  generation = 0;
  /** The notice that the client waits was sent (query_wait_notify). */
  waitNotified = false;
  /** A fatal error of PostgreSQL's was passed on: the end of the server connection needs no second one. */
  #fatalRelayed = false;

  constructor(
    conn: Conn,
    identity: SessionIdentity,
    home: ClientHome,
    registry: ClientRegistry,
    parameters: Parameters,
    clock: Clock,
  ) {
    this.conn = conn;
    this.identity = identity;
    this.home = home;
    this.registry = registry;
    this.parameters = parameters;
    this.clock = clock;
    this.connectedAt = clock.now;
    this.requestedAt = clock.now;
    this.waiter = new Waiter<Server>(this);
    this.intake = new Intake(this);
    conn.handler = this;
  }

  get waitingSince(): number {
    return this.waiter.since;
  }

  get isOver(): boolean {
    return this.state === SessionState.Closed;
  }

  get pool(): Pool<Server> {
    return this.home.pool;
  }

  // The client's side.

  onData(buffer: Buffer, start: number, end: number): void {
    this.requestedAt = this.clock.update();
    this.home.traffic.received += end - start;
    try {
      this.intake.take(buffer, start, end);
    } catch (error) {
      // A bug of ours: this session's state is not to be trusted, the others are unharmed.
      this.disconnect(`internal error: ${(error as Error).message}`, 'XX000');
      this.registry.report(error as Error);
    }
  }

  onDrain(): void {
    this.server?.resumeReading();
  }

  onClose(error: Error | null): void {
    this.clock.update();
    if (error !== null && this.state !== SessionState.Closed) this.registry.connectionBroke(this, error);
    if (this.state !== SessionState.Closed) this.#leave('client unexpected eof', null);
    this.registry.sessionClosed(this);
  }

  /** Ends the session with an error that the client is told, after PostgreSQL's fashion, before the close. */
  disconnect(reason: string, sqlState = '08P01', extra: { detail?: string; hint?: string } = {}): void {
    this.#leave(reason, errorResponse({ severity: 'FATAL', code: sqlState, message: reason, ...extra }));
  }

  /** Ends the session without a word. */
  drop(reason: string): void {
    this.#leave(reason, null);
  }

  /** Hands the session bytes that arrived together with the end of its login. */
  begin(rest: Buffer): void {
    if (rest.length > 0) this.onData(rest, 0, rest.length);
    else this.conn.resume();
  }

  /** Gets a server for the first message of a transaction. False: the session waits, or is over. */
  obtainServer(): boolean {
    if (this.state !== SessionState.Idle) return false;
    const refusal = this.registry.refuseWork(this);
    if (refusal !== null) {
      this.disconnect(refusal.message, refusal.sqlState);
      return false;
    }
    this.waiter.deadline = this.home.waitDeadline(this.clock.now, this.identity.user);
    this.state = SessionState.Waiting;
    this.waitNotified = false;
    const entry = this.pool.acquire(this.waiter);
    if (entry !== null) return this.#link(entry);
    if (!this.isOver) this.registry.sessionWaits(this);
    return false;
  }

  /** An exchange begins with the first message that goes to the server. */
  exchangeBegins(server: Server): void {
    if (this.queryAt !== 0) return;
    this.queryAt = this.clock.now;
    if (this.transactionAt === 0) this.transactionAt = this.clock.now;
    this.idleInTransactionAt = 0;
    server.requestedAt = this.clock.now;
  }

  // The pool's side.

  served(entry: Entry<Server>): void {
    const { traffic } = this.home;
    traffic.waitMs += this.clock.now - this.waiter.since;
    if (this.#link(entry)) this.intake.proceed();
  }

  refused(reason: Refusal): void {
    const report = this.registry.describeRefusal(this, reason);
    this.disconnect(report.message, report.sqlState, report);
  }

  /** Pairs with a server. False: its parameters are being brought in line first. */
  #link(entry: Entry<Server>): boolean {
    const server = entry.value!;
    this.server = server;
    this.generation = entry.generation;
    this.linkedAt = this.clock.now;
    server.holder = this;
    this.home.traffic.assignments++;
    if (this.parameters !== server.parameters) {
      const positions = this.parameters.differences(server.parameters);
      if (positions.length > 0) {
        this.state = SessionState.Preparing;
        server.runInternal(query(applyStatement(this.parameters, positions)), (error) => this.#prepared(error));
        return false;
      }
      this.parameters = server.parameters = this.parameters.withDefaults(server.parameters);
    }
    this.state = SessionState.Linked;
    return true;
  }

  #prepared(error: ErrorFields | null): void {
    if (this.state !== SessionState.Preparing) return;
    const { server } = this;
    if (error !== null || server === null || server.closedBecause !== null) {
      const message = error?.message ?? 'server connection lost while settings were applied';
      this.disconnect(`invalid server parameter: ${message}`, error?.code ?? '08P01');
      return;
    }
    this.parameters = server.parameters = this.parameters.withDefaults(server.parameters);
    this.state = SessionState.Linked;
    this.intake.proceed();
  }

  /**
   * A cancel request came while the session waits for a server: the first exchange of its backlog is answered as
   * PostgreSQL answers a cancelled statement, and the rest goes on.
   */
  cancelWaiting(): void {
    if (this.state !== SessionState.Waiting || !this.intake.dropExchange()) return;
    this.pool.cancel(this.waiter);
    this.state = SessionState.Idle;
    const answer = concat(
      errorResponse({ severity: 'ERROR', code: '57014', message: 'canceling statement due to user request' }),
      readyForQuery(Tx.Idle),
    );
    this.conn.write(answer, 0, answer.length);
    this.intake.proceed();
  }

  notifyWaiting(notice: Uint8Array): void {
    if (this.waitNotified || this.state !== SessionState.Waiting) return;
    this.waitNotified = true;
    this.conn.write(notice, 0, notice.length);
  }

  // The server's side.

  relay(buffer: Uint8Array, from: number, to: number): void {
    this.home.traffic.sent += to - from;
    TO_CLIENT.add(this.conn, buffer, from, to);
  }

  keepRelayed(): void {
    TO_CLIENT.keep(this.conn);
  }

  answerDue(kind: Reply): void {
    const bytes = ANSWERS[kind]!;
    TO_CLIENT.add(this.conn, bytes, 0, bytes.length);
  }

  exchangeEnded(status: number): void {
    const { traffic } = this.home;
    const { now } = this.clock;
    traffic.queries++;
    traffic.queryMs += now - this.queryAt;
    this.queryAt = this.server!.queue.length > 0 ? now : 0;
    if (status === Tx.Idle) {
      traffic.transactions++;
      traffic.transactionMs += now - this.transactionAt;
      this.transactionAt = this.queryAt;
    } else if (this.queryAt === 0) this.idleInTransactionAt = now;
  }

  errorRelayed(fields: ErrorFields | null): void {
    if (fields !== null && (fields.severity === 'FATAL' || fields.severity === 'PANIC')) this.#fatalRelayed = true;
  }

  parameterChanged(index: number, value: string): void {
    this.parameters = this.parameters.with(index, value);
  }

  statementsDiscarded(): void {
    this.statements.clear(this.registry.statements);
  }

  serverScanned(server: Server): void {
    this.clock.update();
    if (!TO_CLIENT.flush(this.conn)) server.pauseReading();
    if (this.state !== SessionState.Linked) return;
    if (this.intake.paused && server.conn.queued === 0 && server.queue.length < PIPELINE_REPLIES / 2)
      this.intake.resume();
    if (!server.settled || server.closedBecause !== null) return;
    const { mode } = this.home;
    if (mode === 'session') return;
    if (server.status !== Tx.Idle) {
      if (mode === 'statement') this.disconnect('transaction blocks not allowed in statement pooling mode');
      return;
    }
    this.#unlink('clean');
  }

  serverDrained(): void {
    if (!this.intake.waiting) this.intake.resume();
  }

  serverLost(server: Server, reason: string): void {
    this.server = null;
    TO_SERVER.drop();
    TO_CLIENT.flush(this.conn);
    if (this.#fatalRelayed) this.#leave(reason, null, true);
    else this.disconnect(reason, '08P01');
    this.registry.serverLostByClient(this, server);
  }

  /** Gives the server back. */
  #unlink(as: 'clean' | 'reset'): void {
    const server = this.server!;
    this.server = null;
    server.holder = null;
    this.state = SessionState.Idle;
    this.queryAt = 0;
    this.transactionAt = 0;
    this.idleInTransactionAt = 0;
    server.resumeReading();
    const reset = as === 'reset' || this.home.resetAlways;
    server.resetOwed = reset;
    this.pool.release(server.entry, this.generation, server.cancels > 0 ? 'cancels' : reset ? 'reset' : 'clean');
  }

  /** The end, from whichever state: the server goes back, is rolled back, or is closed; the client is told or not. */
  #leave(reason: string, message: Uint8Array | null, flushed = false): void {
    if (this.state === SessionState.Closed) return;
    const was = this.state;
    this.state = SessionState.Closed;
    this.intake.clear();
    this.registry.sessionEnds(this, reason);
    if (message !== null) this.conn.write(message, 0, message.length);
    if (message !== null || flushed) this.conn.end();
    else this.conn.destroy();
    if (was === SessionState.Waiting) this.pool.cancel(this.waiter);
    const { server } = this;
    if (server !== null) {
      const fit = was === SessionState.Linked && server.settled && server.closedBecause === null;
      if (fit) this.#unlinkAtEnd(server);
      else {
        this.server = null;
        server.holder = null;
        // A query that nobody waits for any more is stopped; one whose client said goodbye in order runs to its end.
        const unready = 'client disconnect while server was not ready';
        if (reason !== TERMINATED && server.queue.length > 0) this.registry.stopServer(server, unready);
        else server.close(unready);
        this.pool.discard(server.entry, this.generation, 'dirty');
      }
    }
    this.statements.clear(this.registry.statements);
  }

  #unlinkAtEnd(server: Server): void {
    const dirty = server.status !== Tx.Idle || this.home.mode === 'session';
    this.#unlink(dirty ? 'reset' : 'clean');
    this.state = SessionState.Closed;
  }
}
