/**
 * Taking the place of a running PgBouncer (-R): its listening sockets come by SHOW FDS, so that nobody is ever refused; then it is told to
 * serve its clients to their end (SHUTDOWN WAIT_FOR_CLIENTS, 1.23 and up), and new ones come here. Its rows tell neither what its clients
 * have prepared nor whether they are in a transaction, so none is taken from it.
 *
 * Its Unix socket stays with it under another name, for cancel requests and commands; at its end PgBouncer removes the file of the usual
 * name, which is ours by then, so that is put back from a second name.
 */
import { existsSync, type FSWatcher, linkSync, mkdtempSync, renameSync, rmSync, watch, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { cancelRequest, HEADER_BYTES, lengthAt, parseDataRow, parseErrorFields, query } from '@sluice/wire';
import { closeDescriptor, DescriptorConnection, descriptorsPass } from '../net/descriptors.ts';
import { dial, unixPath } from '../net/dial.ts';
import { UNTIL_RENAMED } from '../net/listen.ts';
import type { Pooler } from '../pooling/pooler.ts';
import type { Before } from './before.ts';
import { CONSOLE_STARTUP, type ConsoleAt, ConsoleLine } from './console-line.ts';
import type { InheritedListener } from './listeners.ts';
import { isAlive, livingProcessIn } from './pid-file.ts';

/** So long nothing may come while the descriptors do. */
const SILENCE_MS = 5_000;
/** So long those who are logging in to it are waited for. */
const LOGINS_MS = 3_000;
/** Between two looks whether there are any. */
const LOGIN_LOOK_MS = 2;
/** Between two looks whether it still runs. */
const LOOK_MS = 100;
/** Of the folder that its socket has a second name in, beside the first. */
const FOLDER = '.b-XXXXXX';
/** Most of sun_path in sockaddr_un, but for its end. */
const PATH_BYTES = 107;
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
  readonly #pidfile: string;
  /** The file of its Unix socket. */
  readonly #path: string;
  #pid = 0;
  /** It will end by itself: until then this process leaves everything as it was. */
  #isTold = false;
  /** Where it is reached under the other name. */
  #moved!: ConsoleAt;

  /** Nothing has changed for it before `carryOn`. Closes the line. Rejects with an error that says why its place cannot be taken. */
  static async begin(line: ConsoleLine, at: ConsoleAt, pidfile: string): Promise<PgBouncerBefore> {
    const before = new PgBouncerBefore(at, pidfile);
    await before.#examine(line).finally(() => line.close());
    await before.#begin();
    return before;
  }

  private constructor(at: ConsoleAt, pidfile: string) {
    this.#pidfile = pidfile;
    this.#at = at;
    this.#path = unixPath(at.host, at.port);
  }

  async #examine(line: ConsoleLine): Promise<void> {
    if (!descriptorsPass)
      throw new Error(
        'it is a PgBouncer, and passing open sockets works on Linux only; stop it and start this without -R',
      );
    if (this.#path.startsWith('\0'))
      throw new Error(
        'it is a PgBouncer at an abstract socket, which two processes cannot share; stop it and start this without -R',
      );
    // A socket that systemd has opened is the first process's to the system.
    this.#pid = line.pid > 1 && isAlive(line.pid) ? line.pid : livingProcessIn(this.#pidfile);
    await line.inTime(mustBeActive(line));
    if (!isNewEnough(line.version))
      throw new Error(
        `it is a PgBouncer ${line.version.split('/')[0]}, which cannot be told to serve its clients to their end (${NEEDED.join('.')} and up can); stop it and start this without -R`,
      );
    if (this.#pid === 0)
      throw new Error('it is a PgBouncer whose process cannot be told; stop it and start this without -R');
    if (Buffer.byteLength(unixPath(join(this.#at.host, FOLDER), this.#at.port)) + UNTIL_RENAMED.length > PATH_BYTES)
      throw new Error('unix_socket_dir is too long for a second name of its socket; stop it and start this without -R');
  }

  async #begin(): Promise<void> {
    for (const { unix, ...listener } of await descriptorsOf(this.#path, this.#at.port)) {
      if (unix) closeDescriptor(listener.fd);
      this.listeners.push(unix ? { host: this.#path, port: this.#at.port, unix, fd: null } : { ...listener, unix });
    }
    this.#moved = this.#linked();
  }

  /** Its socket in a folder of its own beside it. */
  #linked(): ConsoleAt {
    const host = mkdtempSync(join(this.#at.host, FOLDER.replaceAll('X', '')));
    const path = unixPath(host, this.#at.port);
    linkSync(this.#path, path);
    process.once('exit', () => {
      if (!this.#isTold && isAlive(this.#pid)) this.#leaveAsItWas(path);
      rmSync(host, { recursive: true, force: true });
    });
    return { host, port: this.#at.port };
  }

  /** This process ends before it is told: its socket gets its name back, and the file its number. */
  #leaveAsItWas(path: string): void {
    try {
      renameSync(path, this.#path);
      if (this.#pidfile !== '') writeFileSync(this.#pidfile, `${this.#pid}\n`);
    } catch {
      // Its folder is gone.
    }
  }

  /** It refuses whoever is logging in when it is told: so a moment is looked for in which nobody is. */
  async #tell(reached: ConsoleAt): Promise<null> {
    const line = await ConsoleLine.open(reached);
    try {
      for (const begun = Date.now(); Date.now() - begun < LOGINS_MS; ) {
        const lists = await line.inTime(line.rows('SHOW LISTS'));
        if (lists.some(([list, items]) => list === 'login_clients' && items === '0')) break;
        await new Promise((resolve) => setTimeout(resolve, LOGIN_LOOK_MS));
      }
      this.#isTold = true;
      await line.inTime(line.ask('SHUTDOWN WAIT_FOR_CLIENTS'));
      return null;
    } finally {
      line.close();
    }
  }

  /** A PgBouncer that is ending takes no RESUME, unless it names a database. */
  async #carryOut(reached: ConsoleAt, command: string): Promise<string | null> {
    if (/^(?:pause|kill)$/i.test(command.trim()))
      return 'the PgBouncer before this one, which serves its last clients, could not be resumed; name a database, or wait until it has ended';
    if (/^resume$/i.test(command.trim())) return null;
    // One that has ended meanwhile serves nobody.
    return told(reached, command).catch((error: Error) => (isAlive(this.#pid) ? error.message : null));
  }

  async carryOn(pooler: Pooler): Promise<void> {
    const reached = this.#moved;
    const keeper = new FileKeeper(this.#path, join(reached.host, 'ours'), () => pooler.shutdown === 'none');
    pooler.predecessor = {
      isPgBouncer: true,
      // It does not tell, and its clients do not move.
      cancel: async (processId, key) => {
        await cancelThere(reached, processId, key).catch(() => {});
        return true;
      },
      carryOut: (command) => this.#carryOut(reached, command),
    };
    const failure = await this.#tell(reached).catch((error: Error) => error.message);
    if (failure === null)
      pooler.log.info('the PgBouncer before this one serves its clients until they leave; new ones come here');
    else pooler.log.error(`the PgBouncer before this one may go on as it was: ${failure}; end it by TERM`);
    while (isAlive(this.#pid)) {
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS).unref());
      keeper.look();
    }
    pooler.predecessor = null;
    keeper.close();
    rmSync(reached.host, { recursive: true, force: true });
    pooler.log.info('take-over finished: the PgBouncer before this one has ended');
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
    try {
      linkSync(path, second);
    } catch {
      // It was ending when its place was taken, and has removed the file just now.
    }
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
    try {
      linkSync(this.#second, this.#path);
    } catch {
      // Somebody else has been faster.
    }
  }

  close(): void {
    this.#watcher?.close();
    this.look();
  }
}

/** Rejects where it, or a database of its, is paused or disabled: it takes no bare RESUME when it is ending, and here nothing would be. */
async function mustBeActive(line: ConsoleLine): Promise<void> {
  // The oldest ones have no such view, and are refused for their age.
  const state = await line.rows('SHOW STATE').catch(() => []);
  if (state.some(([key, value]) => key === 'active' && value !== 'yes'))
    throw new Error('it is paused, and could not be resumed when its place is taken; RESUME it first');
  const [names, ...databases] = await line.rowsWithNames('SHOW DATABASES');
  for (const word of ['paused', 'disabled']) {
    const column = names!.indexOf(word);
    const found = databases.find((cells) => cells[column] === '1');
    if (found !== undefined)
      throw new Error(
        `its database "${found[0]}" is ${word}, and would not be here; ${word === 'paused' ? 'RESUME' : 'ENABLE'} it first`,
      );
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
