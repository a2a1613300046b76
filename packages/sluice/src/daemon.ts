/**
 * Wires the parts together: configuration, listeners, pooler, console, ticking, reload, shutdown. The only file that knows
 * them all; what it needs of the machine beside sockets is in host/.
 */
import { readFile, stat } from 'node:fs/promises';
import { decodeText, type Secret } from '@sluice/wire';
import { UserFile } from './auth/user-file.ts';
import { receive } from './client/login.ts';
import {
  type Access,
  afterReload,
  type Config,
  formatProblem,
  loadAccess,
  located,
  type Severity,
  setSetting,
} from './config/index.ts';
import { type ConsoleHost, ReloadError } from './console/commands.ts';
import { Console } from './console/console.ts';
import { readText } from './host/config-file.ts';
import { type InheritedListener, inheritTargets, listenTargets } from './host/listeners.ts';
import { nameResolver } from './host/name-resolver.ts';
import { readSecrets, type UserSecrets } from './host/secrets.ts';
import { SocketKeeper } from './host/socket-keeper.ts';
import { Succession } from './host/succession.ts';
import { passedSockets, ServiceManager } from './host/systemd.ts';
import { shownPath } from './net/abstract-socket.ts';
import { type Listener, type ListenTarget, listen, resolved } from './net/listen.ts';
import { notePeer } from './net/peer-cred.ts';
import { setListenerOptions, setSocketOptions } from './net/socket-options.ts';
import { loadTls, type TlsContexts, TlsSetupError } from './net/tls-context.ts';
import { carryCancel } from './pooling/cancels.ts';
import { PoolerDesk } from './pooling/desk.ts';
import type { HandedOver } from './pooling/hand-over.ts';
import { Janitor } from './pooling/janitor.ts';
import { Operator, OperatorError } from './pooling/operator.ts';
import { Pooler } from './pooling/pooler.ts';
import { reconfigure } from './pooling/reconfigure.ts';
import { readStray } from './pooling/strays.ts';
import { Visit } from './pooling/visit.ts';
import { Clock } from './telemetry/clock.ts';
import type { Log } from './telemetry/log.ts';
import { VERSION_TEXT } from './version.ts';

export interface DaemonOptions {
  config: Config;
  /** Secrets beside auth_file's, for a daemon that was started from a URL. */
  secrets?: ReadonlyMap<string, Secret>;
  log: Log;
  /** Reads the configuration again, for RELOAD; throws when it is no good, and the log has the reasons. Absent: nothing to read. */
  reread?: () => Config;
  /** Another process has this one's place; what names this one is to go. */
  replaced?: () => void;
  /** Called when a new configuration is in force: where the log goes may have changed. */
  reconfigured?: (config: Config) => void;
  /** A RELOAD begins, which may fail: the log's file may have been moved away. */
  reopenLog?: () => void;
}

/** The rules of auth_hba_file or the maps of auth_ident_file are not usable. A line for each reason. */
export class AccessError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'AccessError';
  }
}

/** What the files that a configuration names come to. */
interface Loaded extends UserSecrets {
  readonly tls: TlsContexts;
  readonly access: Access;
}

/** PgBouncer's line. */
const TLS_KEPT = 'TLS configuration could not be reloaded, keeping old configuration';

export class Daemon implements ConsoleHost {
  readonly pooler: Pooler;
  readonly operator: Operator;
  readonly console: Console;
  readonly listeners: Listener[] = [];
  /** Resolves when everything is closed. */
  readonly ended: Promise<void>;
  readonly #options: DaemonOptions;
  readonly #janitor: Janitor;
  readonly #socketKeeper: SocketKeeper;
  readonly #desk: PoolerDesk;
  /** The process that takes this one's place, while it does. */
  #succession: Succession | null = null;
  #end!: () => void;
  #stopped = false;
  readonly #manager = new ServiceManager();

  constructor(options: DaemonOptions) {
    this.#options = options;
    const { config, log } = options;
    const { tls, access, secrets, said } = this.#load(config, 'warning');
    this.pooler = new Pooler(config, secrets ?? new Map(), new Clock(), log, tls, nameResolver(config));
    this.pooler.access = access;
    if (options.secrets === undefined) this.pooler.userFile = this.#watchUsers();
    this.pooler.userFile?.noted(said);
    this.operator = new Operator(this.pooler);
    this.console = new Console(this.pooler, this.operator, this, VERSION_TEXT);
    this.#desk = new PoolerDesk(this.pooler);
    this.#desk.console = this.console;
    this.#janitor = new Janitor(this.pooler, this.operator, (stats) => this.#manager.fares(stats));
    this.#socketKeeper = new SocketKeeper(this.listeners, (lost) => this.#listenAgain(lost), log);
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
  }

  /** Listens and begins to serve. Rejects with the system's error when an address cannot be listened on. */
  async start(inherited: readonly InheritedListener[] = []): Promise<void> {
    const { listenPort: port, listenBacklog: backlog, ...global } = this.pooler.config.global;
    if (global.sessionState !== 'pgbouncer') await this.pooler.classifier.load();
    const passed = passedSockets();
    for (const { fd, unix } of passed) await this.#listen({ host: `descriptor ${fd}`, port, unix, backlog, fd });
    const { log } = this.#options;
    for (const { fd } of passed) log.info(`socket passed from service manager (fd ${fd})`);
    if (passed.length > 0 && global.listenAddr.length > 0)
      log.warn('sockets passed from service manager, listen_addr ignored');
    const targets = passed.length > 0 ? [] : await resolved(listenTargets(this.pooler.config));
    await this.#listenOn(inheritTargets(targets, inherited));
    this.#serve();
  }

  /** As PgBouncer has it, some addresses may not be had; here one of them at least must. */
  async #listenOn(targets: readonly ListenTarget[]): Promise<void> {
    const refused: [ListenTarget, Error][] = [];
    for (const target of targets)
      try {
        // Its place is taken as a whole, or not at all.
        if (target.replaces && refused.length > 0) throw refused[0]![1];
        await this.#listen(target);
      } catch (error) {
        if (target.unix) throw error;
        refused.push([target, error as Error]);
      }
    // The first one's reason is why it does not start; several are each told.
    const none = refused.length > 0 && !this.listeners.some(({ target }) => !target.unix);
    if (!none || refused.length > 1)
      for (const [{ host, port }, { message }] of refused)
        this.#options.log.warn(`cannot listen on ${shownHost(host)}:${port}: ${message}`);
    if (none) throw refused[0]![1];
    if (this.listeners.length === 0) throw new Error('nowhere to listen on: set listen_addr or unix_socket_dir');
  }

  #serve(): void {
    this.pooler.warmUp();
    this.#janitor.start();
    if (this.listeners.some(({ target }) => target.unix)) this.#socketKeeper.start();
    this.#manager.up();
  }

  // What the console and signals ask for.

  /** Reads everything again. When anything is wrong nothing changes, and the log says what. */
  reload(): void {
    this.#manager.hearsOfReload(() => this.#reload());
  }

  #reload(): void {
    const { reread, reopenLog } = this.#options;
    reopenLog?.();
    if (reread === undefined) throw new ReloadError('RELOAD failed: the pooler was started from a URL, without a file');
    try {
      this.#apply(afterReload(this.pooler.config, reread()));
      this.log('RELOAD: the configuration and the files that it names were read again');
    } catch (error) {
      this.log(`${(error as Error).message}; RELOAD failed, nothing was changed`, 'ERROR');
      if (error instanceof TlsSetupError) this.log(TLS_KEPT, 'ERROR');
      else this.#options.log.warn('config file loading failed');
      throw new ReloadError('RELOAD failed, see logs for additional details');
    }
  }

  set(name: string, value: string): readonly string[] {
    const result = setSetting(this.pooler.config, name, value);
    if (!result.ok) throw new OperatorError(`SET failed: ${result.message}`);
    const notices = result.problems.map(({ message }) => message);
    try {
      this.#apply(result.config);
    } catch (error) {
      if (!(error instanceof TlsSetupError)) throw new OperatorError(`SET failed: ${(error as Error).message}`);
      // A key and its certificate are set one after the other: between the two they cannot fit.
      this.#apply(result.config, this.pooler.context.tls);
      if (/_tls/.test(name)) {
        this.log(error.message, 'ERROR');
        notices.push('TLS settings could not be applied, still using old configuration');
      }
    }
    return notices;
  }

  shutDown(mode: 'now' | 'wait for clients' | 'wait for servers'): void {
    if (mode === 'now') {
      if (this.operator.letGoPassedOn()) this.#serveTheRest();
      else this.stop();
      return;
    }
    this.#drain(mode);
  }

  /** At signals only, as PgBouncer: a service manager that has heard it does not wait for long, as an operator at the console may want to. */
  tellStopping(): void {
    this.#manager.stopping();
  }

  #drain(mode: 'wait for clients' | 'wait for servers'): void {
    const ports = this.listeners.filter(({ target }) => !target.unix).map((listener) => listener.closeAfterLast());
    void this.operator.shutDown(mode, Promise.all(ports)).then(() => {
      this.log(`${mode === 'wait for clients' ? 'client' : 'server'} connections dropped, exiting`);
      this.stop();
    });
  }

  /** A PgBouncer has taken over (SHOW FDS, SHUTDOWN). It waits until its console is closed and the pidfile is gone. */
  #serveTheRest(): void {
    this.log(`another process has taken over, serving the ${this.pooler.sessions.size} clients that it could not take`);
    this.#options.replaced?.();
    this.operator.resume();
    this.letGo();
    this.console.endAll('server shutting down');
  }

  passOn(command: string): Promise<string | null> {
    return this.pooler.predecessor?.carryOut(command) ?? Promise.resolve(null);
  }

  /** Nobody takes its place, or has taken it, and it does not end. */
  get isSettled(): boolean {
    return this.#succession === null && this.pooler.shutdown === 'none' && !this.#stopped;
  }

  letGo(): void {
    for (const listener of this.listeners) listener.close();
    this.#drain('wait for clients');
  }

  handOver(path: string): HandedOver {
    try {
      if (this.#succession?.path !== path) {
        this.operator.mustRunAll();
        // Another one may have asked before, and failed.
        this.#succession?.close();
        this.#succession = new Succession(this.pooler, path, this.listeners);
        this.log('a new process takes over, giving it the listening sockets');
        const { sessions, processIds } = this.pooler;
        return { moved: 0, left: sessions.size, processIds, strays: [] };
      }
      const { begun } = this.#succession;
      const step = this.#succession.step();
      if (!begun) this.log('the new process listens, and new clients are its own');
      // What the one before this one serves still, the successor reaches through here.
      return { ...step, left: step.left + (this.pooler.predecessor === null ? 0 : 1) };
    } catch (error) {
      throw new OperatorError(`HAND_OVER failed: ${(error as Error).message}`);
    }
  }

  cancelFor(request: string): boolean {
    const [processId, key] = readStray(request);
    // Of one that nobody here has the successor knows already: it is no stray of this process's.
    const { sessions, consoles, predecessor } = this.pooler;
    if (sessions.get(processId) === undefined && !consoles.has(processId) && predecessor === null) return false;
    carryCancel(this.pooler, processId, key, null, () => {});
    return true;
  }

  successorLeft(): void {
    const succession = this.#succession;
    if (succession === null) return;
    this.#succession = null;
    succession.close();
    // What it had paused here nobody else could resume.
    if (succession.begun) this.operator.resumeAll();
    // Nobody can come in any more: who is here is served to the end.
    if (succession.begun && !this.#stopped && this.pooler.shutdown === 'none') this.#drain('wait for clients');
  }

  /** Closes everything at once. */
  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#manager.stopping();
    this.#janitor.stop();
    this.#socketKeeper.stop();
    this.operator.letGoPassedOn();
    for (const listener of this.listeners) listener.close();
    this.console.endAll('server shutting down');
    for (const session of [...this.pooler.sessions.values()]) session.disconnect('server shutting down', '57P01');
    for (const pool of this.pooler.pools.values()) pool.pool.shut();
    this.#end();
  }

  log(message: string, level: 'LOG' | 'ERROR' = 'LOG'): void {
    this.#options.log.write(level, '', message);
  }

  /** Files first, which may fail; then everything at once, which may not. */
  #apply(config: Config, keepTls?: TlsContexts): void {
    const { tls, access, secrets, said } = this.#load(config, 'error', keepTls);
    const { pooler } = this;
    // What can fail comes first.
    this.#options.reconfigured?.(config);
    const serversChanged = tls.serverFingerprint !== pooler.context.tls.serverFingerprint;
    // New connections get the new contexts, those that are there go on with theirs. When anything changed towards servers,
    // they are replaced as they come free, so that none keeps weaker settings (PgBouncer does the same).
    pooler.context.tls = tls;
    pooler.access = access;
    reconfigure(pooler, this.operator, config);
    if (secrets !== null) pooler.secrets = secrets;
    pooler.userFile?.noted(said);
    for (const listener of this.listeners) this.#tune(listener);
    if (serversChanged) this.operator.reconnect('');
  }

  /** Throws a TlsSetupError or an AccessError. `absent` is said of files of rules that are not there. */
  #load(config: Config, absent: Severity, keepTls?: TlsContexts): Loaded {
    const tls = keepTls ?? placed(config, () => loadTls(config.global, readText));
    const { access, problems } = loadAccess(config, readText, absent);
    const { log } = this.#options;
    for (const problem of problems) if (problem.severity === 'warning') log.warn(formatProblem(problem));
    const errors = problems.filter(({ severity }) => severity === 'error');
    if (errors.length > 0) throw new AccessError(errors.map(formatProblem).join('\n'));
    if (this.#options.secrets !== undefined) return { tls, access, secrets: this.#options.secrets, said: [] };
    return { tls, access, ...readSecrets(config, log) };
  }

  /** auth_file is looked at with a login, once a second at most. */
  #watchUsers(): UserFile {
    const { log } = this.#options;
    return new UserFile({
      stamp: async (path) => {
        const { dev, ino, mode, uid, gid, mtimeMs, ctimeMs, size } = await stat(path);
        const of = [dev, ino, mode, uid, gid, mtimeMs, size].join(' ');
        return { of, ageMs: Date.now() - Math.max(mtimeMs, ctimeMs) };
      },
      read: async (path) => decodeText(await readFile(path)),
      now: () => performance.now(),
      wait: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
      changed: (users) => {
        this.pooler.secrets = users;
      },
      warn: (message) => log.warn(message),
      error: (message) => log.error(message),
    });
  }

  async #listenAgain(lost: Listener): Promise<void> {
    // It is another process's in a moment.
    if (this.#succession !== null) return;
    const { fd: _none, inherited: _ours, replaces: _gone, ...target } = lost.target;
    const fresh = await this.#listen(target);
    if (lost.isOver) fresh.close();
    else this.listeners.splice(this.listeners.indexOf(lost), 1);
    lost.giveWay();
  }

  #tune({ target: { unix }, fd, released }: Listener): void {
    if (!unix && !released) setListenerOptions(fd, this.pooler.config.global);
  }

  async #listen(target: ListenTarget): Promise<Listener> {
    const where = target.unix ? `unix:${shownPath(target.host)}` : `${shownHost(target.host)}:${target.port}`;
    const listener = await listen(target, (conn) => {
      const { visitors, clock, config } = this.pooler;
      setSocketOptions(conn, config.global, true);
      if (target.unix && (config.global.logConnections || config.global.logDisconnections)) notePeer(conn);
      const visit = new Visit(conn, clock.update());
      visitors.push(visit);
      void receive(visit, this.#desk).then(() => visitors.remove(visit));
    }).catch((error: Error) => {
      throw Object.assign(error, { where });
    });
    this.listeners.push(listener);
    this.#tune(listener);
    if (target.unix) this.log(`listening on unix:${shownPath(target.host)}`);
    for (const address of listener.addresses) this.log(`listening on ${shownHost(address)}:${listener.port}`);
    return listener;
  }
}

/** A TlsSetupError says where the file has the setting. */
function placed<T>(config: Config, load: () => T): T {
  try {
    return load();
  } catch (error) {
    if (error instanceof TlsSetupError) error.message = located(config, error.setting, error.message);
    throw error;
  }
}

function shownHost(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}
