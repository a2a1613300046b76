/** The console of a running pooler, asked through its Unix socket as the user that both run as. Commands follow one another. */
import {
  parseDataRow,
  parseErrorFields,
  parseParameterStatus,
  parseRowDescription,
  query,
  startupMessage,
  terminate,
} from '@sluice/wire';
import type { Conn } from '../net/conn.ts';
import { dial } from '../net/dial.ts';
import { type Packet, PacketReader } from '../net/packet-reader.ts';
import { notePeer } from '../net/peer-cred.ts';

/** For the connection, and for the first answer. */
const ANSWER_MS = 5_000;
const MESSAGE_BYTES = 65_536;

export const CONSOLE_STARTUP = startupMessage({
  major: 3,
  minor: 0,
  params: { user: 'pgbouncer', database: 'pgbouncer' },
});

/** A pooler's Unix socket, by its folder and port. */
export interface ConsoleAt {
  readonly host: string;
  readonly port: number;
}

export class ConsoleLine {
  /** "1.25.2/bouncer". */
  version = '';
  readonly #conn: Conn;
  readonly #reader: PacketReader;
  /** Of the columns of the last answer. */
  #names: readonly string[] = [];
  #last: Promise<unknown> = Promise.resolve();

  /** Rejects with the system's error when nobody listens there, or with one that says why there is no console. */
  static async open({ host, port }: ConsoleAt): Promise<ConsoleLine> {
    const line = new ConsoleLine(await dial({ host, port, timeoutMs: ANSWER_MS }).conn);
    try {
      await line.inTime(line.#login());
      return line;
    } catch (error) {
      line.close();
      throw error;
    }
  }

  private constructor(conn: Conn) {
    this.#conn = conn;
    notePeer(conn);
    this.#reader = new PacketReader(conn, MESSAGE_BYTES);
    conn.resume();
  }

  /** The other process's id; 0: the system does not tell. */
  get pid(): number {
    return this.#conn.remote.pid ?? 0;
  }

  /** What `answer` brings, unless it takes too long: then this is closed. */
  inTime<T>(answer: Promise<T>): Promise<T> {
    const late = () => this.#conn.destroy(new Error(`no answer within ${ANSWER_MS / 1000} s`));
    const timer = setTimeout(late, ANSWER_MS);
    return answer.finally(() => clearTimeout(timer));
  }

  #login(): Promise<unknown> {
    this.#send(CONSOLE_STARTUP);
    return this.#ready();
  }

  /** Resolves with the cells of the answer's last row, if it has one; rejects with the other side's error, or ConnectionEnded. */
  async ask(command: string): Promise<readonly string[] | null> {
    return (await this.rows(command)).at(-1) ?? null;
  }

  /** The same with all its rows. */
  rows(command: string): Promise<readonly (readonly string[])[]> {
    const answer = this.#last.then(() => {
      this.#send(query(command));
      return this.#ready();
    });
    this.#last = answer.catch(() => {});
    return answer;
  }

  /** The same, with the names of the columns before them. */
  async rowsWithNames(command: string): Promise<readonly (readonly string[])[]> {
    const rows = await this.rows(command);
    return [this.#names, ...rows];
  }

  /** Sends a command whose answer nobody waits for. */
  tell(command: string): void {
    this.#send(query(command));
  }

  close(): void {
    this.#send(terminate());
    this.#conn.end();
  }

  #send(message: Uint8Array): void {
    this.#conn.write(message, 0, message.length);
  }

  async #next(): Promise<Packet> {
    return this.#reader.next();
  }

  /** Reads up to the next ReadyForQuery; rejects with the error that comes before it. */
  async #ready(): Promise<readonly (readonly string[])[]> {
    let failure: Error | null = null;
    for (const rows: string[][] = []; ; ) {
      const { type, body } = await this.#next().catch((error) => Promise.reject(failure ?? error));
      if (type === 0x45) failure = new Error(parseErrorFields(body, 0, body.length).message);
      if (type === 0x44)
        rows.push(parseDataRow(body, 0, body.length).map((cell) => Buffer.from(cell ?? []).toString()));
      if (type === 0x54) this.#names = parseRowDescription(body, 0, body.length).map(({ name }) => name);
      if (type === 0x53) this.#note(body);
      if (type === 0x52 && Buffer.from(body).readInt32BE() !== 0)
        throw new Error('it asks for a password: run this as the user that it runs as');
      if (type === 0x5a && failure !== null) throw failure;
      if (type === 0x5a) return rows;
    }
  }

  #note(body: Uint8Array): void {
    const { name, value } = parseParameterStatus(body, 0, body.length);
    if (name === 'server_version') this.version = value;
  }
}
