/** A connection that has sent nothing yet, or logs in, and what its login has come to. */
import { ListNode } from '@sluice/core';
import { type LoginVisit, loginReader, type StartupRequest } from '../client/login.ts';
import type { Conn } from '../net/conn.ts';
import type { PacketReader } from '../net/packet-reader.ts';
import type { Caller } from './caller.ts';
import type { ServerPool } from './server-pool.ts';
import { describeVisitor } from './visitor.ts';

/** What a console may do: everything, or only look. */
export type ConsoleAccess = 'admin' | 'stats';

/** Who it is that has proved it. */
export interface Login {
  readonly id: number;
  /** Counted against the limits on clients of a database and of a user; the console is not. */
  readonly database: string | null;
  /** The user that the client is now: auth_type any and auth_query may give another name than the client does. */
  readonly user: string;
  /** Null: the console. */
  readonly pool: ServerPool | null;
  readonly access: ConsoleAccess;
  readonly own: boolean;
}

/** With its startup message. */
export type Visitor = Visit & { readonly request: StartupRequest };

export class Visit extends ListNode implements LoginVisit {
  /** Clock milliseconds of its coming. */
  readonly since: number;
  conn: Conn;
  reader: PacketReader;
  request: StartupRequest | null = null;
  late: (() => void) | null = null;
  /** By which the log knows it; 0: nobody has asked yet. */
  id = 0;
  /** Past the startup message, and no session yet: counted against max_client_conn. */
  caller: Caller | null = null;
  login: Login | null = null;

  constructor(conn: Conn, since: number) {
    super();
    this.since = since;
    this.conn = conn;
    this.reader = loginReader(conn);
  }

  /** What the log calls it, once it has a number. */
  get about(): string {
    return describeVisitor(this.id, this.request, this.conn);
  }
}
