// Owns how the console sees the settings of [pgbouncer]: the rows of SHOW CONFIG, and SET.
// It must not know the console's grammar, nor how a change takes effect.

import { checkConfig } from './checks.ts';
import { invalidValue, suggestion } from './load.ts';
import { type Problem, Problems } from './problem.ts';
import { fieldName, type SettingRow, type SettingValue } from './setting-row.ts';
import { type Config, findRow, type GlobalSettings, rowsIn } from './settings.ts';
import { formatValue, parseValue } from './values.ts';

/** A row of SHOW CONFIG. */
export interface ConfigRow {
  readonly key: string;
  /** null for a text that is not set. */
  readonly value: string | null;
  readonly default: string | null;
  /** Whether RELOAD and SET can change it. */
  readonly changeable: 'yes' | 'no';
}

/** The rows of SHOW CONFIG, in PgBouncer's order. */
export function showConfig(config: Config): ConfigRow[] {
  return rowsIn('global')
    .map(({ key, row }) => ({
      key,
      value: valueText(key, row, config),
      default: row.default,
      changeable: row.reload ? ('yes' as const) : ('no' as const),
    }))
    .sort((a, b) => (place(a.key) < place(b.key) ? -1 : 1));
}

/** PgBouncer's one exception to the order of names: pool_mode stands before pool_idle_timeout. */
function place(key: string): string {
  return key === 'pool_mode' ? 'pool_' : key;
}

/**
 * The value of a setting as SHOW CONFIG prints it: PgBouncer's forms, texts and lists as they were given.
 *
 * @returns null for a text that is not set, undefined when [pgbouncer] has no such setting.
 */
export function configValueText(name: string, config: Config): string | null | undefined {
  const found = findRow('global', name);
  return found === undefined ? undefined : valueText(found.key, found.row, config);
}

function valueText(key: string, row: SettingRow, config: Config): string | null {
  const value = valueOfField(config.global, fieldName(key, row));
  const given = config.given.get(key)?.text;
  if (typeof value === 'string' || Array.isArray(value)) {
    const isText = row.kind !== 'enum';
    if (isText && given !== undefined) return maskPassword(given);
    if (value === '' && row.default === null) return null;
  }
  return maskPassword(formatValue(row, value));
}

/** The password that auth_ldap_options may hold: whoever may read SHOW CONFIG need not know it. */
function maskPassword(text: string): string {
  return text.replace(/(ldapbindpasswd"?=)(?:"[^"]*(?:""[^"]*)*"?|[^\s,]*)/gi, '$1***');
}

function valueOfField(global: GlobalSettings, field: string): SettingValue {
  return (global as unknown as Readonly<Record<string, SettingValue>>)[field]!;
}

/** What came of SET: the new configuration with warnings about it, or why there is none. */
export type SetResult =
  | { readonly ok: true; readonly config: Config; readonly problems: readonly Problem[] }
  | { readonly ok: false; readonly message: string };

const CONSOLE = { file: 'console', line: 1 } as const;

/**
 * `SET name = value` of the console: the same reading and the same checks as for the file. The given configuration
 * stays as it is. A setting that only a restart changes is refused (PgBouncer says SET and does nothing).
 */
export function setSetting(config: Config, name: string, text: string): SetResult {
  const found = findRow('global', name);
  if (found === undefined) return { ok: false, message: `unknown parameter: pgbouncer/${name}${suggestion(name)}` };
  const { key, row } = found;
  const parsed = parseValue(row, text, 'c');
  if (!parsed.ok) return { ok: false, message: invalidValue(key, text, parsed.expected) };
  if (!row.reload) {
    return {
      ok: false,
      message: `${key} cannot be changed while running: set it in the configuration file and restart`,
    };
  }
  const changed: Config = {
    ...config,
    global: { ...config.global, [fieldName(key, row)]: parsed.value } as GlobalSettings,
    given: new Map(config.given).set(key, { text, ...CONSOLE }),
  };
  const problems = newProblems(config, changed);
  const refusal = problems.find((problem) => problem.severity === 'error');
  if (refusal !== undefined) return { ok: false, message: refusal.message };
  const warnings = [...problems];
  if (parsed.note !== undefined) warnings.push(asWarning(key, `${key} = ${text}: ${parsed.note}`));
  return { ok: true, config: changed, problems: warnings };
}

function asWarning(setting: string, message: string): Problem {
  return { severity: 'warning', ...CONSOLE, setting, message };
}

/** Problems between settings that the change brings; those that were there before do not stand in its way. */
function newProblems(before: Config, after: Config): Problem[] {
  const known = new Set(check(before).map((problem) => problem.message));
  return check(after).filter((problem) => !known.has(problem.message));
}

function check(config: Config): readonly Problem[] {
  const problems = new Problems();
  checkConfig(config, config.global.conffile, problems);
  return problems.list;
}
