/**
 * Named prepared statements in transaction and statement mode: a client's name stands for a text, and the text has one
 * name on every server. Parse is answered by us where the server knows the text already, and injected before Bind or
 * Describe where it does not. Every change of a book is undone when the server skips the message (see Effect).
 * Behaviour after PgBouncer's max_prepared_statements and PostgreSQL's "Extended Query" message flow.
 */
import { Action, Front, HEADER_BYTES, lengthAt, parse as parseText, Reply } from '@sluice/wire';
import { Tx } from '../server/holder.ts';
import { readingOf } from '../server/readings.ts';
import type { Server } from '../server/server.ts';
import { type Statement, textOf } from '../server/statements.ts';
import { STATEMENTS, sparesSession } from '../sql/suspicion.ts';
import { LONG_NAME, NAME_BYTES, TOO_MANY_NAMES, tooMuchText } from './bounds.ts';
import { Keeping } from './home.ts';
import { concernOthers } from './numbers.ts';
import type { RefusedText, Session } from './side.ts';
import {
  type AppliedEffect,
  ClosedEffect,
  EvictedEffect,
  NamedEffect,
  PairEffect,
  ParsedEffect,
  RepeatedEffect,
  ReplacedEffect,
} from './statement-effects.ts';

/** A longer name is cut where PostgreSQL is to say that it does not know it: it ends connections for such messages. */
const UNKNOWN_BYTES = 1_000;

/** A longer unnamed statement is not kept for a later exchange. */
const UNNAMED_BYTES = 65_536;
/** Describe of the unnamed statement: header, 'S', NUL. */
const DESCRIBE_UNNAMED_BYTES = HEADER_BYTES + 2;

/** What became of a message. One object, reused: read it before the next call. */
export interface Interception {
  /** 'pass': not ours. 'more': keep it until `needed` bytes are here. 'done': send `pieces`, then the rest from `restAt`. */
  kind: 'pass' | 'more' | 'done';
  needed: number;
  pieces: Uint8Array[];
  /** Offset in the message from which its bytes follow unchanged, also those to come; -1: none do. */
  restAt: number;
}

const RESULT: Interception = { kind: 'pass', needed: 0, pieces: [], restAt: -1 };

function result(kind: Interception['kind'], pieces: Uint8Array[] = [], restAt = -1, needed = 0): Interception {
  RESULT.kind = kind;
  RESULT.pieces = pieces;
  RESULT.restAt = restAt;
  RESULT.needed = needed;
  return RESULT;
}

/**
 * Does the Parse, Bind, Describe or Close at `at` perhaps name a statement that is ours to look after? A glance at its first bytes
 * tells most apart.
 */
export function mayNameOne({ statements }: Session, what: number, buffer: Buffer, at: number, end: number): boolean {
  const first = at + HEADER_BYTES;
  if (end <= first + 1) return true;
  if (what === Front.Parse) return buffer[first] !== 0 || statements.keepsUnnamed || !isBoundAtOnce(buffer, at, end);
  if (what === Front.Bind) {
    const portalEnd = buffer[first] === 0 ? first : buffer.indexOf(0, first);
    return portalEnd < 0 || portalEnd + 1 >= end || buffer[portalEnd + 1] !== 0 || !statements.unnamed.inGroup;
  }
  return buffer[first] === 0x53 && !(buffer[first + 1] === 0 && statements.unnamed.inGroup);
}

/**
 * Is it open what the message at `at` is about, until answers have come that are under way? Those to what changes the books; to
 * the unnamed statement's Parses, for who runs it in a later exchange.
 */
export function mustWait(session: Session, what: number, buffer: Buffer, at: number, end: number): boolean {
  const { queue } = session.server!;
  if (queue.copyIn || !(queue.unsure || session.statements.unnamed.open)) return false;
  if (!mayNameOne(session, what, buffer, at, end)) return false;
  const isKept = session.statements.get('') !== undefined;
  return queue.unsure || (what !== Front.Parse && !isKept && isUnnamed(what, buffer, at, end));
}

function isUnnamed(what: number, buffer: Buffer, at: number, end: number): boolean {
  const first = at + HEADER_BYTES;
  const from = what === Front.Bind ? buffer.indexOf(0, first) + 1 : first + 1;
  return from >= end || from === 0 || buffer[from] === 0;
}

/**
 * Is the unnamed statement of the Parse at `at` bound in the same piece, as nearly everybody does it? Such a one is not kept: who
 * binds it again when the server has changed is told by PostgreSQL that it does not exist.
 */
export function isBoundAtOnce(buffer: Buffer, at: number, end: number): boolean {
  let next = at + lengthAt(buffer, at) + 1;
  if (next + DESCRIBE_UNNAMED_BYTES < end && buffer[next] === 0x44 && buffer[next + HEADER_BYTES + 1] === 0)
    next += DESCRIBE_UNNAMED_BYTES;
  const portal = next + HEADER_BYTES;
  if (portal >= end || buffer[next] !== 0x42) return false;
  const portalEnd = buffer[portal] === 0 ? portal : buffer.indexOf(0, portal);
  return portalEnd >= 0 && portalEnd + 1 < end && buffer[portalEnd + 1] === 0;
}

/** Looks at the message at `at`, of which the bytes up to `end` (its own end at most) are here; what is behind it goes up to `until`. */
export function intercept(
  session: Session,
  server: Server,
  buffer: Buffer,
  at: number,
  end: number,
  until: number,
): Interception {
  const what = buffer[at]!;
  const size = lengthAt(buffer, at) + 1;
  const whole = end - at >= size;
  if (what === 0x50) {
    if (end - at === HEADER_BYTES && !whole) return result('more', [], -1, HEADER_BYTES + 1);
    // The name is empty.
    if (buffer[at + HEADER_BYTES] === 0 && size > UNNAMED_BYTES) return result('pass');
    if (whole) return parse(session, server, buffer, at, size);
    const { maxBytes } = session.registry.statements;
    // However it goes on: it is not collected to be refused in the end.
    const never = maxBytes > 0 && 2 * (size - NAME_BYTES) > maxBytes;
    return never ? noRoom(session, server, tooMuchText(maxBytes)) : result('more', [], -1, size);
  }
  if (what === 0x42) return bind(session, server, buffer, at, end, until);
  if (what === 0x44 || what === 0x43) {
    if (!whole) return result('more', [], -1, size);
    if (buffer[at + HEADER_BYTES] !== 0x53) return result('pass');
    return what === 0x44 ? describe(session, server, buffer, at, size) : close(session, server, buffer, at, size);
  }
  return result('pass');
}

/** A Parse goes to the server as it is. */
export function parseSent({ statements, home, registry }: Session, { queue }: Server): void {
  statements.dropUnnamed(registry.statements);
  if (statements.onRun?.isNew) statements.onRun.isNew = false;
  else statements.onRun = null;
  if (home.maxPrepared === 0) queue.sent(Reply.Parse);
  else if (queue.sent(Reply.Parse, Action.Forward, statements.unnamed)) statements.unnamed.isSent();
}

/** A Query or an Execute goes to the server. */
export function runSent({ statements }: Session, { queue }: Server, kind: Reply): void {
  const { onRun } = statements;
  statements.onRun = null;
  const effect = onRun?.kind === kind ? onRun.effect : null;
  if (queue.sent(kind, Action.Forward, effect)) effect?.apply();
}

function parse(session: Session, server: Server, buffer: Buffer, at: number, size: number): Interception {
  const nameEnd = buffer.indexOf(0, at + HEADER_BYTES);
  if (nameEnd < 0 || nameEnd >= at + size) return result('pass');
  const { statements: store } = session.registry;
  session.home.traffic.clientParses++;
  if (nameEnd - at - HEADER_BYTES > NAME_BYTES) return noRoom(session, server, LONG_NAME);
  const name = buffer.toString('latin1', at + HEADER_BYTES, nameEnd);
  // The unnamed one can do without being kept.
  if (!session.statements.hasRoomFor(name))
    return name === '' ? result('pass') : noRoom(session, server, TOO_MANY_NAMES);
  const tail = buffer.subarray(nameEnd + 1, at + size);
  // Behind what changes the schema, and is not answered, nobody knows by what it is read.
  const statement = store.take(tail, server.queue.altering ? null : readingBy(session, tail));
  if (statement === null && name === '') return result('pass');
  if (statement === null) return noRoom(session, server, tooMuchText(store.maxBytes));
  lookAt(session, statement);
  const pieces: Uint8Array[] = [];
  if (name === '') session.statements.unnamedIsGone();
  const before = session.statements.get(name);
  if (name !== '' && before !== undefined) {
    session.registry.warn(session, `prepared statement '${name}' was already prepared`);
    // PostgreSQL refuses to prepare a name twice: a second Parse of the server's name brings that very error.
    ensure(session, server, statement, pieces);
    const repeated = new RepeatedEffect(session, server, name, statement);
    if (!server.queue.sent(Reply.Parse, Action.Forward, repeated)) store.drop(statement);
    pieces.push(parseMessage(statement));
    return result('done', pieces);
  }
  const effect =
    before === undefined
      ? new NamedEffect(session, name, statement)
      : new ReplacedEffect(session, name, statement, before);
  if (server.statements.has(statement) && server.status !== Tx.Failed) {
    server.statements.touch(statement);
    if (server.queue.sent(Reply.Parse, Action.Answer, effect)) effect.apply();
    else store.drop(statement);
    return result('done');
  }
  // In a transaction that has failed PostgreSQL is to refuse it, as it does others.
  if (server.statements.has(statement)) evict(session, server, statement, pieces);
  makeRoom(session, server, statement, pieces);
  const both = new PairEffect(effect, new ParsedEffect(server, statement));
  if (server.queue.sent(Reply.Parse, Action.Forward, both)) {
    both.apply();
    session.home.traffic.serverParses++;
  } else store.drop(statement);
  pieces.push(parseMessage(statement));
  return result('done', pieces);
}

function bind(session: Session, server: Server, buffer: Buffer, at: number, end: number, until: number): Interception {
  const size = lengthAt(buffer, at) + 1;
  const limit = Math.min(end, at + size);
  const portalEnd = buffer.indexOf(0, at + HEADER_BYTES);
  const nameEnd = portalEnd < 0 || portalEnd >= limit ? -1 : buffer.indexOf(0, portalEnd + 1);
  if (nameEnd < 0 || nameEnd >= limit) {
    const have = end - at;
    if (have >= size) return result('pass');
    if (have > 2 * NAME_BYTES) {
      // Unread it could name anything.
      session.disconnect(`a Bind whose names are longer than ${2 * NAME_BYTES} bytes`, '08P01');
      return result('done');
    }
    return result('more', [], -1, Math.min(size, Math.max(64, have * 2)));
  }
  const name = buffer.toString('latin1', portalEnd + 1, nameEnd);
  const statement = named(session, server, name);
  if (statement === undefined && name === '') return unnamed(session, server, Reply.Bind);
  session.home.traffic.binds++;
  session.statements.onRun = null;
  if (statement === undefined) return unknown(server, Reply.Bind, buffer, at, portalEnd + 1, nameEnd, size);
  if (statement.suspicion) {
    if (!sparesSession(statement.suspicion)) session.suspect(statement.suspicion, statement.key);
    concernOthers(session, server, statement.suspicion, buffer, at, until);
  } else if (statement.prepares && session.home.keeping === Keeping.Statements)
    session.suspect(STATEMENTS, statement.key);
  if (statement.forgets || statement.alters) server.queue.changesBooks(statement.alters);
  const pieces: Uint8Array[] = [];
  ensure(session, server, statement, pieces);
  server.queue.sent(Reply.Bind, Action.Forward, statement.use);
  pieces.push(renamed(buffer, at, portalEnd + 1, nameEnd, size, statement.serverName));
  return result('done', pieces, nameEnd - at);
}

function describe(session: Session, server: Server, buffer: Buffer, at: number, size: number): Interception {
  const nameAt = at + HEADER_BYTES + 1;
  const name = buffer.toString('latin1', nameAt, at + size - 1);
  const statement = named(session, server, name);
  if (statement === undefined && name === '') return unnamed(session, server, Reply.Describe);
  if (statement === undefined) return unknown(server, Reply.Describe, buffer, at, nameAt, at + size - 1, size);
  const pieces: Uint8Array[] = [];
  ensure(session, server, statement, pieces);
  server.queue.sent(Reply.Describe, Action.Forward, statement.use);
  pieces.push(renamed(buffer, at, nameAt, at + size - 1, size, statement.serverName));
  return result('done', pieces, size - 1);
}

/** The client's name goes; the server keeps the statement for others. */
function close(session: Session, server: Server, buffer: Buffer, at: number, size: number): Interception {
  const name = buffer.toString('latin1', at + HEADER_BYTES + 1, at + size - 1);
  if (name === '') session.statements.autoIsGone();
  const statement = session.statements.get(name);
  if (statement === undefined && name === '') return result('pass');
  const effect = statement === undefined ? null : new ClosedEffect(session, name, statement);
  if (server.queue.sent(Reply.Close, Action.Answer, effect)) effect?.apply();
  return result('done');
}

/** The client's unnamed statement is on this server or nowhere: whosever is there is removed, and PostgreSQL says so. */
function unnamed({ statements }: Session, { queue }: Server, kind: Reply): Interception {
  if (statements.unnamed.there) return result('pass');
  queue.sent(Reply.Close, Action.Skip);
  queue.sent(kind);
  return result('done', [closeMessage('')], 0);
}

/** A name that the client never prepared: it goes to the server, whose error is the right one. */
function unknown(
  server: Server,
  kind: Reply,
  buffer: Buffer,
  at: number,
  nameAt: number,
  nameEnd: number,
  size: number,
): Interception {
  const name = buffer.toString('latin1', nameAt, nameEnd);
  if (!name.startsWith('PGBOUNCER_') && name.length <= UNKNOWN_BYTES) return result('pass');
  server.queue.sent(kind);
  const other = `${name.slice(0, UNKNOWN_BYTES)} `;
  return result('done', [renamed(buffer, at, nameAt, nameEnd, size, other)], nameEnd - at);
}

/** Finds out what it may leave behind in the session, where that matters and nobody has looked. */
export function lookAt({ home, registry }: Session, statement: Statement): void {
  if (home.keeping < Keeping.Follow || statement.suspicion !== undefined) return;
  statement.suspicion = registry.classifier.suspicionOf(statement.key.slice(0, statement.key.indexOf('\0')));
}

/** What this client's text is read by; null: nobody can tell. */
export function readingBy({ follow, parameters, settings }: Session, tail: Uint8Array): string | null {
  return follow?.readsOtherwise(parameters) ? null : readingOf(textOf(tail), parameters, settings);
}

/**
 * The statement that a client has by this name. One that must be prepared on this server is prepared as the client's settings are
 * now: it is another statement then than what others have read by others. (But not while the name may yet be taken back.)
 */
function named(session: Session, server: Server, name: string): Statement | undefined {
  const statement = session.statements.get(name);
  if (statement === undefined || server.statements.has(statement) || server.queue.changing) return statement;
  if (name === '' && session.statements.auto?.isCurrent) return statement;
  const now = readingBy(session, statement.tail);
  // One that nobody else has is the client's own wherever it is prepared, unless its names mean something else by now.
  if (now === statement.reading && (now !== null || !session.follow?.readsOtherwise(session.parameters)))
    return statement;
  const { statements: store } = session.registry;
  const other = store.take(statement.tail, now);
  if (other === null) return statement;
  other.suspicion = statement.suspicion;
  session.statements.set(name, other);
  store.drop(statement);
  return other;
}

/**
 * Makes sure that the server knows the statement by the time that it reads what follows. `parsed`: the client has sent the Parse, and is
 * to have its answer.
 */
export function ensure(
  session: Session,
  server: Server,
  statement: Statement,
  pieces: Uint8Array[],
  parsed: AppliedEffect | null = null,
): void {
  if (server.statements.has(statement)) {
    server.statements.touch(statement);
    return;
  }
  makeRoom(session, server, statement, pieces);
  const known = new ParsedEffect(server, statement);
  const effect = parsed === null ? known : new PairEffect(parsed, known);
  if (!server.queue.sent(Reply.Parse, parsed === null ? Action.Skip : Action.Forward, effect)) return;
  effect.apply();
  session.home.traffic.serverParses++;
  pieces.push(parseMessage(statement));
}

/** There is no room for another prepared statement: the client is told so, in place of PostgreSQL's answer. */
function noRoom(session: Session, server: Server, why: RefusedText): Interception {
  const instead = session.refuseNext(why);
  server.queue.sent(Reply.Parse);
  return result('done', [parseText('', instead)]);
}

/**
 * Closes statements on the server so that this one can be parsed: itself, where it is there and stale, and the least
 * recently used until one more is within the limits. Replies are owed in the order in which messages leave: so this comes
 * before the Parse.
 */
function makeRoom(session: Session, server: Server, statement: Statement, pieces: Uint8Array[]): void {
  const { statements } = server;
  const { maxBytes } = session.registry.statements;
  if (statements.isStale(statement) && !evict(session, server, statement, pieces)) return;
  const isFull = () =>
    statements.size >= session.home.maxPrepared || (maxBytes > 0 && statements.bytes + statement.bytes > maxBytes);
  while (statements.size > 0 && isFull()) if (!evict(session, server, statements.oldest!, pieces)) return;
}

/** False: the server ignores what is sent now. */
function evict(session: Session, server: Server, statement: Statement, pieces: Uint8Array[]): boolean {
  const effect = new EvictedEffect(server, session.registry.statements, statement);
  if (!server.queue.sent(Reply.Close, Action.Skip, effect)) return false;
  effect.apply();
  pieces.push(closeMessage(statement.serverName));
  return true;
}

/** The head of a message with a name replaced: everything up to the name's end. The rest follows unchanged. */
function renamed(buffer: Buffer, at: number, nameAt: number, nameEnd: number, size: number, name: string): Uint8Array {
  const before = nameAt - at;
  const head = Buffer.allocUnsafe(before + name.length);
  buffer.copy(head, 0, at, nameAt);
  head.write(name, before, 'latin1');
  head.writeInt32BE(size - 1 - (nameEnd - nameAt) + name.length, 1);
  return head;
}

function parseMessage(statement: Statement): Uint8Array {
  const { serverName, tail } = statement;
  const message = Buffer.allocUnsafe(HEADER_BYTES + serverName.length + 1 + tail.length);
  message[0] = 0x50;
  message.writeInt32BE(message.length - 1, 1);
  message.write(serverName, HEADER_BYTES, 'latin1');
  message[HEADER_BYTES + serverName.length] = 0;
  message.set(tail, HEADER_BYTES + serverName.length + 1);
  return message;
}

function closeMessage(name: string): Uint8Array {
  const message = Buffer.allocUnsafe(HEADER_BYTES + 2 + name.length);
  message[0] = 0x43;
  message.writeInt32BE(message.length - 1, 1);
  message[HEADER_BYTES] = 0x53;
  message.write(name, HEADER_BYTES + 1, 'latin1');
  message[message.length - 1] = 0;
  return message;
}
