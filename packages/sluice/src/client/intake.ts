/**
 * What a client sends, as bytes: frames them, keeps what is cut or must wait (the backlog of a client that waits for a server), writes
 * down what the server will owe, and passes the rest on. When a server is to be had, and what becomes of the session, is session.ts's.
 */
import { FRONT, Front, HEADER_BYTES, lengthAt, Reply } from '@sluice/wire';
import { Fragment } from '../net/fragment.ts';
import { Tx } from '../server/holder.ts';
import type { Server } from '../server/server.ts';
import { sendPrepared } from './auto-prepared.ts';
import { Backlog, isRoom, leave } from './backlog.ts';
import { isWrong, PIPELINE_REPLIES, refuseMessage, refuseSimple } from './bounds.ts';
import { ChangeWatch, OWED, Sees } from './glance.ts';
import { Keeping } from './home.ts';
import { TO_CLIENT, TO_SERVER } from './outgoing.ts';
import { intercept, mayNameOne, mustWait, parseSent, runSent } from './prepared.ts';
import { Repetition } from './repeat.ts';
import { type Session, SessionState } from './side.ts';
import { mayLeaveBehind, watch } from './watch.ts';
import { renamedRun, wholeExchange, wholeSent } from './whole.ts';

/** Why a session ends that sent Terminate; PgBouncer's words. */
export const TERMINATED = 'client close request';

export class Intake {
  /** The client is not read: it waits with too much in hand, or the server cannot keep up. */
  paused = false;
  readonly #session: Session;
  readonly #backlog = new Backlog();
  readonly #repetition = new Repetition();
  /** An exchange is under way that may have to be sent once more: what comes behind it waits. */
  #alone = false;
  /** The backlog waits for what the server says to messages before it. */
  #held = false;
  readonly #changes = new ChangeWatch();
  /** Bytes that are nobody else's. */
  #owned: Buffer | null = null;
  #bodyLeft = 0;
  #bodyForward = false;
  readonly #fragment = new Fragment();

  constructor(session: Session) {
    this.#session = session;
  }

  get waiting(): boolean {
    return this.#backlog.bytes !== null;
  }

  get saidGoodbye(): boolean {
    return this.#backlog.endsInTerminate;
  }

  /** No part of a message is here. */
  get empty(): boolean {
    return !this.waiting && this.#isFresh();
  }

  #isFresh(): boolean {
    return this.#bodyLeft === 0 && this.#fragment.size === 0;
  }

  take(buffer: Buffer, start: number, end: number): void {
    if (this.waiting || this.#repetition.isDue || this.#alone) {
      this.#waitWith(buffer, start, end);
      this.#held ||= this.#alone;
      return;
    }
    if (this.#isFresh() && this.#takeWhole(buffer, start, end)) return;
    this.#record(buffer, start, end);
    let at = start;
    if (this.#fragment.size > 0) at = this.#finishFragment(buffer, at, end);
    if (at < end) this.#scan(buffer, at, end);
    this.#flush();
  }

  /** Keeps an exchange that runs a prepared statement, in case that it must be sent once more. */
  #record(buffer: Buffer, start: number, end: number): void {
    const { server, home } = this.#session;
    if (this.#repetition.isOf(buffer)) return;
    this.#repetition.forget();
    if (home.maxPrepared > 0 && this.#isFresh() && (server === null || (server.settled && server.status === Tx.Idle)))
      this.#repetition.record(buffer, start, end);
  }

  /** What a message may do to prepared statements, where there are any. */
  #sees(what: number, buffer: Buffer, at: number, end: number): Sees {
    const { home, server } = this.#session;
    return home.maxPrepared > 0 ? this.#changes.sees(what, buffer, at, end, server?.statements.alters) : Sees.Nothing;
  }

  /** The commonest exchanges at once. */
  #takeWhole(buffer: Buffer, at: number, end: number): boolean {
    const session = this.#session;
    const whole = wholeExchange(session, buffer, at, end);
    if (whole === null) return false;
    // Others may run, and use it, while this one gets a server.
    const { first, replies, statement, runAt } = whole;
    if (statement === null) this.#repetition.forget();
    else this.#record(buffer, at, end);
    if (session.state !== SessionState.Linked && !this.#mayProceed(first, buffer, at, end)) return true;
    const server = session.server!;
    if (this.#sees(first, buffer, at, end) !== Sees.Nothing) return false;
    if (runAt > at) {
      const before = sendPrepared(session, server, statement!);
      if (before === null) return false;
      this.#alone = true;
      for (const piece of before) TO_SERVER.add(server.conn, piece, 0, piece.length);
    } else if (!wholeSent(session, server, first, replies, statement)) return false;
    session.exchangeBegins(server);
    server.owedBody = 0;
    if (statement === null) this.#send(buffer, at, end);
    else {
      const { bytes, length } = renamedRun(buffer, runAt, end, statement);
      this.#send(bytes, 0, length);
    }
    this.#flush();
    return true;
  }

  /** May the last exchange, of which `owed` replies are owed, be sent once more when it has ended? Not for the second time. */
  repeatLater(owed: number): boolean {
    return (this.empty || (this.#alone && this.#isFresh())) && this.#repetition.plan(owed);
  }

  repeats(): boolean {
    if (!this.#repetition.isDue) return false;
    const exchange = this.#repetition.take();
    const { bytes, from, to } = this.#backlog;
    this.#backlog.release();
    this.take(exchange, 0, exchange.length);
    if (bytes !== null) this.#takeReleased(bytes, from, to);
    return true;
  }

  /** Answers have come: what waits for them goes on. */
  serverScanned({ conn, queue }: Server): void {
    if (!conn.full && queue.length < PIPELINE_REPLIES / 2) this.resume();
    if (queue.length === 0) this.#alone = false;
    // In a copy the server waits for the client.
    if (this.#held && !this.#alone && !this.#repetition.isDue && (!queue.unsure || queue.copyIn)) this.proceed();
  }

  #flush(): void {
    const { server } = this.#session;
    if (!TO_CLIENT.empty) TO_CLIENT.flush(this.#session.conn);
    if (server === null || this.#session.state === SessionState.Closed) {
      TO_SERVER.drop();
      return;
    }
    if (!TO_SERVER.flush(server.conn) || server.queue.length > PIPELINE_REPLIES) this.pause();
    // It was the rest of something that is not answered.
    if (this.empty && server.settled) this.#session.serverScanned(server);
  }

  pause(): void {
    if (this.paused) return;
    this.paused = true;
    this.#session.conn.pause();
  }

  resume(): void {
    if (!this.paused || this.#backlog.isFull) return;
    this.paused = false;
    this.#session.conn.resume();
  }

  /** What waited goes on. */
  #takeReleased(bytes: Buffer, from: number, to: number): void {
    this.#owned = isRoom(bytes) ? null : bytes;
    try {
      this.take(bytes, from, to);
    } finally {
      this.#owned = null;
    }
    leave(bytes);
  }

  /** The rest of a chunk waits. */
  #waitWith(buffer: Buffer, at: number, end: number): void {
    if (this.#owned === buffer && !this.waiting) this.#backlog.adopt(buffer, at, end);
    else this.#backlog.add(buffer, at, end);
    if (this.#backlog.isFull) this.pause();
  }

  #finishFragment(buffer: Buffer, at: number, end: number): number {
    const fragment = this.#fragment;
    while (fragment.size > 0 && !this.waiting) {
      at = fragment.fill(buffer, at, end);
      if (!fragment.isComplete) return at;
      const { size } = fragment;
      this.#scan(fragment.take(), 0, size);
      if (this.#session.server !== null) TO_SERVER.keep(this.#session.server.conn);
    }
    if (this.waiting && at < end) {
      this.#waitWith(buffer, at, end);
      return end;
    }
    return at;
  }

  /** Walks the headers of a chunk. `from` is where the bytes begin that go to the server next. */
  #scan(buffer: Buffer, at: number, end: number): void {
    let from = at;
    if (this.#bodyLeft > 0) {
      const step = Math.min(this.#bodyLeft, end - at);
      at += step;
      this.#bodyLeft -= step;
      if (!this.#bodyForward) from = at;
      else this.#session.server!.owedBody = this.#bodyLeft;
    }
    while (at < end) {
      const have = end - at;
      if (have < HEADER_BYTES) {
        this.#send(buffer, from, at);
        this.#fragment.keep(buffer, at, end, HEADER_BYTES);
        return;
      }
      const what = FRONT[buffer[at]!]!;
      const size = lengthAt(buffer, at) + 1;
      if (what === Front.Bad || isWrong(what, size, this.#session.registry.maxPacketSize)) {
        this.#send(buffer, from, at);
        refuseMessage(this.#session, buffer[at]!, size);
        return;
      }
      if (what === Front.Query && this.#session.registry.refusesSimple) {
        this.#send(buffer, from, at);
        refuseSimple(this.#session);
        return;
      }
      if (this.#session.state !== SessionState.Linked && !this.#mayProceed(what, buffer, at, end)) {
        if (this.#session.state !== SessionState.Idle) return;
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
        this.#session.drop(TERMINATED);
        return;
      }
      const seen = this.#sees(what, buffer, at, end);
      if (seen !== Sees.Nothing) this.#session.server!.queue.changesBooks(seen === Sees.Alters);
      if (this.#concerns(what, buffer, at, end)) {
        this.#send(buffer, from, at);
        from = at;
        if (what !== Front.Query && this.#mustWait(what, buffer, at, end)) return;
        const done = this.#examine(what, buffer, at, end, size);
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
      this.#session.server!.owedBody = this.#bodyLeft;
    }
    this.#send(buffer, from, at);
  }

  #send(buffer: Uint8Array, from: number, to: number): void {
    if (from < to && this.#session.server !== null) TO_SERVER.add(this.#session.server.conn, buffer, from, to);
  }

  /** Is the message one whose names or text are looked at? */
  #concerns(what: number, buffer: Buffer, at: number, end: number): boolean {
    const { keeping, maxPrepared } = this.#session.home;
    if (keeping !== Keeping.Nothing && mayLeaveBehind(keeping, what, buffer, at, end)) return true;
    if (what < Front.Parse || what > Front.Close || what === Front.Execute) return false;
    return maxPrepared > 0 && mayNameOne(this.#session, what, buffer, at, end);
  }

  /**
   * Returns how many bytes of the chunk were dealt with, 0 when the message must be kept until more of it is here, or -1
   * when it passes like any other.
   */
  #examine(what: number, buffer: Buffer, at: number, end: number, size: number): number {
    const { keeping, maxPrepared } = this.#session.home;
    if (keeping !== Keeping.Nothing && (what === Front.Query || what === Front.Parse || what === Front.Function)) {
      const done = this.#watch(buffer, at, end, size);
      if (done >= 0) return done;
    }
    if (maxPrepared === 0 || what === Front.Query || !mayNameOne(this.#session, what, buffer, at, end)) return -1;
    return this.#intercept(buffer, at, Math.min(end, at + size), end, size);
  }

  /** What may leave something behind; what is dealt with was replaced. */
  #watch(buffer: Buffer, at: number, end: number, size: number): number {
    const server = this.#session.server!;
    const verdict = watch(this.#session, server, buffer, at, end, size);
    if (verdict === 'pass') return -1;
    if (verdict === 'wait') {
      this.#hold(buffer, at, end);
      return 0;
    }
    if (typeof verdict === 'number') {
      // Whoever takes his time has a server meanwhile: the timeouts count.
      this.#session.exchangeBegins(server);
      this.#fragment.keep(buffer, at, end, verdict);
      return 0;
    }
    this.#note(FRONT[buffer[at]!]!);
    TO_SERVER.add(server.conn, verdict, 0, verdict.length);
    return size;
  }

  /** What it is about is open until answers have come; its Sync, and theirs, have been sent or are not waited for. */
  #mustWait(what: number, buffer: Buffer, at: number, end: number): boolean {
    if (this.#session.home.maxPrepared === 0 || !mustWait(this.#session, what, buffer, at, end)) return false;
    this.#hold(buffer, at, end);
    return true;
  }

  #hold(buffer: Buffer, at: number, end: number): void {
    this.#waitWith(buffer, at, end);
    this.#held = true;
  }

  /** Prepared statements. */
  #intercept(buffer: Buffer, at: number, end: number, until: number, size: number): number {
    const server = this.#session.server!;
    this.#session.exchangeBegins(server);
    const result = intercept(this.#session, server, buffer, at, end, until);
    if (result.kind === 'pass') return -1;
    if (result.kind === 'more') {
      this.#fragment.keep(buffer, at, end, result.needed);
      return 0;
    }
    const { pieces, restAt } = result;
    for (const piece of pieces) TO_SERVER.add(server.conn, piece, 0, piece.length);
    const step = end - at;
    this.#bodyLeft = size - step;
    this.#bodyForward = restAt >= 0;
    if (restAt >= 0) {
      TO_SERVER.add(server.conn, buffer, at + restAt, end);
      server.owedBody = this.#bodyLeft;
    }
    server.answer();
    return step;
  }

  /** Writes down what a message that goes to the server makes it owe. */
  #note(what: number): void {
    const server = this.#session.server!;
    this.#session.exchangeBegins(server);
    if (what === Front.CopyData) server.queue.dataSent();
    const owed = OWED[what]!;
    if (owed === Reply.Parse) parseSent(this.#session, server);
    else if (owed === Reply.Execute || owed === Reply.Query) runSent(this.#session, server, owed);
    else if (owed !== Reply.None) server.queue.sent(owed);
    if (owed >= Reply.Sync && owed !== Reply.CopyEnd) this.#session.statements.groupEnds();
  }

  /**
   * May the message at `at` be processed now? Asks the session for a server where one is needed; when none is free the
   * rest of the chunk becomes the backlog. In state Idle afterwards, the message is to be skipped.
   */
  #mayProceed(what: number, buffer: Buffer, at: number, end: number): boolean {
    if (what === Front.Terminate) return true;
    const stray = what === Front.Flush || what === Front.CopyData || what === Front.CopyEnd;
    if (stray && this.#session.state === SessionState.Idle) return false;
    if (this.#session.obtainServer()) return true;
    if (!this.#session.isOver) this.#waitWith(buffer, at, end);
    return false;
  }

  /** The client has its server: what waited goes on. */
  proceed(): void {
    const { bytes, from, to } = this.#backlog;
    this.#backlog.release();
    this.#held = false;
    const wasPaused = this.paused;
    this.paused = false;
    if (bytes !== null) this.#takeReleased(bytes, from, to);
    // It may have been paused again, for what is left or by the server.
    if (wasPaused && !this.paused) this.#session.conn.resume();
  }

  /** Takes the first exchange out of the backlog, if it is all there; the rest waits for `proceed`. */
  dropExchange(): boolean {
    return this.#backlog.dropExchange();
  }

  clear(): void {
    this.#backlog.clear();
    this.#repetition.forget();
    this.#fragment.clear();
  }
}
