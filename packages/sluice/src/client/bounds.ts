/** How long a client's messages may be, how much of what it sends may be under way, and what it is told of what is too much. */
import { FRONT, Front, HEADER_BYTES } from '@sluice/wire';
import type { RefusedText, Session } from './side.ts';

/** What may pile up from a client that waits for a server before it is no longer read. */
export const BACKLOG_BYTES = 65_536;
/** Replies owed at which a pipelining client is no longer read, until half of them have come. */
export const PIPELINE_REPLIES = 65_536;

/** A prepared statement cannot have a longer name, in bytes. PostgreSQL truncates identifiers at 63. */
export const NAME_BYTES = 65_536;
/** The memory that one client's names may take: tens of thousands of them. */
export const NAMES_BYTES = 8_388_608;

/**
 * PostgreSQL's bound (PQ_SMALL_MESSAGE_LIMIT) on messages that hold no more than names and numbers. Those that name a statement may be
 * longer: it has a short name on servers.
 */
const SMALL_BYTES = 10_000;
const NAMING: readonly number[] = [Front.Describe, Front.Close];
const LARGE: readonly number[] = [Front.Query, Front.Parse, Front.Bind, Front.Function, Front.CopyData];

/** Can no message of this kind be `size` bytes long, its type byte included, where `most` are allowed? */
export function isWrong(what: number, size: number, most: number): boolean {
  if (size < HEADER_BYTES || size > most) return true;
  if (size <= SMALL_BYTES + 1 || LARGE.includes(what)) return false;
  return !NAMING.includes(what) || size > 2 * NAME_BYTES;
}

/** Ends a session that has sent what nobody may send. The log has PgBouncer's words, the client PostgreSQL's. */
export function refuseMessage(session: Session, type: number, size: number): void {
  const hex = `0x${type.toString(16)}`;
  if (isWrong(FRONT[type]!, size, session.registry.maxPacketSize)) {
    const header = Buffer.alloc(5, type);
    header.writeUInt32BE((size - 1) >>> 0, 1);
    const message = `invalid message length ${size - 1} in a message of type ${hex}`;
    session.disconnect(`bad packet header: '${header.toString('hex')}'`, '08P01', { message });
    return;
  }
  session.registry.fault(session, `unknown pkt from client: ${type}/${hex}`);
  session.disconnect('unknown pkt', '08P01', { message: `invalid frontend message type ${type}` });
}

/** disable_pqexec. */
export function refuseSimple(session: Session): void {
  session.registry.fault(session, 'client used "Query" packet type');
  session.disconnect('PQexec disallowed', '08P01', {
    hint: 'disable_pqexec is set: use the extended query protocol.',
  });
}

export const LONG_NAME: RefusedText = {
  code: '53400',
  message: `the name of a prepared statement is longer than ${NAME_BYTES} bytes`,
  hint: 'Use a shorter name: a number, or a hash of the text.',
};

export const TOO_MANY_NAMES: RefusedText = {
  code: '53400',
  message: `the names of this connection's prepared statements exceed ${NAMES_BYTES / 1_048_576} MB`,
  hint: 'Close statements that are not needed, or use fewer and shorter names.',
};

export function tooMuchText(maxBytes: number): RefusedText {
  return {
    code: '53400',
    message: `prepared statements exceed ${maxBytes} bytes (max_prepared_statement_bytes)`,
    hint: 'Close statements that are not needed, send values as parameters instead of in the text, or raise the setting.',
  };
}
