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
  FRONT,
  Front,
  HEADER_BYTES,
  lengthAt,
  type Parameters,
  query,
  Reply,
  readyForQuery,
} from '@sluice/wire';
import type { Conn, ConnHandler } from '../net/conn.ts';
import { Gather } from '../net/gather.ts';
import { type Server, type ServerHolder, Tx } from '../server/server.ts';
import type { Clock } from '../telemetry/clock.ts';
import { ANSWERS } from './answers.ts';
import type { ClientHome, ClientRegistry } from './home.ts';
import { intercept, StatementNames } from './prepared.ts';

export const SessionState = { Idle: 0, Waiting: 1, Preparing: 2, Linked: 3, Closed: 4 } as const;
export type SessionState = (typeof SessionState)[keyof typeof SessionState];

/** What may pile up from a client that waits for a server before it is no longer read. */
const BACKLOG_BYTES = 65_536;
/** Replies owed at which a pipelining client is no longer read, until half of them have come. */
const PIPELINE_REPLIES = 65_536;

const TO_SERVER = new Gather();
const TO_CLIENT = new Gather();

export interface SessionIdentity {
  readonly id: number;
  readonly user: string;
  readonly database: string;
  readonly cancelKey: Uint8Array;
  readonly processId: number;
}

export class ClientSession implements ConnHandler, ServerHolder, WaiterOwner<Server> {
  readonly conn: Conn;
  readonly identity: SessionIdentity;
  readonly registry: ClientRegistry;
  readonly clock: Clock;
  readonly waiter: Waiter<Server>;
  readonly statements = new StatementNames();
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
  generation = 0;
  /** The notice that the client waits was sent (query_wait_notify). */
  waitNotified = false;
  /** A fatal error of PostgreSQL's was passed on: the end of the server connection needs no second one. */
  #fatalRelayed = false;
  #backlog: Buffer | null = null;
  #bodyLeft = 0;
  #bodyForward = false;
  #carry: Buffer | null = null;
  #carried = 0;
  #needed = 0;
  #paused = false;

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
    conn.handler = this;
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
    this.#take(buffer, start, end);
  }

  onDrain(): void {
    this.server?.conn.resume();
  }

  onClose(error: Error | null): void {
    this.clock.update();
    if (this.state !== SessionState.Closed) this.#leave(error === null ? 'client unexpected eof' : error.message, null);
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

  #take(buffer: Buffer, start: number, end: number): void {
    if (this.#backlog !== null) {
      this.#queueUp(buffer, start, end);
      return;
    }
    let at = start;
    if (this.#carried > 0) at = this.#finishCarried(buffer, at, end);
    if (at < end) this.#scan(buffer, at, end);
    this.#flush();
  }

  #flush(): void {
    const { server } = this;
    if (!TO_CLIENT.empty) TO_CLIENT.flush(this.conn);
    if (server === null || this.state === SessionState.Closed) {
      TO_SERVER.drop();
      return;
    }
    if (!TO_SERVER.flush(server.conn) || server.queue.length > PIPELINE_REPLIES) this.#pause();
  }

  #pause(): void {
    if (this.#paused) return;
    this.#paused = true;
    this.conn.pause();
  }

  #resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.conn.resume();
  }

  #queueUp(buffer: Buffer, start: number, end: number): void {
    const old = this.#backlog!;
    this.#backlog = Buffer.concat([old, buffer.subarray(start, end)]);
    if (this.#backlog.length >= BACKLOG_BYTES) this.#pause();
  }

  /** Completes a message that the last chunk cut. */
  #finishCarried(buffer: Buffer, at: number, end: number): number {
    while (this.#carried > 0 && this.#backlog === null) {
      const carry = this.#carry!;
      const take = Math.min(this.#needed - this.#carried, end - at);
      buffer.copy(carry, this.#carried, at, at + take);
      this.#carried += take;
      at += take;
      if (this.#carried < this.#needed) return at;
      const size = this.#carried;
      this.#carried = 0;
      this.#carry = null;
      this.#scan(carry, 0, size);
      if (this.server !== null) TO_SERVER.keep(this.server.conn);
    }
    if (this.#backlog !== null && at < end) {
      this.#queueUp(buffer, at, end);
      return end;
    }
    return at;
  }

  /** Keeps the beginning of a message until `needed` bytes of it are here. */
  #keep(buffer: Buffer, at: number, end: number, needed: number): void {
    this.#carried = end - at;
    this.#needed = needed;
    this.#carry = Buffer.allocUnsafe(needed);
    buffer.copy(this.#carry, 0, at, end);
  }

  /** Walks the headers of a chunk. `from` is where the bytes begin that go to the server next. */
  #scan(buffer: Buffer, at: number, end: number): void {
    let from = at;
    if (this.#bodyLeft > 0) {
      const step = Math.min(this.#bodyLeft, end - at);
      at += step;
      this.#bodyLeft -= step;
      if (!this.#bodyForward) from = at;
      else this.server!.owedBody = this.#bodyLeft;
    }
    while (at < end) {
      const have = end - at;
      if (have < HEADER_BYTES) {
        this.#send(buffer, from, at);
        this.#keep(buffer, at, end, HEADER_BYTES);
        return;
      }
      const what = FRONT[buffer[at]!]!;
      const size = lengthAt(buffer, at) + 1;
      if (size < HEADER_BYTES || what === Front.Bad || size > this.registry.maxPacketSize) {
        this.#send(buffer, from, at);
        this.#refuseMessage(buffer[at]!, size);
        return;
      }
      if (this.state !== SessionState.Linked && !this.#mayProceed(what, buffer, at, end)) {
        if (this.state !== SessionState.Idle) return;
        // Not for any server: skipped, as PostgreSQL skips copy data outside of a copy.
        const step = Math.min(size, have);
        this.#bodyLeft = size - step;
        this.#bodyForward = false;
        at += step;
        from = at;
        continue;
      }
      if (what === Front.Terminate) {
        this.#send(buffer, from, at);
        this.#flush();
        this.#leave('client close request', null);
        return;
      }
      if (this.home.maxPrepared > 0 && what >= Front.Parse && what <= Front.Close && what !== Front.Execute) {
        this.#send(buffer, from, at);
        from = at;
        const done = this.#intercept(buffer, at, Math.min(end, at + size), size);
        if (done === 0) return;
        if (done > 0) {
          at += done;
          from = at;
          continue;
        }
      }
      this.#note(what);
      const step = Math.min(size, have);
      at += step;
      this.#bodyLeft = size - step;
      this.#bodyForward = true;
      this.server!.owedBody = this.#bodyLeft;
    }
    this.#send(buffer, from, at);
  }

  #send(buffer: Uint8Array, from: number, to: number): void {
    if (from < to && this.server !== null) TO_SERVER.add(this.server.conn, buffer, from, to);
  }

  /**
   * Prepared statements: returns how many bytes of the chunk were dealt with, 0 when the message must be kept until
   * more of it is here, or -1 when it is not a matter of prepared statements and passes like any other.
   */
  #intercept(buffer: Buffer, at: number, end: number, size: number): number {
    const server = this.server!;
    this.#begin(server);
    const result = intercept(this, server, buffer, at, end);
    if (result.kind === 'pass') return -1;
    if (result.kind === 'more') {
      this.#keep(buffer, at, end, result.needed);
      return 0;
    }
    const { pieces, restAt } = result;
    for (const piece of pieces) TO_SERVER.add(server.conn, piece, 0, piece.length);
    const step = end - at;
    if (restAt >= 0) {
      TO_SERVER.add(server.conn, buffer, at + restAt, end);
      this.#bodyLeft = size - step;
      this.#bodyForward = true;
      server.owedBody = this.#bodyLeft;
    }
    server.answer();
    return step;
  }

  /** An exchange begins with the first message that goes to the server. */
  #begin(server: Server): void {
    if (this.queryAt !== 0) return;
    this.queryAt = this.clock.now;
    if (this.transactionAt === 0) this.transactionAt = this.clock.now;
    this.idleInTransactionAt = 0;
    server.requestedAt = this.clock.now;
  }

  /** Writes down what a message that goes to the server makes it owe. */
  #note(what: number): void {
    const server = this.server!;
    const { queue } = server;
    this.#begin(server);
    switch (what) {
      case Front.Query:
        queue.sent(Reply.Query);
        break;
      case Front.Parse:
        queue.sent(Reply.Parse);
        break;
      case Front.Bind:
        queue.sent(Reply.Bind);
        break;
      case Front.Describe:
        queue.sent(Reply.Describe);
        break;
      case Front.Execute:
        queue.sent(Reply.Execute);
        break;
      case Front.Close:
        queue.sent(Reply.Close);
        break;
      case Front.Sync:
        queue.sent(Reply.Sync);
        break;
      case Front.Function:
        queue.sent(Reply.Function);
        break;
      case Front.CopyEnd:
        queue.sent(Reply.CopyEnd);
        break;
    }
  }

  /**
   * May the message at `at` be processed now? Gets a server where one is needed; when none is free the rest of the chunk
   * becomes the backlog and the state Waiting. In state Idle afterwards, the message is to be skipped.
   */
  #mayProceed(what: number, buffer: Buffer, at: number, end: number): boolean {
    if (what === Front.Terminate) return true;
    if (what === Front.Flush || what === Front.CopyData || what === Front.CopyEnd) return false;
    const refusal = this.registry.refuseWork(this);
    if (refusal !== null) {
      this.disconnect(refusal.message, refusal.sqlState);
      return false;
    }
    const entry = this.#acquire();
    if (this.state === (SessionState.Closed as SessionState)) return false;
    if (entry !== null && this.#link(entry)) return true;
    this.#backlog = Buffer.from(buffer.subarray(at, end));
    return false;
  }

  #acquire(): Entry<Server> | null {
    this.waiter.deadline = this.home.waitDeadline(this.clock.now);
    this.state = SessionState.Waiting;
    this.waitNotified = false;
    const entry = this.pool.acquire(this.waiter);
    if (entry === null && this.state === SessionState.Waiting) this.registry.sessionWaits(this);
    return entry;
  }

  // The pool's side.

  served(entry: Entry<Server>): void {
    const { traffic } = this.home;
    traffic.waitMs += this.clock.now - this.waiter.since;
    if (this.#link(entry)) this.#drainBacklog();
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
    this.#drainBacklog();
  }

  /**
   * A cancel request came while the session waits for a server: the first exchange of its backlog is answered as
   * PostgreSQL answers a cancelled statement, and the rest goes on waiting.
   */
  cancelWaiting(): void {
    const backlog = this.#backlog;
    if (this.state !== SessionState.Waiting || backlog === null) return;
    const end = exchangeEnd(backlog);
    if (end < 0) return;
    this.pool.cancel(this.waiter);
    this.state = SessionState.Idle;
    this.#backlog = null;
    const answer = concat(
      errorResponse({ severity: 'ERROR', code: '57014', message: 'canceling statement due to user request' }),
      readyForQuery(Tx.Idle),
    );
    this.conn.write(answer, 0, answer.length);
    this.#resume();
    if (end < backlog.length) this.#take(backlog, end, backlog.length);
  }

  #drainBacklog(): void {
    const backlog = this.#backlog;
    this.#backlog = null;
    this.#resume();
    if (backlog === null) return;
    this.#take(backlog, 0, backlog.length);
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
    if (!TO_CLIENT.flush(this.conn)) server.conn.pause();
    if (this.state !== SessionState.Linked) return;
    if (
      this.#paused &&
      this.#backlog === null &&
      server.conn.queued === 0 &&
      server.queue.length < PIPELINE_REPLIES / 2
    )
      this.#resume();
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
    if (this.#backlog === null) this.#resume();
  }

  serverLost(server: Server, reason: string): void {
    this.server = null;
    TO_SERVER.drop();
    TO_CLIENT.flush(this.conn);
    if (this.#fatalRelayed) this.#leave(reason, null, true);
    else this.disconnect(reason === 'server conn crashed?' ? 'server conn crashed?' : reason, '08P01');
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
    if (server.conn.queued === 0) server.conn.resume();
    const reset = as === 'reset' || this.home.resetAlways;
    this.pool.release(server.entry, this.generation, server.cancels > 0 ? 'cancels' : reset ? 'reset' : 'clean');
  }

  /** The end, from whichever state: the server goes back, is rolled back, or is closed; the client is told or not. */
  #leave(reason: string, message: Uint8Array | null, flushed = false): void {
    if (this.state === SessionState.Closed) return;
    const was = this.state;
    this.state = SessionState.Closed;
    this.#backlog = null;
    this.#carry = null;
    this.#carried = 0;
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
        server.close('client disconnect while server was not ready');
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

  #refuseMessage(type: number, size: number): void {
    if (size < HEADER_BYTES || size > this.registry.maxPacketSize)
      this.disconnect(`invalid message length ${size - 1} in a message of type 0x${type.toString(16)}`, '08P01');
    else this.disconnect(`invalid frontend message type ${type}`, '08P01');
  }
}

/** Where the first exchange of a backlog ends: behind its first Query, FunctionCall or Sync; -1 when it is not all here. */
function exchangeEnd(backlog: Buffer): number {
  for (let at = 0; at + HEADER_BYTES <= backlog.length; ) {
    const what = FRONT[backlog[at]!]!;
    const end = at + lengthAt(backlog, at) + 1;
    if (end > backlog.length || end <= at) return -1;
    if (what === Front.Query || what === Front.Function || what === Front.Sync) return end;
    at = end;
  }
  return -1;
}
