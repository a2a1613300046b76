// Owns what auth_type `hba` goes by as a whole: the rules of auth_hba_file with the maps of auth_ident_file.
// It must not know how a method checks anyone, and opens no file (they go through the `readFile` it is handed).

import { type HbaRule, parseHba } from './hba.ts';
import { type IdentMaps, parseIdent } from './ident.ts';
import type { ReadFile } from './ini.ts';
import { type LdapOptions, parseLdapOptions } from './ldap-options.ts';
import { type Problem, Problems, type Severity } from './problem.ts';
import type { Config } from './settings.ts';

export interface Access {
  /** The rules in force; none when auth_type is not `hba`. */
  readonly rules: readonly HbaRule[];
  /** What auth_ldap_options says; null when it is not given. */
  readonly ldap: LdapOptions | null;
}

export interface AccessResult {
  readonly access: Access;
  /** With an `error` among them the rules must not be used: one that is left out may let somebody in. */
  readonly problems: readonly Problem[];
}

export const NO_ACCESS: Access = { rules: [], ldap: null };

/**
 * Reads both files as far as the configuration needs them, and auth_ldap_options. Never throws.
 *
 * @param absent - What a file is that cannot be opened. PgBouncer starts without (src/main.c, load_config): without rules nobody can
 * log in, without maps nobody by a rule that names one. An `error` keeps what is in force.
 */
export function loadAccess(config: Config, readFile: ReadFile, absent: Severity = 'error'): AccessResult {
  const { authType, authHbaFile, authIdentFile } = config.global;
  const problems = new Problems();
  const ldap = readLdapOptions(config, problems);
  if (authType !== 'hba') return { access: { rules: [], ldap }, problems: problems.list };
  const read = (setting: 'auth_hba_file' | 'auth_ident_file', path: string, without: string): string => {
    try {
      return path === '' ? '' : readFile(path);
    } catch (error) {
      const place = config.given.get(setting) ?? { file: path, line: 1 };
      const kind = setting === 'auth_hba_file' ? 'hba' : 'ident';
      const advice =
        absent === 'error' ? 'make it, or name another' : `${without} until ${setting} is there and RELOAD has read it`;
      const message = `could not open ${kind} config file ${path}: ${(error as Error).message}; ${advice}`;
      problems[absent](place, setting, message);
      return '';
    }
  };
  const ident = parseIdent(read('auth_ident_file', authIdentFile, 'there are no maps'), authIdentFile);
  const identMaps: IdentMaps = ident.maps;
  const hba = parseHba(read('auth_hba_file', authHbaFile, 'nobody can log in'), {
    path: authHbaFile,
    readFile,
    identMaps,
  });
  return { access: { rules: hba.rules, ldap }, problems: [...problems.list, ...ident.problems, ...hba.problems] };
}

function readLdapOptions(config: Config, problems: Problems): LdapOptions | null {
  const { authLdapOptions } = config.global;
  if (authLdapOptions === '') return null;
  const options = parseLdapOptions(authLdapOptions);
  if (typeof options !== 'string') return options;
  const place = config.given.get('auth_ldap_options') ?? { file: 'configuration', line: 1 };
  // Rules of auth_hba_file have options of their own.
  const severity = config.global.authType === 'ldap' ? 'error' : 'warning';
  problems[severity](place, 'auth_ldap_options', `auth_ldap_options: ${options}`);
  return null;
}
