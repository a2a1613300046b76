/**
 * A client of the console: reads its messages one after the other, simple and extended protocol, and answers each. Not on
 * the path of queries: linear and asynchronous. What the commands do is commands.ts, what SHOW shows is views.ts.
 */
import {
  BIND_COMPLETE,
  CLOSE_COMPLETE,
  commandComplete,
  concat,
  EMPTY_QUERY,
  errorResponse,
  NO_DATA,
  noticeResponse,
  PARSE_COMPLETE,
  ProtocolError,
  parameterDescription,
  parseBind,
  parseExecute,
  parseParse,
  parseQuery,
  parseTarget,
  readyForQuery,
  rowDescription,
} from '@sluice/wire';
import type { Conn } from '../net/conn.ts';
import { ConnectionEnded, type Packet, PacketReader } from '../net/packet-reader.ts';
import type { ConsoleClient } from '../pooling/desk.ts';
import { OperatorError } from '../pooling/operator.ts';
import type { Console } from './console.ts';
import type { Answer } from './interpreter.ts';
import { passRows } from './passing.ts';
import { tableMessages } from './table.ts';

/** Commands are short; a longer message is a mistake or an attack. */
const MESSAGE_BYTES = 65_536;
/** Statements and portals by name that one console may have. */
const MAX_NAMES = 1_000;
const IDLE = 0x49;

/** What the extended protocol keeps by name. */
interface Prepared {
  readonly sql: string;
}

export class ConsoleSession {
  readonly #console: Console;
  readonly #conn: Conn;
  readonly #client: Pick<ConsoleClient, 'access' | 'own' | 'name'>;
  readonly #statements = new Map<string, Prepared>();
  readonly #portals = new Map<string, Prepared>();
  /** After an error in the extended protocol everything up to Sync is skipped. */
  #skipping = false;
  requestedAt = new Date();
  /** It was told why it ends. */
  wasTold = false;
  readonly #ended: Promise<string>;
  #resolveEnd!: (reason: string) => void;

  constructor(console: Console, conn: Conn, client: Pick<ConsoleClient, 'access' | 'own' | 'name'>) {
    this.#console = console;
    this.#conn = conn;
    this.#client = client;
    this.#ended = new Promise((resolve) => {
      this.#resolveEnd = resolve;
    });
  }

  /** Serves until the client leaves; resolves with the reason. Never rejects. */
  async serve(rest: Buffer): Promise<string> {
    const reader = new PacketReader(this.#conn, MESSAGE_BYTES);
    if (rest.length > 0) reader.onData(rest, 0, rest.length);
    this.#conn.resume();
    // Who is sent away in the middle of a command, which may wait for long, does not wait for its answer.
    return Promise.race([this.#ended, this.#converse(reader)]);
  }

  async #converse(reader: PacketReader): Promise<string> {
    try {
      for (;;) {
        const packet = await reader.next();
        // Nothing of what it had sent is done any more.
        if (this.wasTold) return 'it was ended';
        this.requestedAt = new Date();
        if (packet.type === 0x58) {
          this.#conn.end();
          return 'client close request';
        }
        if (!(await this.#handle(packet))) return 'bad packet';
      }
    } catch (error) {
      if (error instanceof ConnectionEnded) return 'client unexpected eof';
      const reason = error instanceof ProtocolError ? `bad packet: ${error.message}` : `bug: ${(error as Error).stack}`;
      this.end(reason);
      return reason;
    }
  }

  /** Says why, and closes. */
  end(reason: string): void {
    if (this.wasTold) return;
    this.wasTold = true;
    this.#resolveEnd(reason);
    this.#send(errorResponse({ severity: 'FATAL', code: '08P01', message: reason }));
    this.#conn.end();
  }

  async #handle({ type, body }: Packet): Promise<boolean> {
    if (this.#skipping && type !== 0x53) return true;
    const kind = String.fromCharCode(type);
    if (kind === 'Q') {
      await this.#query(parseQuery(body, 0, body.length));
      return true;
    }
    try {
      return await this.#extended(kind, body);
    } catch (error) {
      if (error instanceof ProtocolError || error instanceof ConnectionEnded) throw error;
      this.#fail(error as Error);
      this.#skipping = true;
      return true;
    }
  }

  async #query(sql: string): Promise<void> {
    try {
      const answer = await this.#console.run(sql, this.#client);
      if (answer.kind === 'silent') return;
      await this.#answer(answer, true);
    } catch (error) {
      this.#fail(error as Error);
    }
    this.#send(readyForQuery(IDLE));
  }

  async #extended(kind: string, body: Uint8Array): Promise<boolean> {
    switch (kind) {
      case 'P': {
        const { name, sql } = parseParse(body, 0, body.length);
        this.#remember(this.#statements, name, { sql });
        this.#send(PARSE_COMPLETE);
        return true;
      }
      case 'B': {
        const { portal, statement, values } = parseBind(body, 0, body.length);
        if (values.length > 0)
          throw new OperatorError('the console takes no parameters; write the value into the command');
        this.#remember(this.#portals, portal, this.#find(this.#statements, statement, 'prepared statement'));
        this.#send(BIND_COMPLETE);
        return true;
      }
      case 'D':
        this.#describe(parseTarget(body, 0, body.length));
        return true;
      case 'E': {
        const { portal } = parseExecute(body, 0, body.length);
        const answer = await this.#console.run(this.#find(this.#portals, portal, 'portal').sql, this.#client);
        if (answer.kind !== 'silent') await this.#answer(answer, false);
        return true;
      }
      case 'C': {
        const { target, name } = parseTarget(body, 0, body.length);
        (target === 'S' ? this.#statements : this.#portals).delete(name);
        this.#send(CLOSE_COMPLETE);
        return true;
      }
      case 'H':
        return true;
      case 'S':
        this.#skipping = false;
        this.#portals.clear();
        this.#send(readyForQuery(IDLE));
        return true;
      default:
        this.#fail(new OperatorError(`unsupported packet type for admin console: ${kind.charCodeAt(0)}`));
        this.end('bad packet');
        return false;
    }
  }

  #describe({ target, name }: ReturnType<typeof parseTarget>): void {
    const prepared =
      target === 'S'
        ? this.#find(this.#statements, name, 'prepared statement')
        : this.#find(this.#portals, name, 'portal');
    const columns = this.#console.columnsOf(prepared.sql);
    if (target === 'S') this.#send(parameterDescription([]));
    this.#send(columns === null ? NO_DATA : rowDescription(columns));
  }

  #remember(names: Map<string, Prepared>, name: string, prepared: Prepared): void {
    if (names.size >= MAX_NAMES && !names.has(name)) throw new OperatorError(`more than ${MAX_NAMES} names at once`);
    names.set(name, prepared);
  }

  #find(names: Map<string, Prepared>, name: string, what: string): Prepared {
    const found = names.get(name);
    if (found === undefined) throw new OperatorError(`${what} "${name}" does not exist`);
    return found;
  }

  async #answer(answer: Exclude<Answer, { kind: 'silent' }>, withHead: boolean): Promise<void> {
    if (answer.kind === 'empty') {
      this.#send(EMPTY_QUERY);
      return;
    }
    const messages = answer.notices.map(({ message, detail }) =>
      noticeResponse({ severity: 'NOTICE', code: '00000', message, detail }),
    );
    const { table } = answer;
    if (table?.carries !== undefined) {
      this.#send(concat(...messages.splice(0), ...tableMessages({ ...table, rows: [] }, withHead)));
      await passRows(this.#conn, table.rows, table.carries, (carried) => this.#console.passedOn(carried));
    } else if (table !== null) messages.push(...tableMessages(table, withHead));
    this.#send(concat(...messages, commandComplete(answer.tag)));
  }

  #fail(error: Error): void {
    const { message } = error;
    const code = (error as { sqlState?: string }).sqlState ?? '08P01';
    this.#console.report(error, this.#client);
    this.#send(errorResponse({ severity: 'ERROR', code, message }));
  }

  #send(message: Uint8Array): void {
    this.#conn.write(message, 0, message.length);
  }
}
