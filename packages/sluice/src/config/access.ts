// Owns what auth_type `hba` goes by as a whole: the rules of auth_hba_file with the maps of auth_ident_file.
// It must not know how a method checks anyone, and opens no file (they go through the `readFile` it is handed).

import { type HbaRule, parseHba } from './hba.ts';
import { type IdentMaps, parseIdent } from './ident.ts';
import type { ReadFile } from './ini.ts';
import { type Problem, Problems } from './problem.ts';
import type { Config } from './settings.ts';

/** The rules in force; none when auth_type is not `hba`. */
export interface Access {
  readonly rules: readonly HbaRule[];
}

export interface AccessResult {
  readonly access: Access;
  /** With an `error` among them the rules must not be used: one that is left out may let somebody in. */
  readonly problems: readonly Problem[];
}

export const NO_ACCESS: Access = { rules: [] };

/** Reads both files as far as the configuration needs them. Never throws. */
export function loadAccess(config: Config, readFile: ReadFile): AccessResult {
  const { authType, authHbaFile, authIdentFile } = config.global;
  if (authType !== 'hba') return { access: NO_ACCESS, problems: [] };
  const problems = new Problems();
  const read = (setting: 'auth_hba_file' | 'auth_ident_file', path: string): string => {
    try {
      return path === '' ? '' : readFile(path);
    } catch (error) {
      const place = config.given.get(setting) ?? { file: path, line: 1 };
      problems.error(place, setting, `could not open ${setting} ${path}: ${(error as Error).message}`);
      return '';
    }
  };
  const ident = parseIdent(read('auth_ident_file', authIdentFile), authIdentFile);
  const identMaps: IdentMaps = ident.maps;
  const hba = parseHba(read('auth_hba_file', authHbaFile), { path: authHbaFile, readFile, identMaps });
  return { access: { rules: hba.rules }, problems: [...problems.list, ...ident.problems, ...hba.problems] };
}
