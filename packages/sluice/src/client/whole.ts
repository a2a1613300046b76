/**
 * Exchanges that are whole in one piece, as drivers send nearly all of theirs: a Query; Parse, Bind, Execute and Sync without names; a
 * run of a prepared statement that the server has. They are taken in one step, and come to the same as message by message.
 */
import {
  DESCRIBED_EXCHANGE,
  Front,
  HEADER_BYTES,
  lengthAt,
  preparedRun,
  type Reply,
  SIMPLE_EXCHANGE,
  unnamedExchange,
} from '@sluice/wire';
import type { Server } from '../server/server.ts';
import type { Statement } from '../server/statements.ts';
import { autoPrepared } from './auto-prepared.ts';
import { Keeping } from './home.ts';
import type { Session } from './side.ts';
import { leavesNothing } from './watch.ts';

/** What such a chunk is. */
export interface Whole {
  /** What its first message is. */
  first: number;
  /** What is owed for it. */
  replies: readonly Reply[];
  /** What it runs, if that has a name, or is run by one of ours. */
  statement: Statement | null;
  /** Where its run begins: behind a Parse that is not sent. */
  runAt: number;
}

/** One object, reused: it is read before anybody else can run. */
const WHOLE: Whole = { first: Front.Query, replies: [], statement: null, runAt: 0 };

/** A longer run goes the ordinary way, on which most of it is not copied. */
const RUN_BYTES = 4_096;
/** With room for the server's name. */
const RENAMED = { bytes: Buffer.allocUnsafeSlow(RUN_BYTES + 64), length: 0 };
/** Where the statement's name begins in a Bind of the portal without one. */
const NAME_AT = HEADER_BYTES + 1;

/** What a chunk is, if it is such an exchange in which nothing has to be looked at. Good until the next call. */
export function wholeExchange(session: Session, buffer: Buffer, at: number, end: number): Whole | null {
  const { home, statements, registry } = session;
  if (end - at > registry.maxPacketSize) return null;
  const replies = unnamedExchange(buffer, at, end);
  if (replies === null) return home.maxPrepared > 0 && end - at <= RUN_BYTES ? runOf(session, buffer, at, end) : null;
  const isSimple = replies === SIMPLE_EXCHANGE;
  if (isSimple ? registry.refusesSimple : statements.keepsUnnamed) return null;
  const first = isSimple ? Front.Query : Front.Parse;
  if (replies === DESCRIBED_EXCHANGE && home.prepareThreshold > 0 && end - at <= RUN_BYTES) {
    const runAt = at + lengthAt(buffer, at) + 1;
    const statement = autoPrepared(session, buffer, at, runAt);
    if (statement !== null) return whole(first, replies, statement, runAt);
  }
  if (!leavesNothing(home.keeping, first, buffer, at, end)) return null;
  return whole(first, replies, null, at);
}

/** Writes down what it makes the server owe. False: not as things stand; it goes message by message. */
export function wholeSent(
  { home, statements }: Session,
  server: Server,
  first: number,
  replies: readonly Reply[],
  statement: Statement | null,
): boolean {
  if (statement !== null) {
    if (server.queue.changing || !server.statements.has(statement)) return false;
    if (!server.queue.exchangeSent(replies, statement.use)) return false;
    server.statements.touch(statement);
    home.traffic.binds++;
  } else if (first === Front.Parse && home.maxPrepared > 0) {
    if (!server.queue.exchangeSent(replies, statements.unnamed)) return false;
    statements.autoIsGone();
    statements.unnamed.isSent();
  } else if (!server.queue.exchangeSent(replies, null)) return false;
  statements.groupEnds();
  return true;
}

function whole(first: number, replies: readonly Reply[], statement: Statement | null, runAt: number): Whole {
  WHOLE.first = first;
  WHOLE.replies = replies;
  WHOLE.statement = statement;
  WHOLE.runAt = runAt;
  return WHOLE;
}

function runOf({ statements, home }: Session, buffer: Buffer, at: number, end: number): Whole | null {
  const replies = preparedRun(buffer, at, end);
  const name = replies === null ? null : statements.nameAt(buffer, at + NAME_AT, at + lengthAt(buffer, at) + 1);
  const statement = name === null ? undefined : statements.get(name);
  if (statement === undefined || statement.suspicion || statement.forgets) return null;
  if (statement.prepares && home.keeping === Keeping.Statements) return null;
  return whole(Front.Bind, replies!, statement, at);
}

/** A run, with the name that servers know its statement by, and how long it is then. One object, good until the next call. */
export function renamedRun(buffer: Buffer, at: number, end: number, { serverName }: Statement): typeof RENAMED {
  const { bytes } = RENAMED;
  let to = 0;
  for (let i = at; i < at + NAME_AT; i++) bytes[to++] = buffer[i]!;
  for (let i = 0; i < serverName.length; i++) bytes[to++] = serverName.charCodeAt(i);
  let from = at + NAME_AT;
  while (buffer[from] !== 0) from++;
  const added = serverName.length - (from - at - NAME_AT);
  while (from < end) bytes[to++] = buffer[from++]!;
  bytes.writeInt32BE(lengthAt(buffer, at) + added, 1);
  RENAMED.length = to;
  return RENAMED;
}
