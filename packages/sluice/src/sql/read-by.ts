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
const MOMENT = /now|today|tomorrow|yesterday/i;
const LITERAL = /'((?:[^']|'')*)'/g;
/** Where a quote may be something else than the begin or the end of a constant. */
const NOT_PLAIN = /--|\/\*|\$\D|\\/;

/**
 * May a constant be the moment at which the text is read ('today', 'now')? PostgreSQL reads it when it prepares the statement, and it
 * stays that: who prepares the text later is to have another.
 */
export function readsClock(text: string): boolean {
  if (!MOMENT.test(text) || !hasConstants(text)) return false;
  if (NOT_PLAIN.test(text)) return true;
  for (const [, literal] of text.matchAll(LITERAL)) if (MOMENT.test(literal!)) return true;
  return false;
}
