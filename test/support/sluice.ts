/** Starts the built daemon as a real process, from a configuration made for the test. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort } from '../../packages/sluice/src/embedded/postgres.ts';
import type { Coordinates } from './global-setup.ts';

const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const PROGRAM = join(ROOT, 'packages', 'sluice', 'bin', 'sluice.js');
/** Another runtime for the daemon: a path to node or bun. */
const RUNTIME = process.env.SLUICE_TEST_RUNTIME ?? process.execPath;
/** The daemon runs on Bun, whose TLS library has no choice of TLS 1.3 suites. */
export const ON_BUN = /bun[^/]*$/.test(RUNTIME);

export interface SluiceOptions {
  /** Lines of [databases]; default: `*` to the given server. */
  databases?: string;
  /** Lines of [pgbouncer] beyond the defaults of the tests; later lines win. */
  settings?: string;
  /** Lines of [users]. */
  users?: string;
  /** Text of auth_file. */
  userlist?: string;
  /** Command line instead of `start FILE`. */
  args?: string[];
}

export interface Sluice {
  readonly host: string;
  readonly port: number;
  readonly pid: number;
  readonly dir: string;
  readonly exit: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  output(): string;
  /** Resolves when the output matches, now or later; rejects when the process ends before, or in time. */
  waitFor(pattern: RegExp, timeoutMs?: number): Promise<RegExpMatchArray>;
  /** What matches, when that many do, or more: what the daemon writes comes here some time after it is so. */
  waitForMany(pattern: RegExp, count: number): Promise<string[]>;
  signal(name: NodeJS.Signals): void;
  /** Nobody reads what it writes any more: its pipes are broken. */
  stopReading(): void;
  /** Stops it at once, and removes its files. */
  stop(): Promise<void>;
}

class Running implements Sluice {
  readonly host = '127.0.0.1';
  readonly port: number;
  readonly dir: string;
  readonly exit: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  readonly #child: ChildProcess;
  #text = '';
  #ended = false;
  readonly #listeners = new Set<() => void>();

  constructor(child: ChildProcess, port: number, dir: string) {
    this.#child = child;
    this.port = port;
    this.dir = dir;
    for (const stream of [child.stdout!, child.stderr!])
      stream.on('data', (chunk: Buffer) => {
        this.#text += chunk.toString();
        for (const listener of [...this.#listeners]) listener();
      });
    this.exit = new Promise((resolve) => {
      child.once('close', (code, signal) => {
        this.#ended = true;
        for (const listener of [...this.#listeners]) listener();
        resolve({ code, signal });
      });
    });
  }

  get pid(): number {
    return this.#child.pid!;
  }

  output(): string {
    return this.#text;
  }

  waitFor(pattern: RegExp, timeoutMs = 30_000): Promise<RegExpMatchArray> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#listeners.delete(look);
        reject(new Error(`waited ${timeoutMs / 1000} s for ${pattern}:\n${this.#text}`));
      }, timeoutMs);
      const look = () => {
        const match = pattern.exec(this.#text);
        if (match === null && !this.#ended) return;
        clearTimeout(timer);
        this.#listeners.delete(look);
        if (match !== null) resolve(match);
        else reject(new Error(`ended without ${pattern}:\n${this.#text}`));
      };
      this.#listeners.add(look);
      look();
    });
  }

  async waitForMany(pattern: RegExp, count: number): Promise<string[]> {
    await this.waitFor(new RegExp(`(?:(?:${pattern.source})[^]*?){${count}}`));
    return this.#text.match(new RegExp(pattern.source, 'g'))!;
  }

  stopReading(): void {
    for (const stream of [this.#child.stdout!, this.#child.stderr!]) stream.destroy();
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name);
  }

  async stop(): Promise<void> {
    if (!this.#ended) this.#child.kill('SIGKILL');
    await this.exit;
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** Runs `sluice` with these arguments and waits for nothing. */
export function launch(args: string[], port = 0, env: NodeJS.ProcessEnv = {}): Sluice {
  const dir = mkdtempSync(join(tmpdir(), 'sluice-run-'));
  const child = spawn(RUNTIME, [PROGRAM, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
  });
  return new Running(child, port, dir);
}

/** Writes the files, starts the daemon on a free port, resolves when it listens. */
export async function startSluice(server: Coordinates, options: SluiceOptions = {}): Promise<Sluice> {
  const port = await freePort();
  const dir = mkdtempSync(join(tmpdir(), 'sluice-conf-'));
  const userlist = join(dir, 'userlist.txt');
  writeFileSync(userlist, options.userlist ?? `"${server.user}" "${server.password}"\n`);
  const ini = join(dir, 'sluice.ini');
  writeFileSync(
    ini,
    [
      '[databases]',
      options.databases ?? `* = host=${server.host} port=${server.port}`,
      '[users]',
      options.users ?? '',
      '[pgbouncer]',
      'listen_addr = 127.0.0.1',
      `listen_port = ${port}`,
      'unix_socket_dir =',
      'auth_type = scram-sha-256',
      `auth_file = ${userlist}`,
      'pool_mode = transaction',
      'max_client_conn = 5000',
      options.settings ?? '',
    ].join('\n'),
  );
  const child = spawn(RUNTIME, [PROGRAM, ...(options.args ?? ['start', ini])], { stdio: ['ignore', 'pipe', 'pipe'] });
  const running = new Running(child, port, dir);
  try {
    await running.waitFor(/listening on .+:\d+/);
  } catch (error) {
    await running.stop();
    throw error;
  }
  return running;
}
