/** `sluice start`: runs the pooler for a URL or from a configuration file. */
import { parseSecret, type Secret } from '@sluice/wire';
import { parseConfig, parseDatabaseUrl, quoteValue, redactUrl } from '../config/index.ts';
import { Daemon } from '../daemon.ts';
import { LogTarget } from '../host/log-target.ts';
import { Log } from '../telemetry/log.ts';
import { CliError, explainListen, reachedAt, readFlags, readListen, withConfig } from './common.ts';
import { newDaemon } from './pgbouncer.ts';
import { probe } from './probe.ts';
import { holdSignals, serveUntilStopped } from './signals.ts';
import { type TlsOfUrl, tlsSettings } from './url-tls.ts';

const FLAGS = {
  listen: { type: 'string' },
  'pool-size': { type: 'string' },
  'pool-mode': { type: 'string' },
  verbose: { type: 'boolean', short: 'v' },
  quiet: { type: 'boolean', short: 'q' },
} as const;

export const start = {
  usage: 'start URL|FILE [flags]',
  summary: 'pool a database, or run from a configuration file',
  help: `
URL   postgres://user:password@host:port/database. Clients log in to the pooler with this
      user and password. Percent-encode special characters in the password. sslmode,
      sslrootcert, sslcert, sslkey and sslnegotiation mean what they mean to libpq.
FILE  a configuration in pgbouncer.ini's format; \`sluice check FILE\` explains it. SIGHUP reads
      it again; TERM waits for clients to leave.

Flags:
  --listen HOST:PORT   where clients connect (default 127.0.0.1:6432; nothing else is
                       opened to the network unless asked for)          [URL only]
  --pool-size N        server connections at most (default 20)          [URL only]
  --pool-mode MODE     transaction (default), session or statement      [URL only]
  -v, --verbose        more in the log
  -q, --quiet          no greeting

Ctrl-C drains: no new clients, transactions under way may end. A second Ctrl-C stops at once.
`,
  async run(args: readonly string[]): Promise<void> {
    const { values, positionals } = readFlags(args, FLAGS);
    const [target, ...extra] = positionals;
    if (target === undefined)
      throw new CliError('start needs a postgres:// URL or a configuration file; `sluice demo` needs neither', 2);
    if (extra.length > 0) throw new CliError(`start takes one URL or file, not also "${extra[0]}"`, 2);
    const verbose = values.verbose ? 1 : 0;
    const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(target)?.[1];
    if (scheme !== undefined && !/^postgres(ql)?$/i.test(scheme))
      throw new CliError(
        `"${scheme}://" is no URL of PostgreSQL's: write postgres://user:password@host:port/database`,
        2,
      );
    if (/^postgres(ql)?:/i.test(target)) await startUrl(target, { ...values, verbose });
    else await startFile(target, { verbose, quiet: false });
  },
};

export function consoleLog(verbose: number, format: 'text' | 'json' = 'text'): Log {
  return new Log([{ write: (line) => process.stderr.write(`${line}\n`) }], { format, verbose });
}

interface UrlFlags {
  listen?: string | undefined;
  'pool-size'?: string | undefined;
  'pool-mode'?: string | undefined;
  quiet?: boolean | undefined;
  verbose: number;
}

async function startUrl(text: string, flags: UrlFlags): Promise<void> {
  const url = readUrl(text);
  const listen = readListen(flags.listen ?? '127.0.0.1:6432');
  await probe(url);
  if (url.password === '')
    throw new CliError(
      `the URL has no password, and clients log in here by it: write postgres://${encodeURIComponent(url.user)}:PASSWORD@…; where PostgreSQL asks for none, as here, any will do`,
    );
  const { daemon } = await runPooler(url, listen, flags);
  // Signals first: whoever reads the greeting may send one.
  const served = serveUntilStopped(daemon, { service: false });
  if (!flags.quiet) greet(daemon, url, listen.host);
  await served;
}

/** What the pooler needs to know of a database given by URL. */
export interface DatabaseUrl extends TlsOfUrl {
  host: string;
  port: number;
  user: string;
  password: string;
  database: string;
}

/** Parameters of a URL that say how servers are reached. */
const OF_THE_SERVER_SIDE: ReadonlySet<string> = new Set([
  'sslmode',
  'sslrootcert',
  'sslcert',
  'sslkey',
  'sslnegotiation',
]);

const OF_SAFETY = /^ssl|channel_binding|gssenc|require_auth/;

function readUrl(text: string): DatabaseUrl {
  const parsed = parseDatabaseUrl(text);
  if ('error' in parsed) throw new CliError(`${parsed.error}`, 2);
  for (const name of parsed.params.keys()) {
    if (OF_THE_SERVER_SIDE.has(name)) continue;
    const message = `the URL's parameter "${name}" means nothing here: those that do are ${[...OF_THE_SERVER_SIDE].join(', ')}; clients give theirs in their own connection strings`;
    // What somebody wants for safety, or has misspelt, is not passed over.
    if (OF_SAFETY.test(name)) throw new CliError(message, 2);
    process.stderr.write(`sluice: warning: ${message}\n`);
  }
  return parsed;
}

/** Starts the pooler for one server: any database on it, one user. */
export async function runPooler(
  url: DatabaseUrl,
  listen: { host: string; port: number },
  flags: UrlFlags,
): Promise<{ daemon: Daemon; port: number }> {
  const tls = tlsSettings(url);
  const ini = [
    '[databases]',
    `* = host=${quoteValue(url.host)} port=${url.port} ${tls.pair}`,
    '[pgbouncer]',
    ...tls.lines,
    `listen_addr = ${listen.host}`,
    `listen_port = ${listen.port}`,
    'unix_socket_dir =',
    'auth_type = scram-sha-256',
    `pool_mode = ${flags['pool-mode'] ?? 'transaction'}`,
    `default_pool_size = ${flags['pool-size'] ?? '20'}`,
    'max_client_conn = 10000',
    // The aim: an application written for a direct connection finds what it knows.
    'session_state = follow',
  ].join('\n');
  const { config, problems } = parseConfig(ini, { path: 'command line', readFile: () => '' });
  const bad = problems.find(({ severity }) => severity === 'error');
  if (bad !== undefined) throw new CliError(bad.message, 2);
  const secrets = new Map<string, Secret>([[url.user, parseSecret(url.password)]]);
  const daemon = new Daemon({ config, secrets, log: consoleLog(flags.verbose) });
  try {
    await daemon.start();
  } catch (error) {
    throw explainListen(error as NodeJS.ErrnoException, `${listen.host}:${listen.port}`);
  }
  return { daemon, port: daemon.listeners[0]!.port };
}

function greet(daemon: Daemon, url: DatabaseUrl, host: string): void {
  const shown = redactUrl(url);
  const port = daemon.listeners[0]!.port;
  const at = reachedAt(host);
  process.stdout.write(`
Pooling ${shown}

  Connect to:  postgres://${encodeURIComponent(url.user)}:PASSWORD@${at}:${port}/${encodeURIComponent(url.database)}
  Try:         psql ${inShell(`host=${at.replace(/[[\]]/g, '')} port=${port} user=${conninfo(url.user)} dbname=${conninfo(url.database)}`)} -c "select 1"
  Stop:        Ctrl-C (drains; a second one stops at once)

`);
}

/** A value in libpq's connection string. */
function conninfo(value: string): string {
  return /^[\w.-]+$/.test(value) ? value : `'${value.replace(/[\\']/g, '\\$&')}'`;
}

/** An argument in a POSIX shell. */
function inShell(text: string): string {
  return /[\\'"$`!]/.test(text) ? `'${text.replaceAll("'", "'\\''")}'` : `"${text}"`;
}

async function startFile(path: string, flags: { verbose: number; quiet: boolean }): Promise<void> {
  const letSignalsGo = holdSignals();
  const target = new LogTarget(flags);
  await withConfig(path, target, async (config) => {
    try {
      target.apply(config);
    } catch (error) {
      throw new CliError((error as Error).message);
    }
    const daemon = newDaemon(path, config, target);
    try {
      await daemon.start();
    } catch (error) {
      throw explainListen(error as NodeJS.ErrnoException, `port ${config.global.listenPort}`);
    }
    const served = serveUntilStopped(daemon, { service: true });
    letSignalsGo();
    await served;
  });
}
