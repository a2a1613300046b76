/** What the commands share: the error that ends a command, flag reading, a run from a file. */
import { type ParseArgsConfig, parseArgs } from 'node:util';
import { type Config, hasErrors, located } from '../config/index.ts';
import { readConfig } from '../host/config-file.ts';
import type { LogTarget } from '../host/log-target.ts';
import { missingHere } from '../host/missing.ts';
import { listen } from '../net/listen.ts';

/** A failure told in one line; no stack. */
export class CliError extends Error {
  readonly exitCode: number;
  /** It was said where the configuration asks for it, and with -q nowhere else. */
  isTold = false;

  constructor(message: string, exitCode = 1) {
    super(message);
    this.name = 'CliError';
    this.exitCode = exitCode;
  }
}

type Flags<T extends NonNullable<ParseArgsConfig['options']>> = ReturnType<
  typeof parseArgs<{ args: string[]; options: T; allowPositionals: true }>
>;

/** Reads flags; an unknown one is a CliError that names it. */
export function readFlags<T extends NonNullable<ParseArgsConfig['options']>>(
  args: readonly string[],
  options: T,
): Flags<T> {
  try {
    return parseArgs({ args: [...args], options, allowPositionals: true });
  } catch (error) {
    const [first] = (error as Error).message.split(/\.\s/);
    throw new CliError(`${first!.replaceAll('\n', ' ')}; --help shows what there is`, 2);
  }
}

/** "HOST:PORT", "[V6]:PORT", "HOST" or ":PORT". Throws a CliError that names the flag. */
export function readListen(text: string): { host: string; port: number } {
  const match = /^(?:\[([^\]]+)\]|([^:]*))(?::(\d{1,5}))?$/.exec(text);
  const port = match?.[3] === undefined ? 6432 : Number(match[3]);
  if (match === null || port > 65_535 || /^\d+$/.test(text))
    throw new CliError(
      `--listen "${text}" is not HOST:PORT; for example --listen 0.0.0.0:6432 or --listen [::1]:6432`,
      2,
    );
  return { host: match[1] ?? (match[2] || '127.0.0.1'), port };
}

/** How a client on this machine reaches an address that is listened on: where that is every one, by the loopback. For a URL. */
export function reachedAt(host: string): string {
  const own = host === '*' || host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
  return own.includes(':') ? `[${own}]` : own;
}

/** Can it be listened on? Rejects with a CliError. Before much is begun that would have to be undone. */
export async function tryListen({ host, port }: { host: string; port: number }): Promise<void> {
  try {
    (await listen({ host, port, unix: false, backlog: 1 }, (conn) => conn.destroy())).close();
  } catch (error) {
    throw explainListen(error as NodeJS.ErrnoException, `${host}:${port}`);
  }
}

/** A system error of listening, said so that it can be mended. */
export function explainListen(error: NodeJS.ErrnoException & { where?: string }, at: string): CliError {
  const { where = at } = error;
  if (error.code === 'EADDRINUSE' && where.startsWith('unix:'))
    return new CliError(
      `cannot listen on ${where}: unix socket is in use, cannot continue; stop what uses it, or choose another listen_port or unix_socket_dir`,
    );
  if (error.code === 'EADDRINUSE')
    return new CliError(
      `cannot listen on ${where}: the address is in use; stop what uses it, or choose another with --listen HOST:PORT (listen_port in a file)`,
    );
  if (error.code === 'EPERM' && where.startsWith('unix:'))
    return new CliError(
      `cannot listen on ${where}: the socket file there is left from another user's process and may not be removed; remove it, or choose another listen_port or unix_socket_dir`,
    );
  if (error.code === 'EACCES')
    return new CliError(
      `cannot listen on ${where}: not permitted; ports below 1024 need privileges, a Unix socket a directory that may be written`,
    );
  if (error.code === 'EADDRNOTAVAIL' || error.code === 'ENOTFOUND')
    return new CliError(
      `cannot listen on ${where}: this machine has no such address; use 127.0.0.1, ::1, 0.0.0.0 or * (listen_addr)`,
    );
  return new CliError(`cannot listen on ${where}: ${error.message}`);
}

/**
 * Runs from a configuration file. Why that fails is told to the log that it names, too, as in PgBouncer. `mayLog`: is this by now
 * the user who may write there?
 */
export async function withConfig(
  path: string,
  target: LogTarget,
  run: (config: Config) => Promise<void>,
  mayLog: (config: Config) => boolean = () => true,
): Promise<void> {
  let read: Config | null = null;
  try {
    const config = readConfig(path, target.log, (one) => {
      read = one;
    });
    // A user by another name may have been asked for on the command line.
    const missing = missingHere(config).filter(({ setting }) => setting !== 'user');
    for (const { setting, severity, message } of missing)
      target.log.write(severity === 'error' ? 'ERROR' : 'WARNING', '', located(config, setting, message));
    if (hasErrors(missing))
      throw new CliError(`cannot load config file: ${path} has errors; mend the lines named above`);
    await run(config);
  } catch (error) {
    const isTold = target.writeFatal(read !== null && mayLog(read) ? read : null, (error as Error).message);
    throw isTold ? Object.assign(error as Error, { isTold }) : error;
  }
}
