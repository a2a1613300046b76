/** What may be given to `client.query`: its text, and a copy that pg may write into. Knows no connection. */

const CONFIG_FIELDS = ['text', 'values', 'name', 'rowMode', 'types', 'binary', 'rows', 'queryMode', 'portal'];

/** A config that pg may write into, without a callback. Its fields may be accessors of a class. */
export function bare(config: unknown): unknown {
  if (typeof config !== 'object' || config === null) return config;
  const given = config as Record<string, unknown>;
  const copy: Record<string, unknown> = { ...given };
  for (const name of CONFIG_FIELDS) if (name in given) copy[name] = given[name];
  delete copy.callback;
  return copy;
}

export function isSubmittable(config: unknown): boolean {
  return typeof (config as { submit?: unknown } | null | undefined)?.submit === 'function';
}

/** The SQL of whatever was given to `query`; '' when it can't be told. */
export function textOf(config: unknown): string {
  if (typeof config === 'string') return config;
  if (typeof config !== 'object' || config === null) return '';
  const { text, cursor } = config as { text?: unknown; cursor?: { text?: unknown } };
  if (typeof text === 'string') return text;
  return typeof cursor?.text === 'string' ? cursor.text : '';
}

const SHOWN = 200;

/** As an error shows it. */
export function shownSql(sql: string): string {
  return sql.length > SHOWN ? `${sql.slice(0, SHOWN)}…` : sql;
}
