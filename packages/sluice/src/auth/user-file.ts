/**
 * auth_file, read again when it has changed: looked at with a login, at most once a second, and never in the way of the loop.
 * A file that cannot be read, or is being written, changes nothing. Opens no files itself: it is handed who does.
 */
import { parseSecret, type Secret } from '@sluice/wire';
import { parseUserlist } from '../config/index.ts';

export interface Stamp {
  /** Differs when the file does. */
  readonly of: string;
  /** How long ago it was last written to. */
  readonly ageMs: number;
}

export interface UserFilePort {
  /** Rejects when there is no such file. */
  stamp(path: string): Promise<Stamp>;
  read(path: string): Promise<string>;
  /** Milliseconds of a clock that only goes forward. */
  now(): number;
  wait(ms: number): Promise<unknown>;
  changed(users: ReadonlyMap<string, Secret>): void;
  warn(message: string): void;
  error(message: string): void;
}

const LOOK_EVERY_MS = 1_000;
/** Who rewrites a file in place leaves it empty, or in halves, for a moment: it is read when nobody has written so long. */
const SETTLED_MS = 100;
/** So long is waited for that at most. */
const SETTLING_MS = 1_000;
/** A file that has lost all its users is believed when it has been so for this long. */
const EMPTY_MS = 5_000;

export class UserFile {
  readonly #port: UserFilePort;
  #path = '';
  #stamp: string | null = null;
  #lookedAt = Number.NEGATIVE_INFINITY;
  #looking: Promise<void> | null = null;
  #failing = false;
  /** What is wrong with it and was said. */
  #said = '';
  /** How many it had; before the first look some, which the start has read. */
  #users = 1;

  constructor(port: UserFilePort) {
    this.#port = port;
  }

  /** Somebody else has read it, and said what is wrong; null: that it cannot be read. */
  noted(problems: readonly string[] | null): void {
    this.#failing = problems === null;
    this.#said = problems?.join('\n') ?? '';
  }

  /** Resolves when the users are those of the file as it was a second ago at most; null: they are. Never rejects. */
  refresh(path: string): Promise<void> | null {
    if (path !== this.#path) {
      this.#path = path;
      this.#stamp = null;
      this.#lookedAt = Number.NEGATIVE_INFINITY;
    }
    if (path === '') return null;
    if (this.#looking === null) {
      if (this.#port.now() - this.#lookedAt < LOOK_EVERY_MS) return null;
      this.#looking = this.#look(path).finally(() => {
        this.#lookedAt = this.#port.now();
        this.#looking = null;
      });
    }
    return this.#looking;
  }

  async #look(path: string): Promise<void> {
    const port = this.#port;
    try {
      const stamp = await this.#settled(path);
      if (stamp.of === this.#stamp) return;
      const { users, problems } = readUsers(await port.read(path), path);
      if (path !== this.#path) return;
      // Written meanwhile, or emptied to be written: the next look will tell.
      if ((await port.stamp(path)).of !== stamp.of) return;
      if (users.size === 0 && this.#users > 0 && stamp.ageMs < EMPTY_MS) return;
      this.#stamp = stamp.of;
      this.#users = users.size;
      this.#failing = false;
      if (problems.join('\n') !== this.#said) for (const problem of problems) port.warn(problem);
      this.#said = problems.join('\n');
      port.changed(users);
    } catch (error) {
      if (!this.#failing) port.error(`could not open auth_file ${path}: ${(error as Error).message}`);
      this.#failing = true;
    }
  }

  /** What it is when nobody has just written to it. */
  async #settled(path: string): Promise<Stamp> {
    const port = this.#port;
    for (const begun = port.now(); ; ) {
      const stamp = await port.stamp(path);
      const young = stamp.of !== this.#stamp && stamp.ageMs < SETTLED_MS;
      if (!young || port.now() - begun >= SETTLING_MS) return stamp;
      await port.wait(SETTLED_MS - Math.max(0, stamp.ageMs));
    }
  }
}

/** The users of auth_file's text; lines that make no sense are left out, and named with their place. */
export function readUsers(text: string, path: string): { users: Map<string, Secret>; problems: string[] } {
  const { users, problems } = parseUserlist(text, path);
  const secrets = new Map<string, Secret>();
  for (const { name, secret } of users.values()) secrets.set(name, parseSecret(secret));
  return { users: secrets, problems: problems.map(({ file, line, message }) => `${file}:${line}: ${message}`) };
}
