/** auth_file, read at the start and at a RELOAD; what is wrong with it is said. */
import type { Secret } from '@sluice/wire';
import { readUsers } from '../auth/user-file.ts';
import type { Config } from '../config/index.ts';
import type { Log } from '../telemetry/log.ts';
import { readText } from './config-file.ts';

export interface UserSecrets {
  /** Null: it cannot be read. */
  readonly secrets: ReadonlyMap<string, Secret> | null;
  /** What is wrong with it, as it was said; null: it cannot be read. */
  readonly said: readonly string[] | null;
}

/** Lines that make no sense, and a file that cannot be read, are logged; null: there is no file, and what is known stays. */
export function readSecrets(config: Config, log: Log): UserSecrets {
  const { authFile } = config.global;
  if (authFile === '') return { secrets: new Map(), said: [] };
  let text: string;
  try {
    text = readText(authFile);
  } catch (error) {
    log.error(`could not open auth_file ${authFile}: ${(error as Error).message}`);
    return { secrets: null, said: null };
  }
  const { users, problems } = readUsers(text, authFile);
  for (const problem of problems) log.warn(problem);
  return { secrets: users, said: problems };
}
