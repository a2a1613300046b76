// Owns the shape of one row of the settings table and the TypeScript types that follow from a row.
// It must not know any particular setting, nor how a value is parsed or printed.

/** The sections a setting may stand in: [pgbouncer], [databases], [users], [peers]. */
export type Scope = 'global' | 'database' | 'user' | 'peer';

/**
 * How the text of a value is read.
 *
 * - `int`, `port`, `mode`, `bytes`, `percent`: a whole number; `mode` is meant to be written in octal.
 * - `bool`: PgBouncer's 0 or 1.
 * - `time`: seconds, a fraction allowed; `seconds`: whole seconds; `millis`: whole milliseconds. All become milliseconds.
 * - `string`: taken as it is; `sql` and `path` say more about what it holds.
 * - `list`: separated by commas; `words`: separated by commas or white space.
 * - `enum`: one of `values`, upper and lower case alike.
 */
export type Kind =
  | 'int'
  | 'port'
  | 'mode'
  | 'bytes'
  | 'percent'
  | 'bool'
  | 'time'
  | 'seconds'
  | 'millis'
  | 'string'
  | 'path'
  | 'sql'
  | 'list'
  | 'words'
  | 'enum';

/** Headings of the settings page, in its order. */
export const GROUPS = [
  'General and listening',
  'Pools and limits',
  'Sessions and statements',
  'Authentication',
  'Console access',
  'Connection checks and timeouts',
  'Timeouts that end work',
  'TLS from clients',
  'TLS to servers',
  'Log and metrics',
  'Network',
  'Connection strings',
] as const;
export type Group = (typeof GROUPS)[number];

/** One setting: everything that parsing, SHOW CONFIG, SET, `sluice check` and docs/settings.md need to know of it. */
export interface SettingRow {
  readonly kind: Kind;
  /** PgBouncer's default as text, in the setting's own unit; null where it has none (SHOW CONFIG shows null). */
  readonly default: string | null;
  /** Bounds in the setting's own unit, both included. Without them: 0 and the largest value of the kind. */
  readonly min?: number;
  readonly max?: number;
  /** For `enum`: the allowed values, PgBouncer's spelling. */
  readonly values?: readonly string[];
  /** Sections where it may stand. In [databases], [users] and [peers] it overrides, or is part of a connection string. */
  readonly scopes: readonly Scope[];
  /** True when RELOAD and SET apply a new value; false when only a restart does (SHOW CONFIG `changeable`). */
  readonly reload: boolean;
  readonly group: Group;
  /** One line of documentation. */
  readonly doc: string;
  /** Of a number below 0, which PgBouncer takes: it is as good as 0 (the default here), as no limit, or nobody could be served with it. */
  readonly negative?: 'most' | 'refused';
  /** For `enum`: what counts in place of an unknown word. */
  readonly otherwise?: string;
  /** Allowed values the platform cannot do, each with the text of the refusal at start-up. */
  readonly refused?: Readonly<Record<string, string>>;
  /** In [databases] and [users], 0 means "not set: the global value applies" (PgBouncer does so for limits). */
  readonly zeroInherits?: true;
  /** A finer check of the text: null when it is good, else what is expected ("a ...", to follow "must be"). */
  readonly check?: (text: string) => string | null;
  /** Name of the field in the typed result, where it is not the setting's name in camel case. */
  readonly field?: string;
  /** True for the settings that PgBouncer does not have. */
  readonly own?: true;
}

/** A key of the table is the setting's name, after a section and a slash where two sections use one name for two things. */
export type SettingName<Key extends string> = Key extends `${string}/${infer Name}` ? Name : Key;

type Camel<Name extends string> = Name extends `${infer Head}_${infer Tail}`
  ? `${Head}${Capitalize<Camel<Tail>>}`
  : Name;
type IsDuration<Row extends SettingRow> = Row['kind'] extends 'time' | 'seconds' | 'millis' ? true : false;

/** The field that holds a setting: camel case, with `Ms` after a duration, or what the row says. */
export type FieldName<Key extends string, Row extends SettingRow> = Row extends { field: infer Field extends string }
  ? Field
  : IsDuration<Row> extends true
    ? `${Camel<SettingName<Key>>}Ms`
    : Camel<SettingName<Key>>;

/** The type of a setting's value. */
export type ValueOf<Row extends SettingRow> = Row['kind'] extends 'bool'
  ? boolean
  : Row extends { kind: 'enum'; values: readonly (infer Value)[] }
    ? Value
    : Row['kind'] extends 'list' | 'words'
      ? readonly string[]
      : Row['kind'] extends 'string' | 'path' | 'sql'
        ? string
        : number;

/** What a value can be once parsed, whatever its row. */
export type SettingValue = number | boolean | string | readonly string[];

/** The name of a setting as it is written in the file. */
export function settingName(key: string): string {
  return key.slice(key.indexOf('/') + 1);
}

/** Whether the value is a duration, kept in milliseconds. */
export function isDuration(row: SettingRow): boolean {
  return row.kind === 'time' || row.kind === 'seconds' || row.kind === 'millis';
}

/** The field of the typed result that holds a setting. */
export function fieldName(key: string, row: SettingRow): string {
  if (row.field !== undefined) return row.field;
  const camel = settingName(key).replace(/_([a-z0-9])/g, (_match, letter: string) => letter.toUpperCase());
  return isDuration(row) ? `${camel}Ms` : camel;
}
