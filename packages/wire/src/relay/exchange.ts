/** Whole exchanges, known at one glance: nearly all that drivers send is of this form. */
import { Reply } from './reply-queue.ts';
import { HEADER_BYTES, lengthAt } from './tables.ts';

/** What is owed for one exchange of the extended protocol, in the order of the replies. */
export const PLAIN_EXCHANGE: readonly Reply[] = [Reply.Parse, Reply.Bind, Reply.Execute, Reply.Sync];
/** The same with a Describe of its portal. */
export const DESCRIBED_EXCHANGE: readonly Reply[] = [
  Reply.Parse,
  Reply.Bind,
  Reply.Describe,
  Reply.Execute,
  Reply.Sync,
];
/** The same of a statement that was prepared before. */
export const PLAIN_RUN: readonly Reply[] = [Reply.Bind, Reply.Execute, Reply.Sync];
export const DESCRIBED_RUN: readonly Reply[] = [Reply.Bind, Reply.Describe, Reply.Execute, Reply.Sync];
/** What is owed for a Query. */
export const SIMPLE_EXCHANGE: readonly Reply[] = [Reply.Query];

const DESCRIBE_PORTAL_BYTES = HEADER_BYTES + 2;
const EXECUTE_BYTES = HEADER_BYTES + 5;
const READY_BYTES = HEADER_BYTES + 1;

/**
 * What is owed for it, if it is exactly one exchange without names: a Query, or Parse, Bind, perhaps Describe of the portal, Execute,
 * Sync.
 */
export function unnamedExchange(bytes: Uint8Array, at: number, end: number): readonly Reply[] | null {
  if (bytes[at] === 0x51) return nextAt(bytes, at) === end ? SIMPLE_EXCHANGE : null;
  if (bytes[at] !== 0x50 || bytes[at + HEADER_BYTES] !== 0) return null;
  const bind = nextAt(bytes, at);
  if (bind + HEADER_BYTES + 2 > end || bytes[bind] !== 0x42) return null;
  if (bytes[bind + HEADER_BYTES] !== 0 || bytes[bind + HEADER_BYTES + 1] !== 0) return null;
  const rest = restOfRun(bytes, nextAt(bytes, bind), end);
  return rest === Run.Other ? null : rest === Run.Described ? DESCRIBED_EXCHANGE : PLAIN_EXCHANGE;
}

/**
 * What is owed for it, if it is exactly one run of a statement with a name: Bind of a portal without one, perhaps Describe of that,
 * Execute, Sync.
 */
export function preparedRun(bytes: Uint8Array, at: number, end: number): readonly Reply[] | null {
  if (end < at + HEADER_BYTES + 2 || bytes[at] !== 0x42) return null;
  if (bytes[at + HEADER_BYTES] !== 0 || bytes[at + HEADER_BYTES + 1] === 0) return null;
  const rest = restOfRun(bytes, nextAt(bytes, at), end);
  return rest === Run.Other ? null : rest === Run.Described ? DESCRIBED_RUN : PLAIN_RUN;
}

const Run = { Other: 0, Plain: 1, Described: 2 } as const;
type Run = (typeof Run)[keyof typeof Run];

/** What follows a Bind: perhaps Describe, Execute and Sync, all of the portal without a name, and nothing else. */
function restOfRun(bytes: Uint8Array, at: number, end: number): Run {
  let next = at;
  const isDescribed = bytes[next] === 0x44;
  if (isDescribed) {
    if (next + DESCRIBE_PORTAL_BYTES > end || nextAt(bytes, next) !== next + DESCRIBE_PORTAL_BYTES) return Run.Other;
    if (bytes[next + HEADER_BYTES] !== 0x50 || bytes[next + HEADER_BYTES + 1] !== 0) return Run.Other;
    next += DESCRIBE_PORTAL_BYTES;
  }
  if (next + EXECUTE_BYTES + HEADER_BYTES !== end || bytes[next] !== 0x45) return Run.Other;
  if (nextAt(bytes, next) !== next + EXECUTE_BYTES || bytes[next + HEADER_BYTES] !== 0) return Run.Other;
  next += EXECUTE_BYTES;
  if (bytes[next] !== 0x53 || nextAt(bytes, next) !== end) return Run.Other;
  return isDescribed ? Run.Described : Run.Plain;
}

/**
 * What it completes, if it is exactly the answer to one exchange, of a command that went well: to Parse and Bind where those were sent,
 * perhaps columns, rows, CommandComplete, ReadyForQuery. (Not where `tagMatters`: that has to be looked at.)
 */
export function exchangeAnswer(bytes: Uint8Array, at: number, end: number): readonly Reply[] | null {
  const first = bytes[at];
  if (first !== 0x31 && first !== 0x32 && first !== 0x54) return null;
  let next = at;
  if (first === 0x31) next = nextAt(bytes, next);
  if (first !== 0x54) {
    if (bytes[next] !== 0x32) return null;
    next = nextAt(bytes, next);
  }
  let before = 0x32;
  const isDescribed = bytes[next] === 0x54 || bytes[next] === 0x6e;
  if (isDescribed) {
    before = bytes[next]!;
    next = nextAt(bytes, next);
  }
  if (bytes[next] === 0x44) before = 0x44;
  while (next < end && bytes[next] === 0x44) next = nextAt(bytes, next);
  if (next >= end || bytes[next] !== 0x43 || nextAt(bytes, next) !== end - READY_BYTES) return null;
  if (tagMatters(bytes, next + HEADER_BYTES, before, first === 0x54)) return null;
  if (bytes[end - READY_BYTES] !== 0x5a || lengthAt(bytes, end - READY_BYTES) !== READY_BYTES - 1) return null;
  if (first === 0x54) return SIMPLE_EXCHANGE;
  if (first === 0x31) return isDescribed ? DESCRIBED_EXCHANGE : PLAIN_EXCHANGE;
  return isDescribed ? DESCRIBED_RUN : PLAIN_RUN;
}

/**
 * May the command that was completed with this tag have changed what statements mean, or which are prepared: ALTER, CREATE, DROP, DO, COMMIT
 * PREPARED, GRANT, REVOKE, IMPORT FOREIGN SCHEMA, DEALLOCATE, DISCARD, a table made of a SELECT? (True of some others that begin alike.)
 * `at`: where its tag begins; `before`: the type of the message in front of it; `isQuery`: it answers a Query, not an Execute.
 */
export function tagMatters(bytes: Uint8Array, at: number, before: number, isQuery: boolean): boolean {
  const first = bytes[at]!;
  // @, A, D, E.
  if ((first & ~5) === 0x40) return true;
  const second = bytes[at + 1];
  switch (first) {
    case 0x53: // SELECT, not SET
      return bytes[at + 2] === 0x4c && makesTable(bytes[at + 7]!, before, isQuery);
    case 0x43: // CREATE, COMMIT PREPARED
      return second === 0x52 || (second === 0x4f && bytes[at + 6] === 0x20);
    case 0x49: // IMPORT, not INSERT
      return second === 0x4d;
    case 0x52: // REVOKE
      return bytes[at + 2] === 0x56;
    default: // GRANT
      return first === 0x47;
  }
}

/**
 * "SELECT 5" is what is told of CREATE TABLE AS, SELECT INTO and CREATE MATERIALIZED VIEW, too: without columns where those would be
 * told, and without the rows. Of one without rows whose columns nobody has asked for it is not known.
 */
function makesTable(digit: number, before: number, isQuery: boolean): boolean {
  if (before === 0x44 || before === 0x54) return false;
  return isQuery || before === 0x6e || digit !== 0x30;
}

/** Where the message behind the one at `at` begins; far away where its length makes no sense. */
function nextAt(bytes: Uint8Array, at: number): number {
  const length = lengthAt(bytes, at);
  return length < HEADER_BYTES - 1 ? Number.MAX_SAFE_INTEGER : at + length + 1;
}
