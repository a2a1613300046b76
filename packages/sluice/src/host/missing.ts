/**
 * What a configuration names on this machine and is not there: folders, files, users, groups. Looks only: whether somebody may write
 * somewhere shows when he does.
 */
import { accessSync, constants, statSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Config, Severity } from '../config/index.ts';
import { groupId, userIds } from './groups.ts';

export interface Missing {
  readonly setting: string;
  /** `warning`: PgBouncer starts without it, and so do we. */
  readonly severity: Severity;
  /** What is wrong and what to do; without the place. */
  readonly message: string;
}

/** Each setting that cannot have what it names. */
export function missingHere({ global }: Config): Missing[] {
  const { resolvConf, logfile, pidfile, unixSocketDir, listenPort, unixSocketGroup, user } = global;
  const found: Missing[] = [];
  const look = (
    setting: string,
    value: string,
    wrong: (value: string) => string | null,
    severity: Severity = 'error',
  ) => {
    const message = value === '' ? null : wrong(value);
    if (message !== null) found.push({ setting, severity, message });
  };
  look('resolv_conf', resolvConf, unreadable, 'warning');
  look('logfile', logfile, (path) => noPlaceFor('logfile', path));
  look('pidfile', pidfile, (path) => noPlaceFor('pidfile', path));
  const hasSocketFile = listenPort > 0 && unixSocketDir !== '' && !unixSocketDir.startsWith('@');
  if (hasSocketFile) look('unix_socket_dir', unixSocketDir, noFolder);
  const group = (name: string) => attempt('unix_socket_group', () => groupId(name));
  look('unix_socket_group', unixSocketGroup, group, hasSocketFile ? 'error' : 'warning');
  look('user', user, (name) => attempt('user', () => userIds(name)));
  return found;
}

function attempt(setting: string, look: () => unknown): string | null {
  try {
    look();
    return null;
  } catch (error) {
    return `${setting}: ${(error as Error).message}`;
  }
}

function unreadable(path: string): string | null {
  try {
    accessSync(path, constants.R_OK);
    return null;
  } catch (error) {
    return `resolv_conf ${path} cannot be read: ${(error as Error).message}; names are asked of 127.0.0.1`;
  }
}

function noPlaceFor(setting: string, path: string): string | null {
  if (isFolder(path)) return `${setting} ${path} is a directory: name a file in it`;
  const folder = dirname(path);
  return isFolder(folder)
    ? null
    : `${setting} ${path} cannot be written: there is no directory ${folder}; make it, or name another`;
}

function noFolder(path: string): string | null {
  return isFolder(path)
    ? null
    : `unix_socket_dir ${path} is no directory: make it, or name another; empty for no Unix socket`;
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}
