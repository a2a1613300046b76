/**
 * The console's grammar: one command a query, as PgBouncer has it: `WORD [ARG] [;]` and `SET key = value`. Knows no commands.
 */

/** What was typed, taken apart. Names are unquoted; `arg` is '' when there is none. */
export type Parsed =
  | { kind: 'command'; name: string; arg: string }
  | { kind: 'set'; key: string; value: string }
  /** Only white space, comments and semicolons. */
  | { kind: 'empty' }
  | { kind: 'invalid' };

const WORD = `"(?:[^"]|"")*"|[0-9a-z_]+`;
const STRING = `'(?:[^']|'')*'`;
const COMMAND = new RegExp(`^\\s*(${WORD})(?:\\s+(${WORD}))?\\s*(?:;\\s*)*$`, 'i');
const SET = new RegExp(`^\\s*set\\s+(${WORD})\\s*(?:=|\\bto\\b)\\s*(${STRING}|${WORD}|[^\\s;'"]+)\\s*(?:;\\s*)*$`, 'i');
const EMPTY = /^[\s;]*$/;

/** Longer ones are refused unread; PgBouncer's own bound on a packet of the console is of the same kind. */
const MAX_COMMAND = 4_096;

export function parseCommand(sql: string): Parsed {
  if (sql.length > MAX_COMMAND) return { kind: 'invalid' };
  const text = sql.replace(/^(?:\s*--[^\n]*(?:\n|$))+/, '');
  if (EMPTY.test(text)) return { kind: 'empty' };
  const set = SET.exec(text);
  if (set !== null) return { kind: 'set', key: unquote(set[1]!), value: unquote(set[2]!) };
  const command = COMMAND.exec(text);
  if (command === null) return { kind: 'invalid' };
  return { kind: 'command', name: unquote(command[1]!), arg: command[2] === undefined ? '' : unquote(command[2]) };
}

function unquote(word: string): string {
  const mark = word[0];
  if (mark !== '"' && mark !== "'") return word;
  return word.slice(1, -1).replaceAll(mark + mark, mark);
}
