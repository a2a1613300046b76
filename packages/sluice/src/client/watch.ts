/**
 * Looks at the texts that a client in transaction mode sends: what may leave something behind in the session is noted, or
 * refused (session_state). A refused text is replaced by one that PostgreSQL refuses, so that the error comes in its place in a
 * pipeline and fails the transaction as any error does; the session puts the right words in.
 */
import {
  Action,
  close,
  concat,
  type ErrorFields,
  errorResponse,
  Front,
  HEADER_BYTES,
  lengthAt,
  parse,
  query,
  Reply,
  sync,
} from '@sluice/wire';
import { Tx } from '../server/holder.ts';
import type { Server } from '../server/server.ts';
import { READ_BYTES } from '../sql/classifier.ts';
import {
  ANYTHING,
  KEEPS_ALL,
  looksSuspicious,
  namesStatements,
  STATEMENTS,
  type StateRefusal,
  type Suspicion,
  sparesSession,
} from '../sql/suspicion.ts';
import { isReported } from './follow.ts';
import { Keeping } from './home.ts';
import { concernOthers } from './numbers.ts';
import { isBoundAtOnce } from './prepared.ts';
import type { RefusedText, Session } from './side.ts';
import { ClosedEffect } from './statement-effects.ts';

/** What pins a server that has such a statement, where max_prepared_statements is 0. */
const AT_ANY_TIME = 'a prepared statement that changes the session';

const QUERY = 0x51;
const FUNCTION_CALL = 0x46;

/** By their fixed numbers: lo_open, loread and the like, which leave nothing behind, and which drivers call this way. */
const LARGE_OBJECTS = [715, 952, 953, 954, 955, 956, 957, 958, 964, 1004, 3170, 3171, 3172];

/** What is sent in place of a refused text: PostgreSQL's own log shows it, hence the comment, and so does its error. */
const REFUSED_TEXT = '/* refused by the pooler */ not_sent_by_pooler_';
const REFUSED_MARK = /not_sent_by_pooler_(\d+)/;

/** Most refusals kept: of the oldest beyond it the client hears in the words that were sent in their place. */
const REFUSALS = 4_096;

/** Refused statements whose errors have not come yet. Those that an earlier error of their pipeline skipped get none. */
export class Refusals {
  readonly #refusals = new Map<number, RefusedText>();
  #last = 0;

  /** Returns the text to be sent instead. */
  add(refusal: RefusedText): string {
    this.#refusals.set(++this.#last, refusal);
    this.#refusals.delete(this.#last - REFUSALS);
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

/** 'pass': send it. A number: keep it until so many bytes of it are here. 'wait': look again when answers have come. Otherwise: send this instead. */
export type Verdict = 'pass' | 'wait' | number | Uint8Array;

/** Looks at the Query, Parse or FunctionCall at `at`, which is `size` bytes long; what is here goes up to `end`, which may be beyond it. */
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
    const known =
      Math.min(size, end - at) >= HEADER_BYTES + 4 && LARGE_OBJECTS.includes(buffer.readUInt32BE(at + HEADER_BYTES));
    if (!known) session.suspect(ANYTHING, '(a function call of the protocol)');
    return 'pass';
  }
  if (keeping === Keeping.Statements) return watchStatements(session, server, buffer, at, end, size);
  if (size > READ_BYTES) {
    session.suspect(ANYTHING, '(a text too long to be read)');
    return 'pass';
  }
  if (end - at < size) return size;
  const text = textIn(buffer, at, size);
  if (text === null) return 'pass';
  const hasNoName = isQuery || isUnnamed(buffer, at, end);
  const suspicion = session.registry.classifier.suspicionOf(text);
  if (suspicion === null) return 'pass';
  concernOthers(session, server, suspicion, buffer, at, end);
  const instead = deallocated(session, server, buffer, at, end, text);
  if (instead !== null) return instead;
  if (suspicion.asksLastValue) return hasNoName ? watchLastValue(session, server, isQuery) : 'pass';
  if (sparesSession(suspicion)) return 'pass';
  if (keeping === Keeping.Refuse) {
    const refusal = refusalOf(suspicion, server);
    if (refusal !== null) {
      const message = `${refusal.what} does not outlive its transaction here and is refused (session_state = refuse)`;
      return refused(session, isQuery, { code: '0A000', message, hint: refusal.instead });
    }
    if (suspicion.keeps !== KEEPS_ALL && !suspicion.executes) return 'pass';
  }
  // A named statement is noted when it is bound, or where nobody looks at that: it may be run at any time.
  if (hasNoName) session.suspect(suspicion, text);
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

/** Is the Query, Parse or FunctionCall at `at` one to be looked at? */
export function mayLeaveBehind(keeping: Keeping, what: number, buffer: Buffer, at: number, end: number): boolean {
  if (keeping >= Keeping.Follow) return what === Front.Query || what === Front.Parse || what === Front.Function;
  if (what === Front.Query) return mayNameStatement(buffer, at + HEADER_BYTES, end);
  return what === Front.Parse && isUnnamed(buffer, at, end) && mayNameStatement(buffer, at + HEADER_BYTES + 1, end);
}

/** Does the Query, or the Parse without a name, at `at` leave nothing behind for certain? All of it is here. */
export function leavesNothing(keeping: Keeping, what: number, buffer: Buffer, at: number, end: number): boolean {
  if (keeping < Keeping.Follow) return keeping === Keeping.Nothing || !mayLeaveBehind(keeping, what, buffer, at, end);
  const size = lengthAt(buffer, at) + 1;
  const text = size > READ_BYTES ? null : textIn(buffer, at, size);
  return text !== null && !looksSuspicious(text);
}

/** The text of the whole Query or Parse at `at`; null: it has none that ends there, which is PostgreSQL's to say. */
function textIn(buffer: Buffer, at: number, size: number): string | null {
  const nameEnd = buffer[at] === QUERY ? at + HEADER_BYTES - 1 : buffer.indexOf(0, at + HEADER_BYTES);
  const textEnd = nameEnd < 0 ? -1 : buffer.indexOf(0, nameEnd + 1);
  return textEnd < 0 || textEnd >= at + size ? null : buffer.toString('latin1', nameEnd + 1, textEnd);
}

function isUnnamed(buffer: Buffer, at: number, end: number): boolean {
  return end > at + HEADER_BYTES && buffer[at + HEADER_BYTES] === 0;
}

/** Does the text at `from` perhaps begin with PREPARE, DEALLOCATE or DISCARD? A glance at the first letter tells most apart. */
function mayNameStatement(buffer: Buffer, from: number, end: number): boolean {
  if (end <= from) return true;
  const first = buffer[from]! | 0x20;
  // p, d, or white space before them.
  return first === 0x70 || first === 0x64 || first < 0x2b;
}

/** Without session_state only PREPARE and DEALLOCATE are followed. */
function watchStatements(
  session: Session,
  server: Server,
  buffer: Buffer,
  at: number,
  end: number,
  size: number,
): Verdict {
  const isQuery = buffer[at] === QUERY;
  const from = at + HEADER_BYTES + (isQuery ? 0 : 1);
  // Without a text, which is a mistake: PostgreSQL's to say.
  if (at + size <= from) return 'pass';
  if (end <= from) return from - at + 1;
  if (size > READ_BYTES || !(isQuery || isUnnamed(buffer, at, end)) || !mayNameStatement(buffer, from, end))
    return 'pass';
  if (end - at < size) return size;
  const textEnd = buffer.indexOf(0, from);
  const text = buffer.toString('latin1', from, textEnd < 0 ? from : textEnd);
  if (!namesStatements(text)) return 'pass';
  const instead = deallocated(session, server, buffer, at, end, text);
  if (instead === null) session.suspect(STATEMENTS, text);
  return instead ?? 'pass';
}

const DEALLOCATE = /^\s*deallocate\s+(?:prepare\s+)?(?:([a-z_\x80-\xff][\w$\x80-\xff]*)|"((?:[^"]|"")+)")\s*;?\s*$/i;
/** Stands on the server for what is deallocated there in a client's name. */
const PLACEHOLDER = 'PGBOUNCER_0';

/**
 * DEALLOCATE of a name that the client gave by Parse (psycopg does so where libpq has no Close): when it has been run the name goes.
 * The server, which knows the statement by another, deallocates a placeholder, so that the answer is its own. Null: nothing of the
 * kind. Of the extended protocol only what is run at once.
 */
function deallocated(
  session: Session,
  server: Server,
  buffer: Buffer,
  at: number,
  end: number,
  text: string,
): Uint8Array | 'wait' | null {
  const isQuery = buffer[at] === QUERY;
  if (!isQuery && !(isUnnamed(buffer, at, end) && isBoundAtOnce(buffer, at, end))) return null;
  const [, plain, quoted] = DEALLOCATE.exec(text) ?? [];
  const name = plain?.replace(/[A-Z]/g, (letter) => letter.toLowerCase()) ?? quoted?.replaceAll('""', '"');
  if (name === undefined || (plain !== undefined && name === 'all') || server.settings.prepared.has(name)) return null;
  // Who has which name is open until what was sent before is answered.
  if (server.queue.unsure && !server.queue.copyIn) return 'wait';
  const statement = session.statements.get(name);
  // A Sync of ours would end what the client has not ended yet.
  if (statement === undefined || (isQuery && server.queue.syncMissing)) return null;
  session.exchangeBegins(server);
  const effect = new ClosedEffect(session, name, statement);
  session.statements.onRun = { kind: isQuery ? Reply.Query : Reply.Execute, effect, isNew: true };
  const sql = `DEALLOCATE "${PLACEHOLDER}"`;
  const placeholder = [close('S', PLACEHOLDER), parse(PLACEHOLDER, '')];
  server.queue.sent(Reply.Close, Action.Skip);
  server.queue.sent(Reply.Parse, Action.Skip);
  if (!isQuery) return concat(...placeholder, parse('', sql));
  // Else a query behind a placeholder that fails would be skipped, and never answered.
  server.queue.sent(Reply.Sync, Action.Skip);
  return concat(...placeholder, sync(), query(sql));
}

/** A setting that follows the client anyway is nothing to refuse. */
function refusalOf({ refusal, names, anySetting, keeps, unknowable }: Suspicion, server: Server): StateRefusal | null {
  const onlySettings = !anySetting && keeps === 0 && unknowable === null;
  return onlySettings && [...names].every((name) => isReported(server, name)) ? null : refusal;
}
