/**
 * A logged-in client: scans what it sends, gets it a server for the first message of a transaction, relays both ways, and gives the
 * server back when it is free. Owns the client's state machine (idle, waiting, preparing, linked, closed); the pool's rules are the pool's.
 */
import { type Entry, type Refusal, Waiter, type WaiterOwner } from '@sluice/core';
import { type Effect, type ErrorFields, errorResponse, type Parameters, type Reply } from '@sluice/wire';
import { type Conn, type ConnHandler, endAfter, goneBecause } from '../net/conn.ts';
import { type ServerHolder, Tx } from '../server/holder.ts';
import type { Server } from '../server/server.ts';
import { AS_AT_LOGIN, type SessionSettings } from '../server/session-settings.ts';
import type { Suspicion } from '../sql/suspicion.ts';
import type { Clock } from '../telemetry/clock.ts';
import { ATTEMPTS, align, alignment, canonical, QUERY_CANCELED } from './align.ts';
import { ANSWERS, CANCELED } from './answers.ts';
import { partWith } from './finishing.ts';
import { Follow, type Pin } from './follow.ts';
import type { ClientHome, ClientRegistry } from './home.ts';
import { Intake, TERMINATED } from './intake.ts';
import { TO_CLIENT, TO_SERVER } from './outgoing.ts';
import { type LastWords, NO_PINS, type RefusedText, type Session, type SessionIdentity, SessionState } from './side.ts';
import { inClientsWords } from './statement-effects.ts';
import { StatementNames } from './statement-names.ts';
import { Refusals } from './watch.ts';

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
  connectedAt: number;
  requestedAt: number;
  queryAt = 0;
  transactionAt = 0;
  /** When the last exchange left a transaction open; 0 otherwise. */
  idleInTransactionAt = 0;
  preparingSince = 0;
  settings: SessionSettings;
  /** What it asked for at login, in startup parameters, reported ones included. */
  readonly base: SessionSettings;
  follow: Follow | null = null;
  #refusals: Refusals | null = null;
  /** Servers in a row that did not take its settings in time. */
  #attempts = 0;
  generation = 0;
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
    settings: SessionSettings = AS_AT_LOGIN,
    base: SessionSettings = settings,
  ) {
    this.conn = conn;
    this.identity = identity;
    this.home = home;
    this.registry = registry;
    this.parameters = parameters;
    this.clock = clock;
    this.settings = settings;
    this.base = base;
    this.connectedAt = this.requestedAt = clock.now;
    this.waiter = new Waiter<Server>(this);
    this.intake = new Intake(this);
    conn.handler = this;
    conn.gather();
  }

  get waitingSince(): number {
    return this.waiter.since;
  }

  get pins(): readonly Pin[] {
    return this.follow?.pins ?? NO_PINS;
  }

  get isOver(): boolean {
    return this.state === SessionState.Closed;
  }

  onData(buffer: Buffer, start: number, end: number): void {
    this.requestedAt = this.clock.tick();
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
    this.server?.reading.resume();
  }

  onClose(error: Error | null): void {
    this.clock.update();
    if (error !== null && this.state !== SessionState.Closed) this.registry.connectionBroke(this, error);
    if (this.state !== SessionState.Closed)
      this.#leave(this.intake.saidGoodbye ? TERMINATED : goneBecause(error), null);
    this.registry.sessionClosed(this);
  }

  disconnect(reason: string, sqlState = '08P01', { endsAfterMs = 0, ...extra }: LastWords = {}): void {
    this.#leave(reason, errorResponse({ severity: 'FATAL', code: sqlState, message: reason, ...extra }), endsAfterMs);
  }

  drop(reason: string): void {
    this.#leave(reason, null);
  }

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
    const entry = this.home.pool.acquire(this.waiter);
    if (entry !== null) return this.#link(entry);
    if (!this.isOver) this.registry.sessionWaits(this);
    return false;
  }

  exchangeBegins(server: Server): void {
    if (this.queryAt !== 0) return;
    this.queryAt = this.clock.now;
    if (this.transactionAt === 0) this.transactionAt = this.clock.now;
    this.idleInTransactionAt = 0;
    server.requestedAt = this.clock.now;
  }

  suspect(suspicion: Suspicion, text: string): void {
    this.follow ??= new Follow(this.base, this.registry.classifier);
    this.follow.note(suspicion, text, this.server!);
  }

  refuseNext(refusal: RefusedText): string {
    if (this.server?.queue.skipping) return ''; // it is passed over, and nobody hears of it
    this.#refusals ??= new Refusals();
    return this.#refusals.add(refusal);
  }

  served(entry: Entry<Server>): void {
    this.home.traffic.waitMs += this.clock.now - this.waiter.since;
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
    server.holder = this;
    this.home.traffic.assignments++;
    if (this.parameters !== server.parameters || this.settings !== server.settings) {
      const steps = alignment(this, server);
      if (steps.length > 0) {
        this.state = SessionState.Preparing;
        this.preparingSince = this.clock.now;
        this.registry.debug(this, `varcache_apply: ${steps.join('; ')}`);
        align(server, steps, (error) => this.#prepared(server, error));
        return false;
      }
      this.#aligned(server);
    }
    this.state = SessionState.Linked;
    return true;
  }

  #prepared(server: Server, error: ErrorFields | null): void {
    if (this.state !== SessionState.Preparing) return;
    // Stopped by what the client before had set, such as a statement_timeout: another server is as good.
    if (error?.code === QUERY_CANCELED && this.#attempts++ < ATTEMPTS) {
      this.server = null;
      server.holder = null;
      server.close(`settings could not be applied: ${error.message}`);
      this.home.pool.discard(server.entry, this.generation, 'dirty');
      this.state = SessionState.Idle;
      this.intake.proceed();
      return;
    }
    if (error !== null || server.closedBecause !== null) {
      const message = error?.message ?? 'server connection lost while settings were applied';
      this.disconnect(`invalid server parameter: ${message}`, error?.code ?? '08P01');
      return;
    }
    this.#attempts = 0;
    this.parameters = canonical(this.parameters, server.parameters, (message) => this.registry.debug(this, message));
    this.#aligned(server);
    this.state = SessionState.Linked;
    // What it was for may have been cancelled meanwhile.
    if (this.intake.waiting || this.home.mode === 'session') this.intake.proceed();
    else this.#unlink('clean');
  }

  /** Equal contents become one object. What a server does not report it was not told. */
  #aligned(server: Server): void {
    this.parameters = this.parameters.withDefaults(server.parameters).unifiedWith(server.parameters);
    server.parameters = this.parameters.within(server.parameters);
    this.settings = server.settings = this.settings.unifiedWith(server.settings);
  }

  /** PostgreSQL's answer for the first exchange of the backlog; the rest goes on. */
  cancelWaiting(): void {
    const waits = this.state === SessionState.Waiting;
    if ((!waits && this.state !== SessionState.Preparing) || !this.intake.dropExchange()) return;
    this.conn.write(CANCELED, 0, CANCELED.length);
    // A server that is being brought in line, or asked, is to be so to the end.
    if (!waits) return;
    this.home.pool.cancel(this.waiter);
    this.state = SessionState.Idle;
    this.intake.proceed();
  }

  notifyWaiting(notice: Uint8Array): void {
    if (this.waitNotified || this.state !== SessionState.Waiting) return;
    this.waitNotified = true;
    this.conn.write(notice, 0, notice.length);
  }

  // The server's side.
  relay(buffer: Uint8Array, from: number, to: number): void {
    if (this.state === SessionState.Closed) return;
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
    const now = this.clock.tick();
    traffic.queries++;
    traffic.queryMs += now - this.queryAt;
    this.queryAt = this.server!.queue.length > 0 ? now : 0;
    if (this.queryAt === 0) this.#refusals = null;
    if (status === Tx.Idle) {
      traffic.transactions++;
      traffic.transactionMs += now - this.transactionAt;
      this.transactionAt = this.queryAt;
      if (this.queryAt === 0) this.follow?.transactionEnded();
    } else if (this.home.mode === 'statement') {
      // Before it is told that it has a transaction.
      TO_CLIENT.flush(this.conn);
      this.disconnect('transaction blocks not allowed in statement pooling mode');
    } else if (this.queryAt === 0) this.idleInTransactionAt = now;
  }

  errorRelayed(fields: ErrorFields | null, about: Effect | null, body: Uint8Array | null): boolean {
    if (fields !== null && (fields.severity === 'FATAL' || fields.severity === 'PANIC')) this.#fatalRelayed = true;
    const instead = this.#refusals?.insteadOf(fields) ?? inClientsWords(fields, body, this.statements, about);
    if (instead !== null) TO_CLIENT.add(this.conn, instead, 0, instead.length);
    return instead === null;
  }

  planRejected(server: Server): boolean {
    return this.intake.repeatLater(server.queue.forClient);
  }

  parameterChanged(index: number, value: string): void {
    this.parameters = this.parameters.with(index, value);
  }

  discarded(what: 'statements' | 'everything'): void {
    this.statements.clear(this.registry.statements);
    if (what === 'everything') this.follow?.discarded();
  }

  serverScanned(server: Server): void {
    this.clock.tick();
    if (!TO_CLIENT.flush(this.conn)) server.reading.pause();
    if (this.state === SessionState.Linked) this.intake.serverScanned(server);
    if (this.state !== SessionState.Linked || !server.settled || server.closedBecause !== null) return;
    if (this.intake.repeats()) return;
    if (this.home.mode === 'session') return;
    if (server.status !== Tx.Idle) return;
    if (this.follow?.mustGo(this.home.keeping)) {
      // Where nothing may be left of a transaction, or nobody looks any more, whatever there is is thrown away.
      this.follow = null;
      server.discardOwed = true;
      this.#unlink('reset');
    } else if (this.follow?.suspects) this.#takeInventory(server);
    else if (this.pins.length === 0) this.#unlink('clean');
  }

  #takeInventory(server: Server): void {
    this.state = SessionState.Preparing;
    this.preparingSince = this.clock.now;
    const { generation } = this;
    const done = () => {
      this.clock.update();
      TO_CLIENT.flush(this.conn);
      if (this.state === SessionState.Closed) {
        server.holder = null;
        this.#release(server, generation, 'reset');
        return;
      }
      server.holder = this;
      this.state = SessionState.Linked;
      if (this.pins.length === 0) this.#unlink('clean');
      this.intake.proceed();
    };
    this.follow!.ask(this, server, this.clock.now, done);
  }

  serverDrained(): void {
    this.intake.resume();
  }

  serverLost(server: Server, reason: string): void {
    if (this.state === SessionState.Closed) return;
    this.server = null;
    TO_SERVER.drop();
    TO_CLIENT.flush(this.conn);
    if (this.#fatalRelayed || server.cutShort) this.#leave(reason, null, 0);
    else this.disconnect(reason, '08P01');
    this.registry.serverLostByClient(this, server);
  }

  #unlink(as: 'clean' | 'reset'): void {
    const server = this.server!;
    this.server = null;
    this.state = SessionState.Idle;
    this.queryAt = this.transactionAt = this.idleInTransactionAt = 0;
    this.statements.unnamedIsGone();
    this.intake.resume(); // it may have waited for this server to take more
    server.changesHands();
    this.#release(server, this.generation, as);
  }

  #release(server: Server, generation: number, as: 'clean' | 'reset'): void {
    const reset = as === 'reset' || this.home.resetAlways || server.discardOwed;
    server.resetOwed = reset;
    this.home.pool.release(server.entry, generation, server.cancels > 0 ? 'cancels' : reset ? 'reset' : 'clean');
  }

  /** The end, from whichever state: the server goes back, is rolled back, or is closed; the client is told or not, and cut off where no end is given. */
  #leave(reason: string, message: Uint8Array | null, endsAfterMs: number | null = null): void {
    if (this.state === SessionState.Closed) return;
    const was = this.state;
    this.state = SessionState.Closed;
    this.intake.clear();
    this.registry.sessionEnds(this, reason, message !== null);
    // In the middle of a message it would take the words for the rest of that.
    if (message !== null && this.server?.cutShort !== true) this.conn.write(message, 0, message.length);
    if (endsAfterMs === null) this.conn.destroy();
    else endAfter(this.conn, endsAfterMs);
    if (was === SessionState.Waiting) this.home.pool.cancel(this.waiter);
    const { server } = this;
    if (this.follow?.leavesBehind && server !== null) server.discardOwed = true;
    // A server that is being asked what is there goes back when it has answered.
    if (server !== null && this.follow?.asking) this.server = null;
    else if (server !== null) {
      const fit = was === SessionState.Linked && server.settled && server.closedBecause === null;
      if (fit) {
        const dirty = server.status !== Tx.Idle || this.home.mode === 'session';
        this.#unlink(dirty ? 'reset' : 'clean');
        this.state = SessionState.Closed;
      } else {
        this.server = null;
        partWith(server, reason, was === SessionState.Linked && reason === TERMINATED, {
          release: () => this.#release(server, this.generation, 'reset'),
          stop: (unready) => this.registry.stopServer(server, unready),
          discard: () => this.home.pool.discard(server.entry, this.generation, 'dirty'),
        });
      }
    }
    this.statements.clear(this.registry.statements);
  }
}
