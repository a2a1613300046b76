/** How long a client's messages may be, and how much of what it sends may be under way. */
import { Front, HEADER_BYTES } from '@sluice/wire';

/** What may pile up from a client that waits for a server before it is no longer read. */
export const BACKLOG_BYTES = 65_536;
/** Replies owed at which a pipelining client is no longer read, until half of them have come. */
export const PIPELINE_REPLIES = 65_536;

/** A prepared statement cannot have a longer name, in bytes. PostgreSQL truncates identifiers at 63. */
export const NAME_BYTES = 65_536;

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
