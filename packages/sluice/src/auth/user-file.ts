/**
 * auth_file, read again when it has changed: looked at with a login, at most once a second, and never in the way of the loop.
 * A file that cannot be read changes nothing. Opens no files itself: it is handed who does.
 */
import { parseSecret, type Secret } from '@sluice/wire';
import { parseUserlist } from '../config/index.ts';

export interface UserFilePort {
  /** Something that differs when the file does. Rejects when there is no such file. */
  stamp(path: string): Promise<string>;
  read(path: string): Promise<string>;
  /** Milliseconds of a clock that only goes forward. */
  now(): number;
  changed(users: ReadonlyMap<string, Secret>): void;
  warn(message: string): void;
  error(message: string): void;
}

const LOOK_EVERY_MS = 1_000;

export class UserFile {
  readonly #port: UserFilePort;
  #path = '';
  #stamp: string | null = null;
  #lookedAt = Number.NEGATIVE_INFINITY;
  #looking: Promise<void> | null = null;
  #failing = false;

  constructor(port: UserFilePort) {
    this.#port = port;
  }

  /** Resolves when the users are those of the file as it was a second ago at most. Never rejects. */
  async refresh(path: string): Promise<void> {
    if (path !== this.#path) {
      this.#path = path;
      this.#stamp = null;
      this.#lookedAt = Number.NEGATIVE_INFINITY;
    }
    if (path === '') return;
    if (this.#looking === null) {
      if (this.#port.now() - this.#lookedAt < LOOK_EVERY_MS) return;
      this.#looking = this.#look(path).finally(() => {
        this.#lookedAt = this.#port.now();
        this.#looking = null;
      });
    }
    await this.#looking;
  }

  async #look(path: string): Promise<void> {
    const port = this.#port;
    try {
      const stamp = await port.stamp(path);
      if (stamp === this.#stamp) return;
      const { users, problems } = readUsers(await port.read(path), path);
      if (path !== this.#path) return;
      this.#stamp = stamp;
      this.#failing = false;
      for (const problem of problems) port.warn(problem);
      port.changed(users);
    } catch (error) {
      if (!this.#failing) port.error(`could not open auth_file ${path}: ${(error as Error).message}`);
      this.#failing = true;
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
