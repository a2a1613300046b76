/**
 * A server connection after its login: scans what PostgreSQL sends, keeps the books (transaction status, replies owed,
 * parameters) and passes the rest to whoever holds it: an interface. Login is in login.ts, reset and check are the pool's.
 */
import type { Entry } from '@sluice/core';
import {
  Action,
  BACK,
  Back,
  type ErrorFields,
  exchangeAnswer,
  HEADER_BYTES,
  lengthAt,
  type Parameters,
  ProtocolError,
  parseErrorFields,
  parseParameterStatus,
  Reply,
  ReplyQueue,
  terminate,
} from '@sluice/wire';
import type { Conn, ConnHandler } from '../net/conn.ts';
import { badHeader, Carry, collects, HeldBack } from './carry.ts';
import { type InternalDone, type ServerHolder, type ServerIdentity, type ServerWatcher, Tx } from './holder.ts';
import { Reading } from './reading.ts';
import { ServerStatements } from './server-statements.ts';
import { AS_AT_LOGIN, SessionSettings } from './session-settings.ts';
import { knowsOtherStatements, rejectedPlan, type StatementStore, StatementUse } from './statements.ts';

export class Server implements ConnHandler {
  #ends = false; // PostgreSQL has said that it closes the connection
  #before = 0; // The type of the last message, notices and the like apart
  /** It must be reset when the last cancel request has landed. */
  resetOwed = false;
  /** Its last client left something in the session that only DISCARD ALL removes. */
  discardOwed = false;
  /** What it has beyond its login and the reported parameters. */
  settings: SessionSettings = AS_AT_LOGIN;
  readonly conn: Conn;
  readonly entry: Entry<Server>;
  readonly watcher: ServerWatcher;
  readonly identity: ServerIdentity;
  readonly queue = new ReplyQueue();
  readonly statements: ServerStatements;
  /** Set by the holder for the time of the link; only it and the pool's port write it. */
  holder: ServerHolder | null = null;
  /** False while somebody asks the server in its client's place. */
  holderIsClient = true;
  /** As of the last ReadyForQuery. */
  status: number = Tx.Idle;
  parameters: Parameters;
  /** What it reported at its login. */
  readonly atLogin: Parameters;
  /** Streaming replication is under way: bytes pass both ways until the end. */
  copyBoth = false;
  /** Cancel requests on their way to this server. */
  cancels = 0;
  /** Body bytes of a message of the client's that were announced to this server and not yet written. */
  owedBody = 0;
  readonly connectedAt: number;
  requestedAt = 0;
  closedBecause: string | null = null;
  gone = false; // The connection is closed on both sides
  readonly reading: Reading;
  #internalDone: InternalDone | null = null;
  #internalError: ErrorFields | null = null;
  #bodyLeft = 0;
  #bodyPass = false;
  readonly #carry = new Carry();
  /** The parameters of a statement whose columns are still to come: where it is stale they would come twice. */
  readonly #heldBack = new HeldBack();

  constructor(
    conn: Conn,
    entry: Entry<Server>,
    identity: ServerIdentity,
    parameters: Parameters,
    watcher: ServerWatcher,
    store: StatementStore,
    now: number,
  ) {
    this.conn = conn;
    this.reading = new Reading(conn);
    this.statements = new ServerStatements(store);
    this.entry = entry;
    this.identity = identity;
    this.parameters = this.atLogin = parameters;
    this.watcher = watcher;
    this.connectedAt = now;
    conn.handler = this;
  }

  /** Nothing owed, nothing half sent or half received, no copy, and PostgreSQL is not about to close it: only then may it change hands. */
  get settled(): boolean {
    const { queue, owedBody, copyBoth } = this;
    return queue.atRest && owedBody === 0 && this.#bodyLeft === 0 && this.#carry.size === 0 && !copyBoth && !this.#ends;
  }

  /** Another holder, or none: what this one has sent is done with. */
  changesHands(): void {
    this.holder = null;
    this.queue.changesHands();
    this.reading.resume();
  }

  /** The message that the client got last is not complete. */
  get cutShort(): boolean {
    return this.#bodyLeft > 0 && this.#bodyPass && this.holderIsClient;
  }

  /** Runs a statement of our own; the holder, if any, sees nothing of it. One at a time. */
  runInternal(message: Uint8Array, done: InternalDone): void {
    if (this.#internalDone !== null) throw new Error('bug: two internal statements on one server');
    this.#internalDone = done;
    this.#internalError = null;
    this.queue.sent(Reply.Query, Action.Skip);
    this.conn.write(message, 0, message.length);
  }

  /** Closes the connection: with Terminate where the server listens, at once where it owes replies. Holder and watcher hear of it then. */
  close(reason: string): void {
    if (this.closedBecause !== null) return;
    this.closedBecause = reason;
    if (this.settled) {
      const message = terminate();
      this.conn.write(message, 0, message.length);
      this.conn.end();
    } else this.conn.destroy();
  }

  /** Nobody wants its work any more: it learns so when it reads next. Closed when it has closed, or after `lingerMs`; it counts until then. */
  abandon(reason: string, lingerMs: number): void {
    if (this.closedBecause !== null) return;
    this.closedBecause = reason;
    this.conn.end(lingerMs);
  }

  onData(buffer: Buffer, start: number, end: number): void {
    try {
      let at = start;
      // Of an exchange whose first message was not sent: the answer to that comes with the others.
      if (this.queue.headAction === Action.Answer) this.answer();
      if (this.#carry.size > 0) at = this.#finishCarried(buffer, at, end);
      if (at < end && this.closedBecause === null && !this.#takeWhole(buffer, at, end)) this.#scan(buffer, at, end);
      this.holder?.serverScanned(this);
      if (this.queue.astray) this.close('protocol violation: Sync in the middle of a COPY that failed');
    } catch (error) {
      // A server that sends nonsense, or a bug of ours: this connection is not to be trusted, the others are unharmed.
      const isOurs = !(error instanceof ProtocolError);
      if (isOurs) this.watcher.failedItself(this, error as Error);
      this.close(isOurs ? 'internal error of the pooler, see its log' : `protocol violation: ${error.message}`);
    }
  }

  onDrain(): void {
    this.holder?.serverDrained();
  }

  onClose(error: Error | null): void {
    if (this.gone) return;
    this.gone = true;
    if (error !== null && this.closedBecause === null) this.watcher.connectionBroke(this, error);
    const reason = (this.closedBecause ??= 'server conn crashed?');
    this.queue.clear();
    this.statements.clear();
    const done = this.#internalDone;
    this.#internalDone = null;
    const { holder } = this;
    this.holder = null;
    holder?.serverLost(this, reason);
    this.watcher.serverClosed(this, reason);
    done?.(this.#internalError);
  }

  /** Completes a message that the last chunk cut. */
  #finishCarried(buffer: Buffer, from: number, end: number): number {
    const carry = this.#carry;
    let at = from;
    while (carry.size > 0) {
      at = carry.fill(buffer, at, end);
      if (!carry.isComplete) {
        if (at === end) return at;
        continue;
      }
      const { size } = carry;
      this.#scan(carry.take(), 0, size);
      this.holder?.keepRelayed();
    }
    return at;
  }

  /** The commonest answer at once: to all that was owed, passed on, and after it no transaction is open. */
  #takeWhole(buffer: Buffer, at: number, end: number): boolean {
    const { holder } = this;
    if (holder === null || this.#bodyLeft > 0 || buffer[end - 1] !== Tx.Idle) return false;
    if (end - at > this.watcher.maxPacketSize) return false;
    if (!this.queue.exchangeAnswered(exchangeAnswer(buffer, at, end))) return false;
    holder.relay(buffer, at, end);
    this.copyBoth = false;
    this.status = Tx.Idle;
    this.#before = 0;
    this.statements.transactionEnds();
    holder.exchangeEnded(Tx.Idle);
    return true;
  }

  /** Walks the headers of a chunk. `from` is where the bytes begin that are passed on next. */
  #scan(buffer: Buffer, at: number, end: number): void {
    let from = at;
    if (this.#bodyLeft > 0) {
      const step = Math.min(this.#bodyLeft, end - at);
      at += step;
      this.#bodyLeft -= step;
      if (!this.#bodyPass) from = at;
    }
    while (at < end) {
      if (end - at < HEADER_BYTES) {
        this.#pass(buffer, from, at);
        this.#carry.begin(buffer, at, end);
        return;
      }
      const type = buffer[at]!;
      const what = BACK[type]!;
      const size = lengthAt(buffer, at) + 1;
      const bad = badHeader(what, size, this.watcher.maxPacketSize);
      if (bad !== null) {
        this.#pass(buffer, from, at);
        this.close(bad);
        return;
      }
      let passing = this.holder !== null && this.queue.headAction === Action.Forward;
      if (what !== Back.Pass) {
        if (size > end - at && collects(buffer, at)) {
          this.#pass(buffer, from, at);
          this.#carry.begin(buffer, at, end);
          return;
        }
        if (passing || from < at) {
          this.#pass(buffer, from, at);
          from = at;
        }
        const whole = size <= end - at;
        passing = this.#understand(what, buffer, at, whole ? size : 0, passing);
        if (this.closedBecause !== null) return;
      }
      const step = Math.min(size, end - at);
      this.#bodyLeft = size - step;
      this.#bodyPass = passing;
      if (!passing) {
        this.#pass(buffer, from, at);
        from = at + step;
      }
      at += step;
      if (what !== Back.Notice && what !== Back.ParameterStatus && what !== Back.Notification) this.#before = type;
      if (what !== Back.Pass && this.queue.headAction === Action.Answer) {
        this.#pass(buffer, from, at);
        from = at;
        this.answer();
      }
    }
    this.#pass(buffer, from, at);
  }

  #pass(buffer: Uint8Array, from: number, to: number): void {
    if (from < to && this.holder !== null) this.holder.relay(buffer, from, to);
  }

  /** Answers for which the turn has come. */
  answer(): void {
    while (this.queue.headAction === Action.Answer) {
      this.holder?.answerDue(this.queue.head);
      this.queue.pop();
    }
  }

  /** Keeps the books for one message; returns whether it is passed on. `size` 0: its body is not all here. */
  #understand(what: number, buffer: Buffer, at: number, size: number, passing: boolean): boolean {
    const { queue } = this;
    switch (what) {
      case Back.ParseComplete:
        return this.#completes(Reply.Parse, passing);
      case Back.BindComplete:
        return this.#completes(Reply.Bind, passing);
      case Back.CloseComplete:
        return this.#completes(Reply.Close, passing);
      case Back.ParameterTypes:
        if (!passing || size === 0 || !(queue.headEffect instanceof StatementUse)) return passing;
        return this.#heldBack.keep(buffer, at, size);
      case Back.Described:
        this.#heldBack.giveTo(this.holder);
        if (queue.head === Reply.Describe) queue.pop();
        return passing;
      case Back.Executed:
        if (buffer[at] !== 0x43 || size === 0) queue.completed();
        else this.#completed(buffer, at, size, queue.completed());
        return passing;
      case Back.Ready:
        return this.#ready(buffer[at + HEADER_BYTES]!, passing);
      case Back.Error:
        return this.#failed(size === 0 ? null : buffer.subarray(at + HEADER_BYTES, at + size));
      case Back.Notice:
        if (this.holder === null && size > 0)
          this.watcher.unaskedMessage(this, 'NOTICE', parseErrorFields(buffer, at + HEADER_BYTES, at + size));
        return passing;
      case Back.Notification:
        return this.holder !== null;
      case Back.ParameterStatus:
        return this.#parameter(buffer, at + HEADER_BYTES, at + size, passing);
      case Back.CopyIn:
        queue.copyInStarted();
        return passing;
      case Back.CopyBoth:
        this.copyBoth = true;
        return passing;
      default:
        return passing;
    }
  }

  /** A command: has it thrown the prepared statements away? */
  #completed(buffer: Buffer, at: number, size: number, isQuery: boolean): void {
    const what = this.statements.completed(buffer, at + HEADER_BYTES, at + size - 1, this.#before, isQuery);
    if (what === null) return;
    this.statements.clear();
    this.settings = what === 'everything' ? AS_AT_LOGIN : new SessionSettings(this.settings.values);
    this.holder?.discarded(what);
    this.queue.changeAgain();
  }

  #completes(kind: Reply, passing: boolean): boolean {
    if (this.queue.head === kind) this.queue.pop();
    else this.close('protocol violation: a reply that nobody asked for');
    return passing;
  }

  #ready(status: number, passing: boolean): boolean {
    const { queue } = this;
    const { head } = queue;
    if (head !== Reply.Query && head !== Reply.Sync && head !== Reply.Function) {
      this.close('protocol violation: ReadyForQuery that nobody asked for');
      return false;
    }
    this.copyBoth = false;
    if (status === Tx.Idle) this.statements.transactionEnds();
    this.status = status;
    const internal = queue.headAction === Action.Skip ? this.#internalDone : null;
    queue.pop();
    if (internal !== null) {
      this.#internalDone = null;
      internal(this.#internalError);
    } else if (passing) this.holder!.exchangeEnded(status);
    return passing;
  }

  /** `body`: null where it is too long to be looked at. */
  #failed(body: Uint8Array | null): boolean {
    const fields = body === null ? null : parseErrorFields(body, 0, body.length);
    if (fields?.severity === 'FATAL' || fields?.severity === 'PANIC') this.#ends = true;
    if (this.holder === null || (this.#internalDone !== null && this.queue.headAction === Action.Skip)) {
      this.#internalError = fields;
      if (this.#internalDone === null && fields !== null) this.watcher.unaskedMessage(this, 'ERROR', fields);
      this.queue.failed();
      // A fatal error belongs to the client all the same: it is why its connection ends.
      if (this.#ends) this.holder?.errorRelayed(fields, null, body);
      return this.#ends && this.holder !== null;
    }
    if (knowsOtherStatements(fields)) this.discardOwed = true;
    const about = this.queue.headEffect;
    const stale = rejectedPlan(fields, about);
    if (stale !== null) this.statements.invalidate(stale);
    const again = stale !== null && this.holder.planRejected(this);
    this.queue.failed();
    if (!again) this.#heldBack.giveTo(this.holder);
    this.#heldBack.drop();
    if (!again) return this.holder.errorRelayed(fields, about, body);
    this.queue.skipHead();
    return false;
  }

  #parameter(buffer: Buffer, start: number, end: number, passing: boolean): boolean {
    const { name, value } = parseParameterStatus(buffer, start, end);
    const index = this.parameters.names.indexOf(name);
    if (index < 0) return passing;
    this.parameters = this.parameters.with(index, value);
    this.queue.settingChanged(name);
    if (passing) this.holder!.parameterChanged(index, value);
    return passing;
  }
}
