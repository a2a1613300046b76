/**
 * By which settings PostgreSQL reads a statement when it prepares it: names by the search_path and the role, constants by
 * DateStyle and its kin. Names only, in lower case.
 */

/** The role has a part where search_path says "$user". */
export const BY_IDENTITY = ['role', 'session_authorization'] as const;
export const BY_ALL = ['search_path', 'transform_null_equals'] as const;
export const BY_CONSTANTS = [
  'client_encoding',
  'datestyle',
  'timezone',
  'timezone_abbreviations',
  'intervalstyle',
  'standard_conforming_strings',
  'backslash_quote',
  'array_nulls',
  'lc_monetary',
  'xmloption',
] as const;

const READ_BY: ReadonlySet<string> = new Set([...BY_IDENTITY, ...BY_ALL, ...BY_CONSTANTS]);

/** Does this setting have a part in how texts are read? */
export function isReadBy(name: string): boolean {
  return READ_BY.has(name);
}

const HAS_CONSTANTS = /'|\$\D|[\x80-\xff]/;

export function hasConstants(text: string): boolean {
  return HAS_CONSTANTS.test(text);
}

/** Does a search_path (null: not known) go by the role? */
export function goesByRole(path: string | null | undefined): boolean {
  return path === null || path === undefined || path.includes('$user');
}

/** What a constant of a date or a time says that is another one each time. */
const MOMENT = /\b(?:now|today|tomorrow|yesterday)\b/i;
/** Where something begins in which a quote, or a word, may mean something else: a constant, a name, a comment. */
const OPENING = /'|"|--|\/\*|\$\w*\$/g;

/**
 * May a constant be the moment at which the text is read ('today', 'now')? PostgreSQL reads it when it prepares the statement, and it
 * stays that: who prepares the text later is to have another. In doubt (escapes, constants in several pieces) it may.
 */
export function readsClock(text: string): boolean {
  if (!hasConstants(text)) return false;
  const escapes = text.includes('\\');
  if (!MOMENT.test(text) && !escapes && !/'\s*\n\s*'/.test(text)) return false;
  const pieces: string[] = [];
  // Each begin is looked at once, and what it opens is passed: linear in whatever a client sends.
  for (let at = 0; ; ) {
    OPENING.lastIndex = at;
    const found = OPENING.exec(text);
    if (found === null) break;
    const [opening] = found;
    const from = found.index + opening.length;
    const closing = opening === '--' ? '\n' : opening === '/*' ? '*/' : opening;
    const to = text.indexOf(closing, from);
    const end = to < 0 ? text.length : to;
    if (opening === "'" || opening.startsWith('$')) pieces.push(text.slice(from, end));
    if (to < 0) break;
    at = to + closing.length;
  }
  // A constant may go on in the next line, or say its letters by numbers.
  return pieces.some((piece) => MOMENT.test(piece) || piece.includes('\\')) || MOMENT.test(pieces.join(''));
}
