/** What the log calls a connection, in PgBouncer's shape: "C-0x1: db/user@127.0.0.1:5000", "C-0x1: db/user@unix(4711):6432". */
import type { Session } from '../client/side.ts';

/** Where a connection comes from or goes to. `pid`: the process at the other end of a Unix socket, if it is known. */
interface Place {
  readonly address: string;
  readonly port: number;
  readonly pid?: number;
}

/** `kind`: a client or a server. `at` null: it was not dialled. */
export function socketName(kind: 'C' | 'S', id: number, who: string, at: Place | null): string {
  const name = `${kind}-0x${id.toString(16)}: ${who}`;
  if (at === null) return name;
  const host = at.address.includes(':') ? `[${at.address}]` : at.address;
  return `${name}@${at.pid ? `${host}(${at.pid})` : host}:${at.port}`;
}

export function sessionName({ identity: { id, database, user }, conn }: Session): string {
  return socketName('C', id, `${database}/${user}`, conn.remote);
}
