/** Programs that a machine may have: psql, pgbench and PgBouncer of Debian, or on the PATH. */
import { execFile } from 'node:child_process';
import { accessSync, constants, readdirSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import type { Coordinates } from './global-setup.ts';

function debianFolders(): string[] {
  try {
    return readdirSync('/usr/lib/postgresql').map((version) => join('/usr/lib/postgresql', version, 'bin'));
  } catch {
    return [];
  }
}

function find(
  name: string,
  folders = [...debianFolders(), ...(process.env.PATH ?? '').split(delimiter)],
): string | null {
  for (const folder of folders)
    try {
      accessSync(join(folder, name), constants.X_OK);
      return join(folder, name);
    } catch {
      // not there
    }
  return null;
}

export const PSQL = find('psql');
export const PGBENCH = find('pgbench');
/** Not from the PATH, where ours has that name. */
export const PGBOUNCER = process.env.PGBOUNCER ?? find('pgbouncer', ['/usr/sbin', '/usr/local/sbin', '/usr/local/bin']);

export interface Outcome {
  code: number;
  stdout: string;
  stderr: string;
}

/** Runs a program against a server; resolves whatever its exit code. */
export function runProgram(program: string, args: string[], at: Coordinates, input = ''): Promise<Outcome> {
  const env = {
    ...process.env,
    PGHOST: at.host,
    PGPORT: String(at.port),
    PGUSER: at.user,
    PGPASSWORD: at.password,
    PGDATABASE: at.database,
    PGCONNECT_TIMEOUT: '20',
  };
  return new Promise((resolve) => {
    const child = execFile(program, args, { env, maxBuffer: 64 << 20 }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code ?? 1), stdout, stderr });
    });
    child.stdin!.end(input);
  });
}
