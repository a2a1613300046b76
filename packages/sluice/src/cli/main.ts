/** The command line: finds the command, prints help and version, turns a failure into one line and an exit code. */

import { ConfigFileError } from '../host/config-file.ts';
import { outliveReaders } from '../host/standard-streams.ts';
import { VERSION } from '../version.ts';
import { check } from './check.ts';
import { CliError } from './common.ts';
import { demo } from './demo.ts';
import { pgbouncer } from './pgbouncer.ts';
import { start } from './start.ts';

interface Command {
  readonly usage: string;
  readonly summary: string;
  readonly help: string;
  run(args: readonly string[]): Promise<void>;
}

export const COMMANDS: Readonly<Record<string, Command>> = { start, demo, check };

/** Never throws; ends the process with code 1 after an error, 2 after a wrong call. */
export function main(args: readonly string[]): void {
  outliveReaders();
  run(args).catch((error: unknown) => fail('sluice', error, isKnown(error) ? error.exitCode : 1));
}

/** The same for PgBouncer's command line, with 1 whatever was wrong. */
export function mainPgbouncer(args: readonly string[]): void {
  outliveReaders();
  pgbouncer(args).catch((error: unknown) => fail('pgbouncer', error, 1));
}

function isKnown(error: unknown): error is CliError | ConfigFileError {
  return error instanceof CliError || error instanceof ConfigFileError;
}

/** With -q it is in the log that the configuration names, and there only. */
function isTold(error: unknown): boolean {
  return (error as { isTold?: boolean } | null)?.isTold === true;
}

function fail(program: string, error: unknown, exitCode: number): void {
  const text = isKnown(error) ? error.message : `unexpected error: ${(error as Error)?.stack ?? error}`;
  if (!isTold(error)) process.stderr.write(`${program}: ${text}\n`);
  const exit = () => process.exit(exitCode);
  // In the background there is no standard error: whoever started the process tells it.
  if (process.send === undefined) exit();
  else process.send(text, exit);
}

async function run(args: readonly string[]): Promise<void> {
  const [name, ...rest] = args;
  if (name === '--version' || name === '-V') {
    process.stdout.write(`sluice ${VERSION}\n`);
    return;
  }
  if (name === undefined || name === '--help' || name === '-h' || name === 'help') {
    const topic = name === 'help' ? rest[0] : undefined;
    process.stdout.write(topic !== undefined && COMMANDS[topic] ? commandHelp(COMMANDS[topic]) : overview());
    return;
  }
  const command = COMMANDS[name];
  if (command === undefined) throw new CliError(`there is no command "${name}"; \`sluice --help\` lists them`, 2);
  if (rest.includes('--help') || rest.includes('-h')) {
    process.stdout.write(commandHelp(command));
    return;
  }
  await command.run(rest);
}

function overview(): string {
  const rows = Object.values(COMMANDS).map(({ usage, summary }) => `  ${usage.padEnd(38)} ${summary}`);
  return `Sluice pools connections to PostgreSQL: many clients, few server connections.

Usage: sluice COMMAND [ARGUMENTS]

Commands:
${rows.join('\n')}

  sluice COMMAND --help                  explains a command
  sluice --version                       prints the version

Examples:
  sluice demo                            try it, with a PostgreSQL of its own
  sluice start postgres://app:secret@db.internal:5432/shop
  sluice start /etc/sluice/sluice.ini    a file in pgbouncer.ini's format
  sluice check /etc/pgbouncer/pgbouncer.ini
`;
}

function commandHelp({ usage, help }: Command): string {
  return `Usage: sluice ${usage}\n\n${help.trim()}\n`;
}
