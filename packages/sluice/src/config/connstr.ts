// Owns the syntax of the values in [databases], [users] and [peers]: `key=value key='value'`, like libpq's.
// It must not know which keys there are.

/** One pair of a connection string, in the order written. */
export interface Pair {
  readonly key: string;
  readonly value: string;
}

/** The pairs, or why the text is not a connection string. The reason never holds the text: it may have a password. */
export type ParsedConnstr =
  | { readonly ok: true; readonly pairs: readonly Pair[] }
  | { readonly ok: false; readonly reason: string };

/** A key up to `=`, then the value: bare up to a space, or between single quotes, where '' stands for one quote. */
const PAIR = /([^= \0]+) *= *(?:'([^']*(?:''[^']*)*)'(?= |$)|([^' \0][^ \0]*))/y;
const SPACES = / */y;

/**
 * Reads a connection string as PgBouncer does (loader.c): only spaces separate, a backslash means nothing, an empty
 * value is an error. Stricter in one point: after a closing quote a space must follow, or the end.
 */
export function parseConnstr(text: string): ParsedConnstr {
  const pairs: Pair[] = [];
  let position = skipSpaces(text, 0);
  while (position < text.length) {
    PAIR.lastIndex = position;
    const match = PAIR.exec(text);
    if (match === null) return { ok: false, reason: explain(text, position, pairs) };
    const value = match[2]?.replaceAll("''", "'") ?? match[3] ?? '';
    if (value === '') return { ok: false, reason: emptyValue(shownKey(match[1]!, pairs)) };
    pairs.push({ key: match[1]!, value });
    position = skipSpaces(text, PAIR.lastIndex);
  }
  return { ok: true, pairs };
}

/** Writes pairs so that they are read back as they are. Keys and values must not be empty. */
export function formatConnstr(pairs: readonly Pair[]): string {
  return pairs.map(({ key, value }) => `${key}=${quoteValue(value)}`).join(' ');
}

/** Writes a value for a connection string, in quotes where it needs them. */
export function quoteValue(value: string): string {
  return /^[^' ][^ ]*$/.test(value) ? value : `'${value.replaceAll("'", "''")}'`;
}

function skipSpaces(text: string, position: number): number {
  SPACES.lastIndex = position;
  SPACES.exec(text);
  return SPACES.lastIndex;
}

function explain(text: string, position: number, before: readonly Pair[]): string {
  const start = /^([^= \0]*) *(=?) *('?)/.exec(text.slice(position));
  const key = start?.[1] ?? '';
  const ordinal = `at character ${position + 1}`;
  if (key === '') return `a key is missing ${ordinal}: write key=value, separated by spaces`;
  if (start?.[2] !== '=') {
    return `a word ${ordinal} is followed by no "=": put values that hold spaces in single quotes`;
  }
  const shown = shownKey(key, before);
  if (start[3] === "'") return `the quotes of ${shown} do not close: write '' for a quote inside, and a space after`;
  return emptyValue(shown);
}

function emptyValue(shown: string): string {
  return `${shown} has an empty value: give it one, or leave the key out`;
}

/**
 * A key as messages show it. What follows a password is not shown: a password with spaces and without quotes ends at
 * its first space, and its next word would be taken for a key.
 */
export function shownKey(key: string, before: readonly Pair[]): string {
  if (before.at(-1)?.key === 'password') return 'what follows password= (a value with spaces stands in single quotes)';
  return key.length > 40 ? `"${key.slice(0, 40)}..."` : `"${key}"`;
}
