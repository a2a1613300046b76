/**
 * Taking the place of a running PgBouncer (-R): its listening sockets come by SHOW FDS, so that nobody is ever refused; then it is told to
 * serve its clients to their end (SHUTDOWN WAIT_FOR_CLIENTS, 1.23 and up), and new ones come here. Its rows tell neither what its clients
 * have prepared nor whether they are in a transaction, so none is taken from it.
 *
 * Its Unix socket stays with it under another name, for cancel requests and commands; at its end PgBouncer removes the file of the usual
 * name, which is ours by then, so that is put back from a second name.
 */
import { existsSync, type FSWatcher, linkSync, mkdtempSync, rmSync, watch } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { cancelRequest, HEADER_BYTES, lengthAt, parseDataRow, parseErrorFields, query } from '@sluice/wire';
import { HANDSHAKE_MS } from '../net/closing-time.ts';
import { closeDescriptor, DescriptorConnection, descriptorsPass } from '../net/descriptors.ts';
import { dial, unixPath } from '../net/dial.ts';
import { dropHandshakes, takeHandshakes } from '../net/syn-filter.ts';
import type { Pooler } from '../pooling/pooler.ts';
import type { Before } from './before.ts';
import { CONSOLE_STARTUP, type ConsoleAt, ConsoleLine } from './console-line.ts';
import type { InheritedListener } from './listeners.ts';

/** So long nothing may come while the descriptors do. */
const SILENCE_MS = 5_000;
/** So long those who are logging in to it are waited for. */
const LOGINS_MS = 3_000;
/** Between two looks whether it still runs. */
const LOOK_MS = 100;
/** The first version that can wait for its clients. */
const NEEDED = [1, 23] as const;

const DATA_ROW = 0x44;
const ERROR_RESPONSE = 0x45;
const READY = 0x5a;
/** Columns of SHOW FDS. */
const [TASK, ADDRESS, PORT] = [1, 4, 5];

export class PgBouncerBefore implements Before {
  readonly listeners: InheritedListener[] = [];
  readonly #at: ConsoleAt;
  /** The file of its Unix socket. */
  readonly #path: string;
  #pid = 0;
  /** Where it is reached under the other name. */
  #moved!: ConsoleAt;

  /** Nothing has changed for it before `carryOn`. Rejects with an error that says why its place cannot be taken. */
  static async begin(at: ConsoleAt): Promise<PgBouncerBefore> {
    const before = new PgBouncerBefore(at);
    await before.#begin();
    return before;
  }

  private constructor(at: ConsoleAt) {
    this.#at = at;
    this.#path = unixPath(at.host, at.port);
  }

  async #begin(): Promise<void> {
    if (!descriptorsPass)
      throw new Error(
        'it is a PgBouncer, and passing open sockets works on Linux only; stop it and start this without -R',
      );
    if (this.#path.startsWith('\0'))
      throw new Error(
        'it is a PgBouncer at an abstract socket, which two processes cannot share; stop it and start this without -R',
      );
    const line = await ConsoleLine.open(this.#at);
    this.#pid = line.pid;
    const active = await line
      .inTime(line.rows('SHOW STATE'))
      .then((rows) => rows.find(([key]) => key === 'active')?.[1])
      .catch(() => 'yes'); // an old one, which is refused below
    line.close();
    if (active !== 'yes')
      throw new Error('it is paused, and could not be resumed when its place is taken; RESUME it first');
    if (!isNewEnough(line.version))
      throw new Error(
        `it is a PgBouncer ${line.version.split('/')[0]}, which cannot be told to serve its clients to their end (${NEEDED.join('.')} and up can); stop it and start this without -R`,
      );
    for (const { unix, ...listener } of await descriptorsOf(this.#path, this.#at.port)) {
      if (unix) closeDescriptor(listener.fd);
      this.listeners.push(unix ? { host: this.#path, port: this.#at.port, unix, fd: null } : { ...listener, unix });
    }
    this.#moved = this.#linked();
  }

  /** Its socket in a folder of its own beside it. */
  #linked(): ConsoleAt {
    const host = mkdtempSync(join(this.#at.host, '.before-'));
    linkSync(this.#path, unixPath(host, this.#at.port));
    process.once('exit', () => rmSync(host, { recursive: true, force: true }));
    return { host, port: this.#at.port };
  }

  get #isRunning(): boolean {
    try {
      return this.#pid > 0 && process.kill(this.#pid, 0);
    } catch {
      return false;
    }
  }

  /** It would refuse who is logging in when it is told: so there is nobody, as far as that can be had. */
  async #wait(reached: ConsoleAt): Promise<null> {
    const line = await ConsoleLine.open(reached);
    const sockets = this.listeners.flatMap(({ fd, unix }) => (fd === null || unix ? [] : [fd]));
    try {
      for (const fd of sockets) dropHandshakes(fd);
      const begun = Date.now();
      for (let isQuiet = false; !isQuiet && Date.now() - begun < LOGINS_MS; ) {
        await new Promise((resolve) => setTimeout(resolve, HANDSHAKE_MS));
        isQuiet = (await line.rows('SHOW LISTS')).some(([list, items]) => list === 'login_clients' && items === '0');
      }
      await line.ask('SHUTDOWN WAIT_FOR_CLIENTS');
      return null;
    } finally {
      for (const fd of sockets) takeHandshakes(fd);
      line.close();
    }
  }

  /** A PgBouncer that is ending takes no RESUME, unless it names a database. */
  async #carryOut(reached: ConsoleAt, command: string): Promise<string | null> {
    if (/^(?:pause|kill)$/i.test(command.trim()))
      return 'the PgBouncer before this one, which serves its last clients, could not be resumed; name a database, or wait until it has ended';
    if (/^resume$/i.test(command.trim())) return null;
    // One that has ended meanwhile serves nobody.
    return told(reached, command).catch((error: Error) => (this.#isRunning ? error.message : null));
  }

  async carryOn(pooler: Pooler): Promise<void> {
    const { log } = pooler;
    const reached = this.#moved;
    const isOurs = () => pooler.shutdown === 'none';
    const keeper = new FileKeeper(this.#path, join(reached.host, 'ours'), isOurs);
    pooler.predecessor = {
      cancel: (processId, key) => {
        void cancelThere(reached, processId, key).catch(() => {});
      },
      carryOut: (command) => this.#carryOut(reached, command),
    };
    const failure = await this.#wait(reached).catch((error: Error) => error.message);
    if (failure === null)
      log.info('the PgBouncer before this one serves its clients until they leave; new ones come here');
    else log.error(`the PgBouncer before this one goes on as it was: ${failure}; end it by TERM`);
    while (this.#isRunning) {
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS).unref());
      keeper.look();
    }
    pooler.predecessor = null;
    keeper.close();
    rmSync(reached.host, { recursive: true, force: true });
    log.info('take-over finished: the PgBouncer before this one has ended');
  }
}

/** Puts a file back from its second name when somebody removes it, as long as it is wanted. */
class FileKeeper {
  readonly #path: string;
  readonly #second: string;
  readonly #isWanted: () => boolean;
  readonly #watcher: FSWatcher | null;

  constructor(path: string, second: string, isWanted: () => boolean) {
    this.#path = path;
    this.#second = second;
    this.#isWanted = isWanted;
    linkSync(path, second);
    this.#watcher = this.#watched();
  }

  /** Null: the system watches nothing more. */
  #watched(): FSWatcher | null {
    try {
      const watcher = watch(dirname(this.#path), { persistent: false }, (_event, name) => {
        if (name === basename(this.#path)) this.look();
      });
      return watcher.on('error', () => {});
    } catch {
      return null;
    }
  }

  look(): void {
    if (!this.#isWanted() || existsSync(this.#path) || !existsSync(this.#second)) return;
    linkSync(this.#second, this.#path);
  }

  close(): void {
    this.#watcher?.close();
    this.look();
  }
}

function isNewEnough(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map((part) => Number.parseInt(part, 10));
  return major > NEEDED[0] || (major === NEEDED[0] && minor >= NEEDED[1]);
}

/** Resolves with null when it is done. */
async function told(at: ConsoleAt, command: string): Promise<null> {
  const line = await ConsoleLine.open(at);
  try {
    await line.ask(command);
    return null;
  } finally {
    line.close();
  }
}

async function cancelThere({ host, port }: ConsoleAt, processId: number, key: Uint8Array): Promise<void> {
  const conn = await dial({ host, port, timeoutMs: SILENCE_MS }).conn;
  const request = cancelRequest(processId, key);
  conn.write(request, 0, request.length);
  // It forgets a request whose sender has gone, and closes when it has passed it on.
  setTimeout(() => conn.destroy(), SILENCE_MS).unref();
  conn.resume();
}

type Descriptor = { host: string; port: number; unix: boolean; fd: number };

/** The listening sockets among what SHOW FDS passes on; all others are closed here at once. */
async function descriptorsOf(path: string, port: number): Promise<Descriptor[]> {
  const found: Descriptor[] = [];
  const waiting: number[] = [];
  const connection = new DescriptorConnection(path);
  try {
    connection.send(CONSOLE_STARTUP);
    let bytes = Buffer.alloc(0);
    let readies = 0;
    for (let silent = Date.now(); ; ) {
      const received = connection.receive();
      if (received === null) {
        if (Date.now() - silent > SILENCE_MS) throw new Error(`no answer within ${SILENCE_MS / 1000} s`);
        await new Promise((resolve) => setTimeout(resolve, 1));
        continue;
      }
      silent = Date.now();
      if (received.fd !== null) waiting.push(received.fd);
      bytes = Buffer.concat([bytes, received.data]);
      for (
        let size: number;
        bytes.length >= HEADER_BYTES && bytes.length >= (size = lengthAt(bytes, 0) + 1);
        bytes = bytes.subarray(size)
      ) {
        const type = bytes[0];
        if (type === ERROR_RESPONSE) throw new Error(parseErrorFields(bytes, HEADER_BYTES, size).message);
        if (type === DATA_ROW) {
          const fd = waiting.shift();
          if (fd === undefined)
            throw new Error('SHOW FDS came without descriptors: run this as the user that it runs as');
          const cells = parseDataRow(bytes, HEADER_BYTES, size).map((cell) => Buffer.from(cell ?? []).toString());
          if (cells[TASK] !== 'pooler') closeDescriptor(fd);
          else
            found.push({
              host: cells[ADDRESS]!,
              port: Number(cells[PORT]) || port,
              unix: cells[ADDRESS] === 'unix',
              fd,
            });
        }
        if (type === READY && ++readies === 2) return found;
        if (type === READY) connection.send(query('SHOW FDS'));
      }
    }
  } catch (error) {
    for (const { fd } of found) closeDescriptor(fd);
    throw error;
  } finally {
    for (const fd of waiting) closeDescriptor(fd);
    connection.close();
  }
}
