// Owns user name maps: the format of auth_ident_file, and whether a map lets a system user be a database user.
// It must not know where a system user's name comes from (a certificate, a Unix socket), and opens no file.

import { Tokens } from './hba-tokens.ts';
import { type Problem, Problems, quote } from './problem.ts';
import type { Place } from './settings.ts';

/** One line of a map: this system user may be that database user. */
export interface IdentMapping {
  readonly systemUser: string;
  /** null: any database user (`all`). */
  readonly user: string | null;
  readonly place: Place;
}

export interface IdentMap {
  readonly name: string;
  readonly mappings: readonly IdentMapping[];
}

export type IdentMaps = ReadonlyMap<string, IdentMap>;

export interface IdentResult {
  readonly maps: IdentMaps;
  readonly problems: readonly Problem[];
}

/**
 * Reads an ident map file: lines `map-name system-user database-user`, where the last may be `all` (PgBouncer
 * doc/config.md, "Ident map file format"). A line that is none of that is left out with a warning, as in PgBouncer: it could
 * only have let somebody in. Never throws.
 */
export function parseIdent(text: string, path: string): IdentResult {
  const problems = new Problems();
  const maps = new Map<string, { name: string; mappings: IdentMapping[] }>();
  text.split('\n').forEach((line, index) => {
    const place = { file: path, line: index + 1 };
    const tokens = new Tokens(line);
    if (tokens.current.kind === 'end') return;
    const warn = (name: string): void =>
      problems.warning(
        place,
        null,
        `ident line ${place.line}: groups and regular expressions are not supported: ${quote(name)} is taken for the name itself; write each name on a line of its own`,
      );
    const parsed = parseLine(tokens, place, warn);
    if (typeof parsed === 'string') {
      problems.warning(place, null, `could not parse ident config line ${place.line}: ${parsed}; it is left out`);
      return;
    }
    const map = maps.get(parsed.map) ?? { name: parsed.map, mappings: [] };
    map.mappings.push(parsed.mapping);
    maps.set(parsed.map, map);
  });
  return { maps, problems: problems.list };
}

/** @returns the mapping and its map, or what is wrong. */
function parseLine(
  tokens: Tokens,
  place: Place,
  warn: (name: string) => void,
): { map: string; mapping: IdentMapping } | string {
  const map = tokens.current;
  if (map.kind !== 'word') return 'it begins with the name of a map, without quotes';
  tokens.next();
  const systemUser = tokens.current;
  if (systemUser.kind !== 'word' && systemUser.kind !== 'string')
    return 'the system user is missing after the map name';
  if (systemUser.kind === 'word' && systemUser.text.startsWith('/')) warn(systemUser.text);
  tokens.next();
  const user = tokens.current;
  if (user.kind !== 'word' && user.kind !== 'string') return 'the database user is missing after the system user';
  if (user.kind === 'word' && /^[+/]/.test(user.text)) warn(user.text);
  const all = user.kind === 'word' && user.text === 'all';
  tokens.next();
  // PgBouncer steps over whatever follows `all` (hba.c, parse_ident_line).
  if (all && tokens.current.kind !== 'fail') tokens.next();
  if (tokens.current.kind !== 'end')
    return `unsupported parameters: ${quote(tokens.current.text)} after the third name`;
  return { map: map.text, mapping: { systemUser: systemUser.text, user: all ? null : user.text, place } };
}

/**
 * Whether a map lets the client be `user`.
 *
 * @param isSystemUser tells whether a system user's name is the client's: a certificate may carry several names.
 */
export function matchIdent(map: IdentMap, user: string, isSystemUser: (name: string) => boolean): boolean {
  return map.mappings.some((one) => (one.user === null || one.user === user) && isSystemUser(one.systemUser));
}
