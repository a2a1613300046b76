/**
 * Looks at the texts that a client in transaction mode sends: what may leave something behind in the session is noted, or
 * refused (session_state). A refused text is replaced by one that PostgreSQL refuses, so that the error comes in its place in a
 * pipeline and fails the transaction as any error does; the session puts the right words in.
 */
import { type ErrorFields, errorResponse, HEADER_BYTES, parse, query } from '@sluice/wire';
import { Tx } from '../server/holder.ts';
import type { Server } from '../server/server.ts';
import { READ_BYTES } from '../sql/classifier.ts';
import {
  ANYTHING,
  KEEPS_ALL,
  namesStatements,
  STATEMENTS,
  type StateRefusal,
  type Suspicion,
} from '../sql/suspicion.ts';
import { isReported } from './follow.ts';
import { Keeping } from './home.ts';
import type { RefusedText, Session } from './side.ts';

/** What pins a server that has such a statement, where max_prepared_statements is 0. */
const AT_ANY_TIME = 'a prepared statement that changes the session';

const QUERY = 0x51;
const FUNCTION_CALL = 0x46;

/** By their fixed numbers: lo_open, loread and the like, which leave nothing behind, and which drivers call this way. */
const LARGE_OBJECTS = [715, 952, 953, 954, 955, 956, 957, 958, 964, 1004, 3170, 3171, 3172];

/** What is sent in place of a refused text: PostgreSQL's own log shows it, hence the comment, and so does its error. */
const REFUSED_TEXT = '/* refused by the pooler */ not_sent_by_pooler_';
const REFUSED_MARK = /not_sent_by_pooler_(\d+)/;

/** Refused statements whose errors have not come yet. Those that an earlier error of their pipeline skipped get none. */
export class Refusals {
  readonly #refusals = new Map<number, RefusedText>();
  #last = 0;

  /** Returns the text to be sent instead. */
  add(refusal: RefusedText): string {
    this.#refusals.set(++this.#last, refusal);
    return REFUSED_TEXT + this.#last;
  }

  /** What the client is told instead of this error; null: the error itself. */
  insteadOf(fields: ErrorFields | null): Uint8Array | null {
    const number = Number(REFUSED_MARK.exec(fields?.message ?? '')?.[1] ?? 0);
    const refusal = this.#refusals.get(number);
    if (refusal === undefined) return null;
    this.#refusals.delete(number);
    return errorResponse({ severity: 'ERROR', ...refusal });
  }
}

/** 'pass': send it. 'more': keep it until it is whole. Otherwise: send this instead. */
export type Verdict = 'pass' | 'more' | Uint8Array;

/** Looks at the Query, Parse or FunctionCall at `at`, whose bytes up to `end` are here and which is `size` bytes long. */
export function watch(
  session: Session,
  server: Server,
  buffer: Buffer,
  at: number,
  end: number,
  size: number,
): Verdict {
  const isQuery = buffer[at] === QUERY;
  const { keeping } = session.home;
  if (buffer[at] === FUNCTION_CALL) {
    const known = end - at >= HEADER_BYTES + 4 && LARGE_OBJECTS.includes(buffer.readUInt32BE(at + HEADER_BYTES));
    if (!known) session.suspect(ANYTHING, '(a function call of the protocol)');
    return 'pass';
  }
  if (keeping === Keeping.Statements) return isQuery ? watchStatements(session, buffer, at, end, size) : 'pass';
  if (size > READ_BYTES) {
    session.suspect(ANYTHING, '(a text too long to be read)');
    return 'pass';
  }
  if (end - at < size) return 'more';
  const nameEnd = isQuery ? at + HEADER_BYTES - 1 : buffer.indexOf(0, at + HEADER_BYTES);
  const textEnd = buffer.indexOf(0, nameEnd + 1);
  if (nameEnd < 0 || textEnd < 0 || textEnd >= at + size) return 'pass';
  const text = buffer.toString('latin1', nameEnd + 1, textEnd);
  const suspicion = session.registry.classifier.suspicionOf(text);
  if (suspicion === null) return 'pass';
  if (suspicion.asksLastValue)
    return isQuery || nameEnd === at + HEADER_BYTES ? watchLastValue(session, server, isQuery) : 'pass';
  if (keeping === Keeping.Refuse) {
    const refusal = refusalOf(suspicion, server);
    if (refusal !== null) {
      const message = `${refusal.what} does not outlive its transaction here and is refused (session_state = refuse)`;
      return refused(session, isQuery, { code: '0A000', message, hint: refusal.instead });
    }
    if (suspicion.keeps !== KEEPS_ALL && !suspicion.executes) return 'pass';
  }
  // A named statement is noted when it is bound, or where nobody looks at that: it may be run at any time.
  if (isQuery || nameEnd === at + HEADER_BYTES) session.suspect(suspicion, text);
  else if (session.home.maxPrepared === 0) session.suspect({ ...suspicion, unknowable: AT_ANY_TIME }, text);
  return 'pass';
}

function refused(session: Session, isQuery: boolean, refusal: RefusedText): Uint8Array {
  const instead = session.refuseNext(refusal);
  return isQuery ? query(instead) : parse('', instead);
}

/**
 * currval() and lastval() at the beginning of a transaction: the value would be whatever this server has drawn last, for whomever.
 * PostgreSQL's code for a session that has drawn none.
 */
function watchLastValue(session: Session, server: Server, isQuery: boolean): Verdict {
  if (server.status !== Tx.Idle || !server.settled || session.pins.length > 0) return 'pass';
  return refused(session, isQuery, {
    code: '55000',
    message:
      'currval() and lastval() are not defined at the beginning of a transaction here: the server serves other clients too',
    hint: 'Ask in the transaction that called nextval(), or use INSERT ... RETURNING.',
  });
}

/** Does the Query at `at` perhaps begin with PREPARE, DEALLOCATE or DISCARD? A glance at the first letter tells most apart. */
export function mayNameStatement(buffer: Buffer, at: number, end: number): boolean {
  if (end <= at + HEADER_BYTES) return true;
  const first = buffer[at + HEADER_BYTES]! | 0x20;
  // p, d, or white space before them.
  return first === 0x70 || first === 0x64 || first < 0x2b;
}

/** Without session_state only PREPARE and DEALLOCATE are followed. */
function watchStatements(session: Session, buffer: Buffer, at: number, end: number, size: number): Verdict {
  if (end === at + HEADER_BYTES) return 'more';
  if (size > READ_BYTES) return 'pass';
  if (end - at < size) return 'more';
  const text = buffer.toString('latin1', at + HEADER_BYTES, at + size - 1);
  if (namesStatements(text)) session.suspect(STATEMENTS, text);
  return 'pass';
}

/** A setting that follows the client anyway is nothing to refuse. */
function refusalOf({ refusal, names, anySetting, keeps, unknowable }: Suspicion, server: Server): StateRefusal | null {
  const onlySettings = !anySetting && keeps === 0 && unknowable === null;
  return onlySettings && [...names].every((name) => isReported(server, name)) ? null : refusal;
}
