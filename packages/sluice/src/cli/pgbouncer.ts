/** The command line of PgBouncer: `pgbouncer [-d] [-R] [-q] [-v] [-u user] [-V] [-h] config.ini`. */
import { spawn } from 'node:child_process';
import { isAbsolute, resolve } from 'node:path';
import { type Config, located } from '../config/index.ts';
import { AccessError, Daemon } from '../daemon.ts';
import type { Before } from '../host/before.ts';
import { ConfigFileError, readConfig } from '../host/config-file.ts';
import { logDescriptorLimit } from '../host/descriptor-limit.ts';
import { userIds } from '../host/groups.ts';
import { LogTarget } from '../host/log-target.ts';
import { checkPidFile, removePidFile, restorePidFile, writePidFile } from '../host/pid-file.ts';
import { succeed } from '../host/successor.ts';
import { TlsSetupError } from '../net/tls-context.ts';
import { VERSION_TEXT } from '../version.ts';
import { CliError, explainListen, readFlags, withConfig } from './common.ts';
import { holdSignals, serveUntilStopped } from './signals.ts';

const FLAGS = {
  daemon: { type: 'boolean', short: 'd' },
  reboot: { type: 'boolean', short: 'R' },
  quiet: { type: 'boolean', short: 'q' },
  verbose: { type: 'boolean', short: 'v', multiple: true },
  user: { type: 'string', short: 'u' },
  version: { type: 'boolean', short: 'V' },
  help: { type: 'boolean', short: 'h' },
} as const;

const HELP = `Sluice in PgBouncer's place: a connection pooler for PostgreSQL.

Usage:
  pgbouncer [OPTION]... CONFIG_FILE

Options:
  -d, --daemon         run in the background (as a daemon)
  -q, --quiet          run quietly: nothing on standard error
  -R, --reboot         take the place of a running pooler, and its connections as they come to rest
  -u, --user=USERNAME  assume the identity of USERNAME
  -v, --verbose        increase verbosity
  -V, --version        show the version, then exit
  -h, --help           show this help, then exit

Signals: HUP reloads; INT waits for servers, TERM for clients, a second one of either ends at
once, and so does QUIT; USR1 pauses, USR2 resumes.
`;

/** Set in the child that -d starts; what it says when it serves. Anything else that it says is why it does not. */
const CHILD = 'SLUICE_DAEMON_CHILD';
const UP = 'up';
/** A pidfile that somebody has removed may be missing for so long. */
const RESTORE_MS = 2_000;

export async function pgbouncer(args: readonly string[]): Promise<void> {
  const { values, positionals } = readFlags(args, FLAGS);
  if (values.help) {
    process.stdout.write(HELP);
    return;
  }
  if (values.version) {
    process.stdout.write(`${VERSION_TEXT}\nNode.js ${process.version}\n`);
    return;
  }
  const [file, ...extra] = positionals;
  if (file === undefined || extra.length > 0)
    throw new CliError('give one configuration file; `pgbouncer --help` shows the options', 2);
  const target = new LogTarget({ quiet: values.quiet ?? false, verbose: values.verbose?.length ?? 0 });
  const path = isAbsolute(file) ? file : resolve(file);
  const isOrBecomes = ({ global }: Config) => {
    try {
      becomeUser(values.user ?? global.user);
      return true;
    } catch {
      return false;
    }
  };
  const inBackground = values.daemon === true && process.env[CHILD] === undefined;
  await withConfig(
    path,
    target,
    async (config) => {
      if (inBackground) return;
      becomeUser(values.user ?? config.global.user, values.user === undefined ? config : null);
      await serve(path, config, target, values.reboot ?? false);
    },
    isOrBecomes,
  );
  // Before the user changes, who may not be allowed to start the program; the child says what there is to say in its log.
  if (inBackground) await intoBackground(args);
}

async function serve(path: string, config: Config, target: LogTarget, reboot: boolean): Promise<void> {
  const { pidfile, listenPort } = config.global;
  const letSignalsGo = holdSignals();
  let succeeding: Before | null = null;
  try {
    target.apply(config);
    if (reboot) succeeding = await succeed(config);
    if (reboot && succeeding === null) target.log.info('old process not found, try to continue normally');
    if (pidfile !== '' && succeeding === null && checkPidFile(pidfile)) target.log.info('stale pidfile, removing');
  } catch (error) {
    throw new CliError((error as Error).message);
  }
  const withoutPidFile = () => (pidfile === '' ? undefined : removePidFile(pidfile));
  const daemon = newDaemon(path, config, target, withoutPidFile);
  logDescriptorLimit(config, daemon.pooler.credentials.users.size, target.log);
  try {
    await daemon.start(succeeding?.listeners);
  } catch (error) {
    throw explainListen(error as NodeJS.ErrnoException, `port ${listenPort}`);
  }
  try {
    if (pidfile !== '') writePidFile(pidfile);
  } catch (error) {
    const message = `pidfile ${pidfile} cannot be written: ${(error as Error).message}`;
    throw new CliError(located(config, 'pidfile', message));
  }
  const served = serveUntilStopped(daemon, { service: true, cleanUp: withoutPidFile });
  letSignalsGo();
  daemon.log(`process up: ${VERSION_TEXT}, Node.js ${process.version}`);
  // A PgBouncer removes the file at its end, whosever it is.
  void succeeding?.carryOn(daemon.pooler).then(() => pidfile !== '' && restorePidFile(pidfile));
  process.send?.(UP);
  process.disconnect?.();
  const keeping = setInterval(() => {
    if (pidfile !== '' && daemon.isSettled) restorePidFile(pidfile);
  }, RESTORE_MS).unref();
  await served;
  clearInterval(keeping);
}

export function newDaemon(path: string, config: Config, target: LogTarget, replaced?: () => void): Daemon {
  try {
    return new Daemon({
      config,
      log: target.log,
      reread: () => readConfig(path, target.log),
      reconfigured: (changed) => target.apply(changed),
      reopenLog: () => target.reopen(),
      ...(replaced && { replaced }),
    });
  } catch (error) {
    if (error instanceof TlsSetupError || error instanceof AccessError || error instanceof ConfigFileError)
      throw new CliError(error.message);
    throw new CliError((error as Error).message);
  }
}

/** `config`: the file that names the user. As PgBouncer: never as root; who starts as root names a user, on the command line or in the file. */
function becomeUser(name: string, config: Config | null = null): void {
  const root = process.getuid?.() === 0;
  if (name === '') {
    if (root) throw new CliError('must not run as root: name a user with -u USERNAME or the setting user');
    return;
  }
  try {
    const { uid, gid } = userIds(name);
    if (uid === 0) throw new Error('that is root, and this must not run as root');
    if (process.getuid?.() === uid) return;
    (process as { initgroups?: (user: string, group: number) => void }).initgroups?.(name, gid);
    process.setgid?.(gid);
    process.setuid?.(uid);
  } catch (error) {
    const message = `cannot become user "${name}": ${(error as Error).message}`;
    throw new CliError(config === null ? message : located(config, 'user', message));
  }
}

/** Starts the same again, detached, and ends when the child serves or has failed. */
async function intoBackground(args: readonly string[]): Promise<void> {
  const child = spawn(process.execPath, [...process.execArgv, process.argv[1]!, ...args], {
    detached: true,
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    env: { ...process.env, [CHILD]: '1' },
  });
  const failure = await new Promise<string | null>((settle) => {
    child.once('message', (said) => settle(said === UP ? null : String(said)));
    child.once('error', (error) => settle(`the background process did not start: ${error.message}`));
    child.once('exit', () => settle('the background process did not start; its log says why'));
  });
  if (failure !== null) throw new CliError(failure);
  child.disconnect();
  child.unref();
  process.exit(0);
}
