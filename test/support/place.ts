/** The program in PgBouncer's place, with files of its own, as one process after the other. */
import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cancelRequest } from '@sluice/wire';
import pg from 'pg';
import { expect } from 'vitest';
import { freePort } from '../../packages/sluice/src/embedded/postgres.ts';
import type { Coordinates } from './global-setup.ts';
import { RawClient } from './raw.ts';

const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const PROGRAM = join(ROOT, 'packages', 'sluice', 'bin', 'pgbouncer');
/** Root must name another user. */
const AS_USER = process.getuid?.() === 0 ? ['-u', 'nobody'] : [];

/** One place in the system, and the processes that have it one after the other. */
export class Place {
  readonly dir = mkdtempSync(join(tmpdir(), 'sluice-take-'));
  port: number;
  readonly #server: Coordinates;
  readonly #ini = join(this.dir, 'pgbouncer.ini');
  readonly #clients: pg.Client[] = [];
  readonly #processes: { child: ChildProcess; ended: Promise<number | null> }[] = [];

  /** `port` 0: any that is free. */
  constructor(server: Coordinates, port = 0) {
    this.#server = server;
    this.port = port;
  }

  /** `pgbouncer`: a PgBouncer to begin with. */
  async begin(settings = '', secret = this.#server.password, pgbouncer: string | null = null): Promise<void> {
    chmodSync(this.dir, 0o777);
    const server = this.#server;
    if (this.port === 0) this.port = await freePort();
    writeFileSync(join(this.dir, 'users.txt'), `"${server.user}" "${secret}"\n`, { mode: 0o644 });
    writeFileSync(
      this.#ini,
      `[databases]\n* = host=${server.host} port=${server.port}\n[pgbouncer]\nlisten_addr = 127.0.0.1
listen_port = ${this.port}\nunix_socket_dir = ${this.dir}\nauth_type = scram-sha-256\nauth_file = ${this.dir}/users.txt
pool_mode = transaction\nadmin_users = ${server.user}\nlogfile = ${this.dir}/log\n${settings}`,
      { mode: 0o644 },
    );
    await this.#start(pgbouncer);
  }

  /** Resolves when the new process serves. `pgbouncer`: a PgBouncer to do it. */
  async takeOver(pgbouncer: string | null = null): Promise<void> {
    await this.#start(pgbouncer, '-R');
  }

  /** A process that is to take over and cannot: resolves with its exit code when it has ended. */
  takeOverInVain(): Promise<number | null> {
    this.#spawn([process.execPath, PROGRAM], ['-R']);
    return this.#processes.at(-1)!.ended;
  }

  #spawn([program, ...first]: readonly string[], args: readonly string[]): ChildProcess {
    const child = spawn(program!, [...first, '-q', ...AS_USER, ...args, this.#ini], {
      stdio: ['ignore', 'ignore', 'ignore'],
    });
    this.#processes.push({ child, ended: new Promise((resolve) => child.once('close', resolve)) });
    return child;
  }

  async #start(pgbouncer: string | null = null, ...args: string[]): Promise<void> {
    const up = () => this.log().split('process up: ').length;
    const before = up();
    const child = this.#spawn(pgbouncer === null ? [process.execPath, PROGRAM] : [pgbouncer], args);
    await until(() => up() > before || child.exitCode !== null);
    expect(child.exitCode).toBe(null);
  }

  /** A client of whoever has the place; ended with it. */
  async connect(config: pg.ClientConfig = {}): Promise<pg.Client> {
    const client = new pg.Client({ ...this.#server, port: this.port, ...config });
    client.on('error', () => {});
    await client.connect();
    this.#clients.push(client);
    return client;
  }

  /** A request to cancel what it asks, to whoever has the place; resolves when that has closed the connection. */
  async cancel(client: pg.Client): Promise<void> {
    const { processID, secretKey } = client as unknown as { processID: number; secretKey: number };
    const key = Buffer.alloc(4);
    key.writeInt32BE(secretKey);
    const raw = await RawClient.connect('127.0.0.1', this.port);
    raw.send(cancelRequest(processID, key));
    expect(await raw.next()).toBeNull();
  }

  log(): string {
    const path = `${this.dir}/log`;
    return existsSync(path) ? readFileSync(path, 'utf8') : '';
  }

  /** Of the n-th process: its exit code, when it has ended. */
  ended(n: number): Promise<number | null> {
    return this.#processes[n]!.ended;
  }

  pid(n: number): number {
    return this.#processes[n]!.child.pid!;
  }

  isRunning(n: number): boolean {
    return this.#processes[n]!.child.exitCode === null;
  }

  kill(n: number): void {
    this.#processes[n]!.child.kill('SIGKILL');
  }

  /** Ends the process when its clients have left (TERM), and starts another when it has ended. */
  async restart(): Promise<void> {
    const { child, ended } = this.#processes.at(-1)!;
    child.kill('SIGTERM');
    await ended;
    await this.#start();
  }

  async stop(): Promise<void> {
    for (const client of this.#clients) void client.end().catch(() => {});
    for (const { child } of this.#processes) child.kill('SIGKILL');
    await Promise.all(this.#processes.map(({ ended }) => ended));
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** Asks again and again: what is awaited has no event of its own. */
export async function until(done: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await done())) await new Promise((resolve) => setTimeout(resolve, 20));
}
