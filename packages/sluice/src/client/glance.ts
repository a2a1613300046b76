/** What a glance at a client's bytes tells: where an exchange ends, and whether a text throws prepared statements away. */
import { FRONT, Front, HEADER_BYTES, lengthAt } from '@sluice/wire';
import { forgetsStatements } from '../server/statements.ts';

/** White space and comments before a command that are looked through. */
const LEADING_BYTES = 512;

/** Where the text of the Parse at `at` begins. */
export function textAt(buffer: Buffer, at: number, end: number): number {
  const nameEnd = buffer.indexOf(0, at + HEADER_BYTES);
  return nameEnd < 0 ? end : nameEnd + 1;
}

/** Is the Bind at `at` one of the unnamed statement, under whatever portal? */
export function hasUnnamed(buffer: Buffer, at: number, end: number): boolean {
  const portalEnd = buffer.indexOf(0, at + HEADER_BYTES);
  return portalEnd >= 0 && portalEnd + 1 < end && buffer[portalEnd + 1] === 0;
}

/** Does a text perhaps begin with DEALLOCATE or DISCARD? Most are told apart by their first letter. */
export function mayForget(buffer: Buffer, at: number, end: number): boolean {
  if (at >= end) return true;
  const first = buffer[at]! | 0x20;
  // d, white space, or a comment.
  if (first !== 0x64 && first > 0x2f) return false;
  return forgetsStatements(buffer.toString('latin1', at, Math.min(end, at + LEADING_BYTES)));
}

/** Where the first exchange of a backlog ends: behind its first Query, FunctionCall or Sync; -1 when it is not all here. */
export function exchangeEnd(backlog: Buffer): number {
  for (let at = 0; at + HEADER_BYTES <= backlog.length; ) {
    const what = FRONT[backlog[at]!]!;
    const end = at + lengthAt(backlog, at) + 1;
    if (end > backlog.length || end <= at) return -1;
    if (what === Front.Query || what === Front.Function || what === Front.Sync) return end;
    at = end;
  }
  return -1;
}
