/** Groups and users of the machine by name, from /etc/group and /etc/passwd. Those of a directory service have no entry there. */
import { readFileSync } from 'node:fs';

/** The number of a group, given by name or number. Throws when there is none. */
export function groupId(name: string): number {
  return idOf('/etc/group', name, 'group');
}

export interface UserIds {
  readonly uid: number;
  readonly gid: number;
}

/** Throws when there is no such user. */
export function userIds(name: string): UserIds {
  const uid = idOf('/etc/passwd', name, 'user');
  const line = lines('/etc/passwd').find((fields) => fields[0] === name || Number(fields[2]) === uid);
  return { uid, gid: line === undefined ? uid : Number(line[3]) };
}

function idOf(file: string, name: string, what: string): number {
  if (/^\d+$/.test(name)) return Number(name);
  const id = lines(file).find((fields) => fields[0] === name)?.[2];
  if (id === undefined) throw new Error(`there is no ${what} "${name}" on this machine; see ${file}`);
  return Number(id);
}

function lines(file: string): string[][] {
  return readFileSync(file, 'utf8')
    .split('\n')
    .map((line) => line.split(':'));
}
