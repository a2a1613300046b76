/** What a glance at a client's bytes tells: where an exchange ends, and whether a text throws prepared statements away. */
import { FRONT, Front, HEADER_BYTES, lengthAt, Reply } from '@sluice/wire';
import { LEADING_CHARACTERS, mayForgetStatements } from '../server/statements.ts';

/** The reply that each kind of frontend message makes the server owe; None where it owes nothing. */
export const OWED: readonly Reply[] = (() => {
  const owed: Reply[] = new Array(Front.Terminate + 1).fill(Reply.None);
  owed[Front.Query] = Reply.Query;
  owed[Front.Parse] = Reply.Parse;
  owed[Front.Bind] = Reply.Bind;
  owed[Front.Describe] = Reply.Describe;
  owed[Front.Execute] = Reply.Execute;
  owed[Front.Close] = Reply.Close;
  owed[Front.Sync] = Reply.Sync;
  owed[Front.Function] = Reply.Function;
  owed[Front.CopyEnd] = Reply.CopyEnd;
  return owed;
})();

/** Looks for what throws prepared statements away: a client's books change when it is answered. */
export class DiscardWatch {
  /** The unnamed statement is DEALLOCATE or DISCARD. */
  #unnamed = false;

  /** Does the message at `at` perhaps run one? */
  sees(what: number, buffer: Buffer, at: number, end: number): boolean {
    if (what === Front.Bind) return this.#unnamed;
    if (what !== Front.Query && what !== Front.Parse) return false;
    const forgets = mayForget(buffer, what === Front.Query ? at + HEADER_BYTES : textAt(buffer, at, end), end);
    const isUnnamed = end <= at + HEADER_BYTES || buffer[at + HEADER_BYTES] === 0;
    if (what === Front.Parse && isUnnamed) this.#unnamed = forgets;
    return forgets;
  }
}

/** Where the text of the Parse at `at` begins. */
function textAt(buffer: Buffer, at: number, end: number): number {
  const name = at + HEADER_BYTES;
  const nameEnd = buffer[name] === 0 ? name : buffer.indexOf(0, name);
  return nameEnd < 0 ? end : nameEnd + 1;
}

/** Does a text perhaps begin with DEALLOCATE or DISCARD? Most are told apart by their first letter. */
function mayForget(buffer: Buffer, at: number, end: number): boolean {
  if (at >= end) return true;
  const first = buffer[at]! | 0x20;
  // d, white space, a semicolon, or a comment.
  if (first !== 0x64 && first > 0x2f && first !== 0x3b) return false;
  const text = buffer.toString('latin1', at, Math.min(end, at + LEADING_CHARACTERS));
  // Comments can be nested, which no pattern follows.
  if (first === 0x2f && /deallocate|discard/i.test(text)) return true;
  return mayForgetStatements(text);
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
