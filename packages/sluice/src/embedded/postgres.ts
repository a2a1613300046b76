/**
 * A real PostgreSQL of our own, for the demo and the tests: initialises a data folder, starts the server, stops it. As root
 * it runs under an unprivileged uid, as PostgreSQL demands. It never hears the terminal's Ctrl-C, and does not outlive us.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chownSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { basename, dirname, join, resolve } from 'node:path';
import { findBinaries } from './binaries.ts';

export interface EmbeddedOptions {
  /** Folder of the cluster and its password file; made when missing. */
  dataDir: string;
  /** Default: a free one. */
  port?: number;
  /** Lines for postgresql.conf by name, given on the command line. */
  settings?: Readonly<Record<string, string | number>>;
  /** No fsync, small caches: for tests whose data nobody needs after a crash. */
  throwaway?: boolean;
}

export interface EmbeddedPostgres {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly database: string;
  readonly dataDir: string;
  readonly version: string;
  /** Process id of the postmaster. */
  readonly pid: number;
  /** 'fast' ends sessions in an orderly way, 'immediate' as a crash would. Resolves when it is gone. */
  stop(mode?: 'smart' | 'fast' | 'immediate'): Promise<void>;
  /** The same cluster on the same port again. */
  start(): Promise<void>;
}

const HOST = '127.0.0.1';
const USER = 'postgres';
/** `nobody`: initdb wants a uid that has a name. */
const UNPRIVILEGED = { uid: 65_534, gid: 65_534 };
const STOP_SIGNALS = { smart: 'SIGTERM', fast: 'SIGINT', immediate: 'SIGQUIT' } as const;
const LOG_LINES = 15;
const ENDING = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/**
 * Runs the server and watches the pipe from us: when we are gone, however we went, the pipe ends, and so does the server.
 */
const KEEPER = `exec 3<&0
"$@" </dev/null 3<&- &
server=$!
echo "pid $server"
{ cat <&3 >/dev/null 2>&1; kill -INT $server; } 2>/dev/null &
watch=$!
wait $server
code=$?
kill $watch 2>/dev/null
exit $code`;

/** Rejects with a message that ends in the server's last log lines when it cannot start. */
export async function startEmbedded(options: EmbeddedOptions): Promise<EmbeddedPostgres> {
  const server = new Embedded(options, options.port ?? (await freePort()));
  await server.initialise();
  await server.start();
  return server;
}

class Embedded implements EmbeddedPostgres {
  readonly host = HOST;
  readonly port: number;
  readonly user = USER;
  readonly database = 'postgres';
  readonly dataDir: string;
  readonly version: string;
  password = '';
  pid = 0;
  readonly #options: EmbeddedOptions;
  readonly #bin: string;
  readonly #as: { uid?: number; gid?: number };
  #keeper: ChildProcess | null = null;
  #exited: Promise<void> = Promise.resolve();

  constructor(options: EmbeddedOptions, port: number) {
    this.#options = options;
    this.port = port;
    this.dataDir = resolve(options.dataDir);
    this.#as = process.getuid?.() === 0 ? UNPRIVILEGED : {};
    mkdirSync(this.dataDir, { recursive: true, mode: 0o755 });
    if (this.#as.uid !== undefined) openPath(this.dataDir, this.#as.uid);
    const { bin, version } = findBinaries(join(this.dataDir, '..'));
    this.#bin = bin;
    this.version = version;
  }

  get #cluster(): string {
    return join(this.dataDir, 'cluster');
  }

  async initialise(): Promise<void> {
    const passwordFile = join(this.dataDir, 'password');
    const major = this.version.split('.')[0]!;
    const versionFile = join(this.#cluster, 'PG_VERSION');
    if (existsSync(versionFile)) {
      const found = readFileSync(versionFile, 'utf8').trim();
      if (found !== major)
        throw new Error(
          `${this.#cluster} was made by PostgreSQL ${found}, this is ${major}; choose another folder with --data DIR, or remove it`,
        );
      this.password = readFileSync(passwordFile, 'utf8').trim();
      return;
    }
    this.password = randomBytes(12).toString('hex');
    writeFileSync(passwordFile, `${this.password}\n`, { mode: 0o600 });
    // It gets its name when it is whole: what an interrupted start has left is begun anew.
    const [making, handOver] = [join(this.dataDir, 'cluster.new'), join(this.dataDir, 'initdb-password')];
    for (const path of [making, handOver]) rmSync(path, { recursive: true, force: true });
    mkdirSync(making, { mode: 0o700 });
    writeFileSync(handOver, `${this.password}\n`, { mode: 0o600 });
    if (this.#as.uid !== undefined) for (const path of [making, handOver]) chownSync(path, this.#as.uid, this.#as.gid!);
    const as = ['-U', USER, `--pwfile=${handOver}`, '--auth=scram-sha-256'];
    const args = ['-D', making, ...as, '-E', 'UTF8', '--no-locale', ...(this.#options.throwaway ? ['--no-sync'] : [])];
    const cleanUp = () => rmSync(handOver, { force: true });
    try {
      await run(join(this.#bin, 'initdb'), args, this.#as, cleanUp);
    } finally {
      cleanUp();
    }
    rmSync(this.#cluster, { recursive: true, force: true });
    renameSync(making, this.#cluster);
  }

  start(): Promise<void> {
    const settings: Record<string, string | number> = {
      listen_addresses: HOST,
      port: this.port,
      unix_socket_directories: '',
      ...(this.#options.throwaway ? { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off' } : {}),
      ...this.#options.settings,
    };
    const flags = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
    const keeper = spawn(
      '/bin/sh',
      ['-c', KEEPER, 'keeper', join(this.#bin, 'postgres'), '-D', this.#cluster, ...flags],
      {
        stdio: ['pipe', 'pipe', 'pipe'],
        detached: true,
        cwd: '/',
        env: { PATH: process.env.PATH ?? '', LC_ALL: 'C', TZ: 'UTC' },
        ...this.#as,
      },
    );
    this.#keeper = keeper;
    return this.#ready(keeper);
  }

  async stop(mode: 'smart' | 'fast' | 'immediate' = 'fast'): Promise<void> {
    if (this.#keeper === null) return;
    try {
      process.kill(this.pid, STOP_SIGNALS[mode]);
    } catch {
      // gone already
    }
    await this.#exited;
  }

  #whyNot(lines: readonly string[]): string {
    if (!lines.some((line) => /"postmaster.pid" already exists/.test(line)))
      return `PostgreSQL in ${this.#cluster} did not start:\n  ${lines.join('\n  ')}`;
    const pid = /\(PID (\d+)\)/.exec(lines.join(' '))?.[1];
    return `PostgreSQL in ${this.dataDir} runs already${pid === undefined ? '' : ` (process ${pid})`}: stop the \`sluice demo\` that uses it, or choose another folder with --data DIR`;
  }

  #ready(keeper: ChildProcess): Promise<void> {
    const lines: string[] = [];
    return new Promise((resolve, reject) => {
      const onLines = (chunk: Buffer) => {
        lines.push(...chunk.toString().split('\n').filter(Boolean));
        lines.splice(0, lines.length - LOG_LINES);
        if (chunk.includes('database system is ready to accept connections')) resolve();
      };
      keeper.stderr!.on('data', onLines);
      keeper.stdout!.on('data', (chunk: Buffer) => {
        this.pid = Number(/pid (\d+)/.exec(chunk.toString())?.[1] ?? this.pid);
      });
      keeper.once('error', reject);
      this.#exited = new Promise((gone) => {
        keeper.once('close', () => {
          if (this.#keeper === keeper) this.#keeper = null;
          reject(new Error(this.#whyNot(lines)));
          gone();
        });
      });
    });
  }
}

/** Why initdb has failed, without what it did before. */
function reasonOf(output: string): string {
  const lines = output.trim().split('\n');
  const [reason = lines.at(-1)!] = lines.filter((line) => /error|fatal|could not|cannot/i.test(line));
  if (!/look up effective user/.test(reason)) return reason;
  return `${reason}; PostgreSQL wants a user with a name: run as one that /etc/passwd has, or as root`;
}

/** The unprivileged uid must be able to walk down to the data: the folder itself is given to it, its parents must let it. */
function openPath(dataDir: string, uid: number): void {
  if ((statSync(dataDir).mode & 0o001) === 0) chownSync(dataDir, uid, -1);
  for (let dir = dirname(dataDir); dir !== dirname(dir); dir = dirname(dir))
    if ((statSync(dir).mode & 0o001) === 0)
      throw new Error(
        `${dir} cannot be entered by other users, and PostgreSQL does not run as root; choose a folder outside of it with --data DIR, or chmod o+x ${dir}`,
      );
}

/** A signal that ends us ends the program first, and `cleanUp` follows. */
function run(
  program: string,
  args: readonly string[],
  as: { uid?: number; gid?: number },
  cleanUp: () => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    let endedBy: NodeJS.Signals | null = null;
    const options = { cwd: '/', env: { PATH: process.env.PATH ?? '', LC_ALL: 'C', TZ: 'UTC' }, ...as };
    const child = execFile(program, [...args], options, (error, stdout, stderr) => {
      for (const signal of ENDING) process.off(signal, end);
      if (endedBy !== null) {
        cleanUp();
        process.kill(process.pid, endedBy);
      }
      if (error === null) resolve();
      else reject(new Error(`${basename(program)} failed: ${reasonOf(stderr || stdout || error.message)}`));
    });
    const end = (signal: NodeJS.Signals) => {
      endedBy = signal;
      child.kill('SIGTERM');
    };
    for (const signal of ENDING) process.once(signal, end);
  });
}

/** Below what Linux, macOS and Windows give to outgoing connections: one of those could take the port before it is listened on. */
const PORTS = { first: 10_240, count: 20_000 } as const;

/** A port of 127.0.0.1 that nobody listens on now. Rejects when none can be had. */
export async function freePort(): Promise<number> {
  for (let attempt = 1; ; attempt++) {
    const port = PORTS.first + Math.floor(Math.random() * PORTS.count);
    const error = await probe(port);
    if (error === null) return port;
    if (error.code !== 'EADDRINUSE' || attempt === 100) throw error;
  }
}

function probe(port: number): Promise<NodeJS.ErrnoException | null> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', resolve);
    server.listen(port, HOST, () => server.close(() => resolve(null)));
  });
}
