/**
 * Wires the parts together: configuration, listeners, pooler, ticking, shutdown. The only file that knows them all, and the only
 * one that opens files and catches signals.
 */
import { readFileSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import type { Secret } from '@sluice/wire';
import { readUsers, UserFile } from './auth/user-file.ts';
import { receive } from './client/login.ts';
import { type Access, type Config, formatProblem, loadAccess } from './config/index.ts';
import type { Conn } from './net/conn.ts';
import { type Listener, listen } from './net/listen.ts';
import { loadTls, type TlsContexts } from './net/tls-context.ts';
import { PoolerDesk } from './pooling/desk.ts';
import { Janitor } from './pooling/janitor.ts';
import { Pooler } from './pooling/pooler.ts';
import { Clock } from './telemetry/clock.ts';
import type { Log } from './telemetry/log.ts';

export interface DaemonOptions {
  config: Config;
  /** Secrets beside auth_file's, for a daemon that was started from a URL. */
  secrets?: ReadonlyMap<string, Secret>;
  log: Log;
}

/** The rules of auth_hba_file or the maps of auth_ident_file are not usable. A line for each reason. */
export class AccessError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'AccessError';
  }
}

export class Daemon {
  readonly pooler: Pooler;
  readonly log: Log;
  readonly listeners: Listener[] = [];
  readonly #janitor: Janitor;
  readonly #desk: PoolerDesk;
  #stopped: Promise<void> | null = null;

  constructor(options: DaemonOptions) {
    const { config, log } = options;
    this.log = log;
    const tls = this.loadTls(config);
    this.pooler = new Pooler(config, options.secrets ?? readSecrets(config, log), new Clock(), log, tls);
    this.pooler.access = this.loadAccess(config);
    if (options.secrets === undefined) this.pooler.userFile = this.#watchUsers();
    this.#desk = new PoolerDesk(this.pooler);
    this.#janitor = new Janitor(this.pooler);
  }

  /** Listens and begins to serve. Rejects with the system's error when an address cannot be listened on. */
  async start(): Promise<void> {
    const { listenAddr, listenPort, listenBacklog, unixSocketDir, unixSocketMode } = this.pooler.config.global;
    for (const host of listenAddr) await this.#listen({ host, port: listenPort, unix: false, backlog: listenBacklog });
    if (unixSocketDir !== '' && listenPort > 0)
      await this.#listen({
        host: `${unixSocketDir}/.s.PGSQL.${listenPort}`,
        port: listenPort,
        unix: true,
        backlog: listenBacklog,
        mode: unixSocketMode,
      });
    this.pooler.warmUp();
    this.#janitor.start();
  }

  /**
   * Makes the TLS contexts of a configuration from the files that it names, and changes nothing. Throws a TlsSetupError
   * that names setting, file and reason.
   */
  loadTls(config: Config): TlsContexts {
    return loadTls(config.global, (path) => readFileSync(path, 'utf8'));
  }

  /** Reads the rules of auth_type hba, and changes nothing. Throws an AccessError that names the bad lines. */
  loadAccess(config: Config): Access {
    const { access, problems } = loadAccess(config, (path) => readFileSync(path, 'utf8'));
    for (const problem of problems) if (problem.severity === 'warning') this.log.warn(formatProblem(problem));
    const errors = problems.filter(({ severity }) => severity === 'error');
    if (errors.length > 0) throw new AccessError(errors.map(formatProblem).join('\n'));
    return access;
  }

  /**
   * New connections get the new contexts, those that are there go on with theirs. When anything changed towards servers,
   * their connections are replaced as they come free, so that none keeps weaker settings (PgBouncer does the same).
   */
  applyTls(tls: TlsContexts): void {
    const { context, pools } = this.pooler;
    const changed = tls.serverFingerprint !== context.tls.serverFingerprint;
    context.tls = tls;
    if (changed) for (const pool of pools.values()) pool.pool.retireAll('retired');
  }

  /** Refuses new clients, waits until those in a transaction have ended it, then closes everything. */
  drain(): Promise<void> {
    this.#stopped ??= this.#drain();
    return this.#stopped;
  }

  /** Closes everything at once. */
  stop(): void {
    this.#janitor.stop();
    for (const listener of this.listeners.splice(0)) listener.close();
    for (const session of [...this.pooler.sessions.values()]) session.disconnect('server shutting down', '57P01');
    for (const pool of this.pooler.pools.values()) pool.pool.shut();
  }

  #watchUsers(): UserFile {
    return new UserFile({
      stamp: async (path) => {
        const { dev, ino, mode, uid, gid, mtimeMs, size } = await stat(path);
        return [dev, ino, mode, uid, gid, mtimeMs, size].join(' ');
      },
      read: (path) => readFile(path, 'utf8'),
      now: () => performance.now(),
      changed: (users) => {
        this.pooler.secrets = users;
      },
      warn: (message) => this.log.warn(message),
      error: (message) => this.log.error(message),
    });
  }

  async #listen(target: Parameters<typeof listen>[0]): Promise<void> {
    const listener = await listen(target, (conn) => this.#accept(conn));
    this.listeners.push(listener);
    this.log.info(`listening on ${target.unix ? `unix:${target.host}` : `${target.host}:${listener.port}`}`);
  }

  #accept(conn: Conn): void {
    void receive(conn, this.#desk);
  }

  async #drain(): Promise<void> {
    this.log.info('draining: no new clients; waiting for transactions to end');
    for (const listener of this.listeners.splice(0)) listener.close();
    await this.#janitor.drained();
    this.stop();
  }
}

/** Throws when auth_file cannot be read; lines that make no sense are logged with their place. */
function readSecrets(config: Config, log: Log): Map<string, Secret> {
  const { authFile } = config.global;
  if (authFile === '') return new Map();
  const { users, problems } = readUsers(readFileSync(authFile, 'utf8'), authFile);
  for (const problem of problems) log.warn(problem);
  return users;
}
