/** What the log calls a connection, in PgBouncer's shape: "C-0x1: db/user@127.0.0.1:5000". */

/** `kind`: a client or a server. `at` null: it was not dialled. */
export function socketName(
  kind: 'C' | 'S',
  id: number,
  who: string,
  at: { readonly address: string; readonly port: number } | null,
): string {
  const name = `${kind}-0x${id.toString(16)}: ${who}`;
  if (at === null) return name;
  return `${name}@${at.address.includes(':') ? `[${at.address}]` : at.address}:${at.port}`;
}
