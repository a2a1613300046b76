/**
 * Taking the place of a running pooler (-R), of a PgBouncer as pgbouncer-before.ts has it; of one like this: its listening sockets come first, so that nobody is ever refused; then, while this
 * process serves, its connections as they come to rest there. Asked for over its console, through the Unix socket, as the user
 * that both run as; descriptors come by a socket of their own. What cannot be passed on it serves to the end, and it ends when
 * nothing is left.
 */
import { tmpdir } from 'node:os';
import { toHex } from '@sluice/wire';
import type { Config } from '../config/index.ts';
import { shownPath } from '../net/abstract-socket.ts';
import { closeDescriptor, DescriptorReceiver, descriptorsPass, type Parcel } from '../net/descriptors.ts';
import { unixPath } from '../net/dial.ts';
import { ConnectionEnded } from '../net/packet-reader.ts';
import { clientArrives, serverArrives } from '../pooling/arrivals.ts';
import { lookFor } from '../pooling/cancels.ts';
import { decodeParcel } from '../pooling/parcels.ts';
import type { Pooler } from '../pooling/pooler.ts';
import { readStray } from '../pooling/strays.ts';
import type { Before } from './before.ts';
import { type ConsoleAt, ConsoleLine } from './console-line.ts';
import type { InheritedListener } from './listeners.ts';
import { PgBouncerBefore } from './pgbouncer-before.ts';

/** Between two steps in which nothing came to rest. */
const WAIT_MS = { least: 5, most: 250, ask: 50 } as const;

/** What the old process says of a step: how many connections it has passed on, how many are left, how many process ids it has given out. */
type Step = readonly [moved: number, left: number, processIds: number];

/** The running pooler is asked through its Unix socket. Null: there is none. Rejects with an error that says why it would not. */
export async function succeed({ global }: Config): Promise<Before | null> {
  const { unixSocketDir: host, listenPort: port, pidfile } = global;
  if (host === '') return null;
  try {
    const line = await ConsoleLine.open({ host, port }).catch(nobodyThere);
    if (line === null) return null;
    return await begin(line, { host, port }, pidfile);
  } catch (error) {
    throw new Error(
      `cannot take over from the pooler at ${shownPath(unixPath(host, port))}: ${(error as Error).message}`,
    );
  }
}

async function begin(line: ConsoleLine, at: ConsoleAt, pidfile: string): Promise<Before> {
  // Before 1.13 it was a notice.
  const [version = 'PgBouncer'] = (await line.inTime(line.ask('SHOW VERSION'))) ?? [];
  if (version.startsWith('PgBouncer')) return PgBouncerBefore.begin(line, at, pidfile);
  const succeeding = new Succeeding(line, at.host.startsWith('/') ? at.host : tmpdir());
  try {
    await line.inTime(succeeding.begin());
    return succeeding;
  } catch (error) {
    succeeding.end();
    throw error;
  }
}

/** What a socket says that nobody listens on. */
function nobodyThere(error: NodeJS.ErrnoException): null {
  if (error.code === 'ENOENT' || error.code === 'ECONNREFUSED') return null;
  throw error;
}

class Succeeding implements Before {
  readonly listeners: InheritedListener[] = [];
  readonly #line: ConsoleLine;
  /** Null where descriptors cannot be passed: the old process just lets go of its sockets. */
  readonly #receiver: DescriptorReceiver | null;
  #requests = 0;

  constructor(line: ConsoleLine, folder: string) {
    this.#line = line;
    this.#receiver = descriptorsPass ? new DescriptorReceiver(folder) : null;
  }

  async begin(): Promise<void> {
    if (this.#receiver === null) {
      await this.#line.ask('SHUTDOWN HAND_OVER');
      this.end();
      return;
    }
    await this.#line.ask(`HAND_OVER "${this.#receiver.path}"`);
    for (let parcel = this.#receiver.receive(); parcel !== null; parcel = this.#receiver.receive()) {
      const content = decodeParcel(parcel.text);
      if (content.kind === 'listener') this.listeners.push({ ...content, fd: parcel.fd });
    }
  }

  async carryOn(pooler: Pooler): Promise<void> {
    const receiver = this.#receiver;
    if (receiver === null) return;
    const counts = { client: 0, server: 0 };
    pooler.predecessor = {
      isPgBouncer: false,
      cancel: async (processId, key) => {
        const answer = await this.#ask(`FORWARD_CANCEL "${processId} ${toHex(key)}"`).catch(() => null);
        return answer?.[0] !== 0;
      },
      carryOut: (command) => this.#carryOut(command),
    };
    try {
      for (let waitMs: number = WAIT_MS.least; ; ) {
        const answer = await this.#line.ask(`HAND_OVER "${receiver.path}"`);
        const [moved, left, processIds] = answer!.map(Number) as unknown as Step;
        pooler.processIds = Math.max(pooler.processIds, processIds);
        for (let parcel = receiver.receive(); parcel !== null; parcel = receiver.receive())
          this.#arrives(pooler, parcel, counts);
        for (const stray of answer![3]?.split(',') ?? []) if (stray !== '') void lookFor(pooler, ...readStray(stray));
        if (moved === 0 && left === 0) break;
        waitMs = moved > 0 ? WAIT_MS.least : Math.min(waitMs * 2, WAIT_MS.most);
        if (moved === 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
      }
      this.#line.tell('SHUTDOWN');
      pooler.log.info(`take-over finished: ${counts.client} clients and ${counts.server} servers`);
    } catch (error) {
      pooler.log.info(`take-over ended: ${(error as Error).message}`);
    } finally {
      pooler.predecessor = null;
      this.end();
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
  async #ask(command: string): Promise<readonly number[] | null> {
    return (await this.#line.ask(command))?.map(Number) ?? null;
  }

  end(): void {
    this.#receiver?.close();
    this.#line.close();
  }
}
