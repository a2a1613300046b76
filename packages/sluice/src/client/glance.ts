/** What a glance at a client's bytes tells: where an exchange ends, and whether a text throws prepared statements away. */
import { FRONT, Front, HEADER_BYTES, lengthAt, Reply } from '@sluice/wire';
import { altersSchema, LEADING_CHARACTERS, mayForgetStatements } from '../server/statements.ts';

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

/** What a text may do to prepared statements. */
export const Sees = { Nothing: 0, Forgets: 1, Alters: 2 } as const;
export type Sees = (typeof Sees)[keyof typeof Sees];

/** Looks for what throws prepared statements away, or changes what they mean: a client's books change when it is answered. */
export class ChangeWatch {
  /** What the unnamed statement may do. */
  #unnamed: Sees = Sees.Nothing;

  /** What may the message at `at` run? `altered`: its transaction has changed the schema. */
  sees(what: number, buffer: Buffer, at: number, end: number, altered = false): Sees {
    if (what === Front.Bind) return this.#unnamed;
    if (what !== Front.Query && what !== Front.Parse) return Sees.Nothing;
    const may = mayDo(buffer, what === Front.Query ? at + HEADER_BYTES : textAt(buffer, at, end), end, altered);
    const isUnnamed = end <= at + HEADER_BYTES || buffer[at + HEADER_BYTES] === 0;
    if (what === Front.Parse && isUnnamed) this.#unnamed = may;
    return may;
  }
}

/** Where the text of the Parse at `at` begins. */
function textAt(buffer: Buffer, at: number, end: number): number {
  const name = at + HEADER_BYTES;
  const nameEnd = buffer[name] === 0 ? name : buffer.indexOf(0, name);
  return nameEnd < 0 ? end : nameEnd + 1;
}

/** May a text begin with one of the commands that matter? Most are told apart by their first letters. */
function mayDo(buffer: Buffer, at: number, end: number, altered: boolean): Sees {
  if (at >= end) return Sees.Forgets;
  const first = buffer[at]! | 0x20;
  // White space, a semicolon, or a comment may stand before any of them.
  const isOpen = first <= 0x2f || first === 0x3b;
  const mayAlter = isOpen || altered || beginsToAlter(buffer, at, end);
  if (!mayAlter && first !== 0x64) return Sees.Nothing;
  const text = buffer.toString('latin1', at, Math.min(end, at + LEADING_CHARACTERS));
  // Comments can be nested, which no pattern follows.
  if (first === 0x2f && /deallocate|discard/i.test(text)) return Sees.Forgets;
  if (mayAlter && altersSchema(text, altered)) return Sees.Alters;
  return (isOpen || first === 0x64) && mayForgetStatements(text) ? Sees.Forgets : Sees.Nothing;
}

/** ALter, CReate, COMMIT prepared, DRop, DO, GRant, IMport, REvoke; or cut before it can be told. */
function beginsToAlter(buffer: Buffer, at: number, end: number): boolean {
  if (end < at + 8) return true;
  const second = buffer[at + 1]! | 0x20;
  switch (buffer[at]! | 0x20) {
    case 0x61:
      return second === 0x6c;
    case 0x63:
      return second === 0x72 || (second === 0x6f && buffer[at + 6]! <= 0x20 && buffer[at + 6] !== 0);
    case 0x64:
      return second === 0x72 || second === 0x6f;
    case 0x67:
      return second === 0x72;
    case 0x69:
      return second === 0x6d;
    case 0x72:
      return second === 0x65;
    default:
      return false;
  }
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
