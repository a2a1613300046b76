/**
 * Taking the place of a running pooler (-R): its listening sockets come first, so that nobody is ever refused; then, while this
 * process serves, its connections as they come to rest there. Asked for over its console, through the Unix socket, as the user
 * that both run as; descriptors come by a socket of their own. What cannot be passed on it serves to the end, and it ends when
 * nothing is left.
 */
import { tmpdir } from 'node:os';
import { parseDataRow, parseErrorFields, query, startupMessage, terminate, toHex } from '@sluice/wire';
import type { Config } from '../config/index.ts';
import { shownPath } from '../net/abstract-socket.ts';
import type { Conn } from '../net/conn.ts';
import { closeDescriptor, DescriptorReceiver, descriptorsPass, type Parcel } from '../net/descriptors.ts';
import { dial, unixPath } from '../net/dial.ts';
import { ConnectionEnded, PacketReader } from '../net/packet-reader.ts';
import { clientArrives, serverArrives } from '../pooling/arrivals.ts';
import { decodeParcel } from '../pooling/parcels.ts';
import type { Pooler } from '../pooling/pooler.ts';
import type { InheritedListener } from './listeners.ts';

/** For the connection, and for the first answer. */
const ANSWER_MS = 5_000;
const MESSAGE_BYTES = 65_536;
/** Between two steps in which nothing came to rest. */
const WAIT_MS = { least: 5, most: 250, ask: 50 } as const;

/** What the old process says of a step: how many connections it has passed on, how many are left, how many process ids it has given out. */
type Step = readonly [moved: number, left: number, processIds: number];

/** The running pooler is asked through its Unix socket. Null: there is none. Rejects with an error that says why it would not. */
export async function succeed({ global }: Config): Promise<Succeeding | null> {
  const { unixSocketDir: host, listenPort: port } = global;
  if (host === '') return null;
  try {
    const conn = await dial({ host, port, timeoutMs: ANSWER_MS }).conn.catch(nobodyThere);
    if (conn === null) return null;
    const late = () => conn.destroy(new Error(`no answer within ${ANSWER_MS / 1000} s`));
    const timer = setTimeout(late, ANSWER_MS);
    return await Succeeding.begin(conn, host.startsWith('/') ? host : tmpdir()).finally(() => clearTimeout(timer));
  } catch (error) {
    throw new Error(
      `cannot take over from the pooler at ${shownPath(unixPath(host, port))}: ${(error as Error).message}`,
    );
  }
}

/** What a socket says that nobody listens on. */
function nobodyThere(error: NodeJS.ErrnoException): null {
  if (error.code === 'ENOENT' || error.code === 'ECONNREFUSED') return null;
  throw error;
}

export class Succeeding {
  readonly listeners: InheritedListener[] = [];
  readonly #conn: Conn;
  readonly #reader: PacketReader;
  /** Null where descriptors cannot be passed: the old process just lets go of its sockets. */
  readonly #receiver: DescriptorReceiver | null;
  #requests = 0;
  /** Commands follow one another. */
  #last: Promise<unknown> = Promise.resolve();

  static async begin(conn: Conn, folder: string): Promise<Succeeding> {
    const succeeding = new Succeeding(conn, descriptorsPass ? new DescriptorReceiver(folder) : null);
    try {
      await succeeding.#begin();
      return succeeding;
    } catch (error) {
      succeeding.#end();
      throw error;
    }
  }

  private constructor(conn: Conn, receiver: DescriptorReceiver | null) {
    this.#conn = conn;
    this.#receiver = receiver;
    this.#reader = new PacketReader(conn, MESSAGE_BYTES);
    conn.resume();
  }

  async #begin(): Promise<void> {
    this.#send(startupMessage({ major: 3, minor: 0, params: { user: 'pgbouncer', database: 'pgbouncer' } }));
    await this.#ready();
    if (this.#receiver === null) {
      await this.#ask('SHUTDOWN HAND_OVER');
      this.#end();
      return;
    }
    await this.#ask(`HAND_OVER "${this.#receiver.path}"`);
    for (let parcel = this.#receiver.receive(); parcel !== null; parcel = this.#receiver.receive()) {
      const content = decodeParcel(parcel.text);
      if (content.kind === 'listener') this.listeners.push({ ...content, fd: parcel.fd });
    }
  }

  /** Takes the connections over, now that this process serves. Resolves when the old one has none left. Never rejects. */
  async carryOn(pooler: Pooler): Promise<void> {
    const receiver = this.#receiver;
    if (receiver === null) return;
    const counts = { client: 0, server: 0 };
    pooler.predecessor = {
      cancel: (processId, key) => {
        this.#ask(`FORWARD_CANCEL "${processId} ${toHex(key)}"`).catch(() => {});
      },
      carryOut: (command) => this.#carryOut(command),
    };
    try {
      for (let waitMs: number = WAIT_MS.least; ; ) {
        const [moved, left, processIds] = (await this.#ask(`HAND_OVER "${receiver.path}"`)) as Step;
        pooler.processIds = Math.max(pooler.processIds, processIds);
        for (let parcel = receiver.receive(); parcel !== null; parcel = receiver.receive())
          this.#arrives(pooler, parcel, counts);
        if (moved === 0 && left === 0) break;
        waitMs = moved > 0 ? WAIT_MS.least : Math.min(waitMs * 2, WAIT_MS.most);
        if (moved === 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
      }
      this.#send(query('SHUTDOWN'));
      pooler.log.info(`take-over finished: ${counts.client} clients and ${counts.server} servers`);
    } catch (error) {
      pooler.log.info(`take-over ended: ${(error as Error).message}`);
    } finally {
      pooler.predecessor = null;
      this.#end();
    }
  }

  #arrives(pooler: Pooler, { text, fd }: Parcel, counts: Record<'client' | 'server', number>): void {
    try {
      const content = decodeParcel(text);
      if (content.kind === 'client') clientArrives(pooler, content, fd);
      else if (content.kind === 'server') serverArrives(pooler, content, fd);
      else closeDescriptor(fd);
      if (content.kind !== 'listener') counts[content.kind]++;
    } catch (error) {
      pooler.log.error(`a connection could not be taken over: ${(error as Error).message}`);
    }
  }

  /** Begins a command there and asks until it has ended: steps and cancel requests go on meanwhile. */
  async #carryOut(command: string): Promise<string | null> {
    const request = `CARRY_OUT "${process.pid}.${++this.#requests} ${Buffer.from(command).toString('hex')}"`;
    try {
      while ((await this.#ask(request))?.[0] === 0) await new Promise((resolve) => setTimeout(resolve, WAIT_MS.ask));
      return null;
    } catch (error) {
      // One that has ended meanwhile serves nobody.
      return error instanceof ConnectionEnded ? null : (error as Error).message;
    }
  }

  /** Resolves with the numbers in the row of the answer, if it has one. */
  #ask(command: string): Promise<readonly number[] | null> {
    const answer = this.#last.then(() => {
      this.#send(query(command));
      return this.#ready();
    });
    this.#last = answer.catch(() => {});
    return answer;
  }

  #send(message: Uint8Array): void {
    this.#conn.write(message, 0, message.length);
  }

  /** Reads up to the next ReadyForQuery; rejects with the error that comes before it. */
  async #ready(): Promise<readonly number[] | null> {
    let failure: Error | null = null;
    for (let row: readonly number[] | null = null; ; ) {
      const { type, body } = await this.#reader.next().catch((error) => Promise.reject(failure ?? error));
      if (type === 0x45) failure = new Error(parseErrorFields(body, 0, body.length).message);
      if (type === 0x44) row = parseDataRow(body, 0, body.length).map((cell) => Number(Buffer.from(cell!).toString()));
      if (type === 0x5a && failure !== null) throw failure;
      if (type === 0x5a) return row;
    }
  }

  #end(): void {
    this.#receiver?.close();
    this.#send(terminate());
    this.#conn.end();
  }
}
