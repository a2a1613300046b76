/** Steps in a parse tree of PostgreSQL's own parser, whatever it is read for. */
export type Node = { readonly [key: string]: unknown };

export function stringsOf(list: unknown): string[] {
  return ((list ?? []) as readonly Node[]).map((item) => String((item.String as Node | undefined)?.sval ?? ''));
}

/** The name of a function, operator or relation of PostgreSQL's own, as far as the text tells; of others the whole of it. */
export function nameOf(path: unknown): string {
  const parts = stringsOf(path);
  return parts.length === 1 || parts[0] === 'pg_catalog' ? parts.at(-1)! : parts.join('.');
}
