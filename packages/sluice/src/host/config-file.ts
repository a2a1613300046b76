/** The configuration file as the daemon reads it: at start and at every RELOAD, all problems named with file and line. */
import { readFileSync, statSync } from 'node:fs';
import { decodeText } from '@sluice/wire';
import { type Config, formatProblem, hasErrors, parseConfig } from '../config/index.ts';
import type { Log } from '../telemetry/log.ts';
import { unsupportedSettings } from './unsupported.ts';

/** The file cannot be used; the log has the lines. */
export class ConfigFileError extends Error {
  /** Of a command that ends because of it: 2 when there is no such file, 1 when what it says is wrong. */
  readonly exitCode: number;

  constructor(message: string, exitCode = 1) {
    super(message);
    this.name = 'ConfigFileError';
    this.exitCode = exitCode;
  }
}

/** Of any encoding: names in it are compared byte by byte. */
export function readText(path: string): string {
  return decodeText(readFileSync(path));
}

/** Throws a ConfigFileError; by then every problem is in the log. `onRead` hears of a configuration with errors, too. */
export function readConfig(path: string, log: Log, onRead: (config: Config) => void = () => {}): Config {
  const text = readConfigText(path);
  const { config, problems } = parseConfig(text, { path, readFile: readText });
  onRead(config);
  for (const problem of problems) {
    if (problem.severity === 'error') log.error(formatProblem(problem));
    else log.warn(formatProblem(problem));
  }
  const unsupported = unsupportedSettings(config);
  for (const { place, message } of unsupported) log.error(`${place.file}:${place.line}: ${message}`);
  if (hasErrors(problems) || unsupported.length > 0)
    throw new ConfigFileError(`cannot load config file: ${path} has errors; mend the lines named above`);
  return config;
}

/** Throws a ConfigFileError that says why the file cannot be read. */
export function readConfigText(path: string): string {
  try {
    if (statSync(path).isDirectory())
      throw new ConfigFileError(`${path} is a directory; name the configuration file in it`, 2);
    return readText(path);
  } catch (error) {
    if (error instanceof ConfigFileError) throw error;
    if ((error as NodeJS.ErrnoException).code === 'ENOENT')
      throw new ConfigFileError(`there is no file "${path}"; give a configuration file or a postgres:// URL`, 2);
    throw new ConfigFileError(`cannot read ${path}: ${(error as Error).message}`);
  }
}
