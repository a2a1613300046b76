/** `sluice check`: reads a configuration, says what is wrong with it and where, changes nothing. */
import { readFileSync } from 'node:fs';
import { readUsers } from '../auth/user-file.ts';
import { type Config, hasErrors, loadAccess, parseConfig } from '../config/index.ts';
import { readConfigText, readText } from '../host/config-file.ts';
import { type Missing, missingHere } from '../host/missing.ts';
import { unsupportedSettings } from '../host/unsupported.ts';
import { loadTls, TlsSetupError } from '../net/tls-context.ts';
import { CliError, readFlags } from './common.ts';

export const check = {
  usage: 'check FILE',
  summary: 'validate a configuration file and explain it',
  help: `
Reads FILE as \`sluice start FILE\` would, prints every problem with file and line, and a
summary of what the file asks for. Exit code 0: usable; 1: it has errors.
`,
  async run(args: readonly string[]): Promise<void> {
    const { positionals } = readFlags(args, {});
    const [path] = positionals;
    if (path === undefined || positionals.length > 1) throw new CliError('check takes one configuration file', 2);
    const { config, problems: own } = parseConfig(readConfigText(path), {
      path,
      readFile: readText,
    });
    const problems = [...own, ...loadAccess(config, readText, 'warning').problems];
    const unsupported = unsupportedSettings(config);
    const missing = [...tlsErrors(config), ...missingHere(config)];
    const later = missing.map(
      ({ setting, severity, message }) => [placeOf(config, setting), severity, message] as const,
    );
    // What is wrong with a line is said once: in PgBouncer's words where it has them.
    const isTold = (place: string, said: string) => later.some(([at, , text]) => at === place && text.includes(said));
    const wrong = new Set(problems.filter(isError).map(({ file, line }) => `${file}:${line}: `));
    for (const { severity, file, line, message } of problems)
      if (!isTold(`${file}:${line}: `, message)) process.stdout.write(`${file}:${line}: ${severity}: ${message}\n`);
    for (const problem of userProblems(config)) process.stdout.write(`${problem}\n`);
    for (const { place, message } of unsupported)
      if (!wrong.has(`${place.file}:${place.line}: `))
        process.stdout.write(`${place.file}:${place.line}: error: ${message}\n`);
    for (const [place, severity, message] of later) process.stdout.write(`${place}${severity}: ${message}\n`);
    if (hasErrors(problems) || hasErrors(missing) || unsupported.length > 0) throw new CliError(`${path} has errors`);
    const { global } = config;
    const names = [...config.databases.keys(), ...(config.fallback === undefined ? [] : ['*'])];
    process.stdout.write(`${path} is usable.
  listens on   ${global.listenAddr.join(', ') || '(no TCP)'} port ${global.listenPort}${global.unixSocketDir === '' ? '' : `, Unix socket in ${global.unixSocketDir}`}
  databases    ${names.join(', ') || '(none)'}
  pooling      ${global.poolMode}, ${global.defaultPoolSize} servers a pool, ${global.maxClientConn} clients at most
  login        ${global.authType}${global.authFile === '' ? '' : `, users from ${global.authFile}`}
`);
  },
};

function isError({ severity }: { readonly severity: string }): boolean {
  return severity === 'error';
}

/** What of auth_file lets nobody in: lines that make no sense, or all of it. PgBouncer starts with it all the same, and so do we. */
function userProblems(config: Config): string[] {
  const { authFile } = config.global;
  if (authFile === '') return [];
  try {
    return readUsers(readText(authFile), authFile).problems.map((problem) =>
      problem.replace(/^(.*?:\d+): /, '$1: warning: '),
    );
  } catch (error) {
    const why = (error as Error).message;
    return [`${placeOf(config, 'auth_file')}warning: auth_file ${authFile} cannot be read: ${why}`];
  }
}

/** What is wrong with the TLS settings or the files that they name. */
function tlsErrors(config: Config): Missing[] {
  try {
    loadTls(config.global, (path) => readFileSync(path, 'utf8'));
    return [];
  } catch (error) {
    if (!(error instanceof TlsSetupError)) throw error;
    const { setting, message } = error;
    return [{ setting, severity: 'error', message }];
  }
}

/** Where a setting was given, as problems begin; empty where it was not. */
function placeOf({ given }: Config, setting: string): string {
  const place = given.get(setting);
  return place === undefined ? '' : `${place.file}:${place.line}: `;
}
