// Owns the format of auth_file: users and their secrets, `"user" "secret"` a line.
// It must not know how a secret proves anything, and opens no file. No message holds a secret.

import { parseSecret } from '@sluice/wire';
import { at, type Problem, Problems, quote } from './problem.ts';
import { MAX_USER_NAME } from './sections.ts';
import type { Place } from './settings.ts';
import { utf8Bytes } from './text.ts';

/** What a secret is, as PostgreSQL tells them apart (get_password_type): what is neither md5 nor SCRAM is plain. */
export type SecretKind = 'plain' | 'md5' | 'scram';

/** The longest secret that is kept, in bytes (MAX_PASSWORD of PgBouncer's bouncer.h, less the closing zero). */
export const MAX_SECRET = 65_530;

export interface UserlistEntry {
  readonly name: string;
  /** As it stands in the file, quotes undone. May be empty: then no password can match. */
  readonly secret: string;
  readonly kind: SecretKind;
  readonly place: Place;
}

export interface UserlistResult {
  readonly users: ReadonlyMap<string, UserlistEntry>;
  readonly problems: readonly Problem[];
}

/** Two fields in double quotes ("" stands for one), whatever follows on the line is ignored. */
const LINE = /^"([^"]*(?:""[^"]*)*)"(?!")([^"]*)"([^"]*(?:""[^"]*)*)"(?!")/;

/**
 * Reads the text of auth_file (PgBouncer doc/config.md, "Authentication file format"). Lines that begin with `;` are
 * comments. Where PgBouncer stops at the first bad line, this goes on, so that all problems come at once. A user that
 * stands in the file twice has the last secret. Never throws.
 */
export function parseUserlist(text: string, path: string): UserlistResult {
  const problems = new Problems();
  const users = new Map<string, UserlistEntry>();
  const lines = text.replace(/^\uFEFF/, '').split('\n');
  lines.forEach((raw, index) => {
    const line = raw.trim();
    if (line === '' || line.startsWith(';')) return;
    const entry = parseLine(line, { file: path, line: index + 1 }, problems);
    if (entry === null) return;
    warnTwice(users.get(entry.name), entry, problems);
    users.set(entry.name, entry);
  });
  return { users, problems: problems.list };
}

function parseLine(line: string, place: Place, problems: Problems): UserlistEntry | null {
  const match = LINE.exec(line);
  if (match === null) {
    problems.error(place, null, `broken auth file: ${explain(line)}`);
    return null;
  }
  const name = match[1]!.replaceAll('""', '"');
  const secret = match[3]!.replaceAll('""', '"');
  const flaw = findFlaw(name, secret);
  if (flaw !== null) {
    problems.error(place, null, flaw);
    return null;
  }
  if (match[2]!.trim() !== '') {
    problems.warning(place, name, `text between name and secret of user ${quote(name)} is ignored: remove it`);
  }
  const kind = classifySecret(secret);
  if (kind === 'plain' && secret.startsWith('SCRAM-SHA-256$')) {
    problems.warning(
      place,
      name,
      `the secret of user ${quote(name)} looks like SCRAM but is malformed, so it counts as a plain ` +
        'password, as in PostgreSQL: copy the whole SCRAM-SHA-256$<iterations>:<salt>$<storedkey>:<serverkey>',
    );
  }
  return { name, secret, kind, place };
}

function findFlaw(name: string, secret: string): string | null {
  if (name === '') return 'empty user name in auth file: write a name between the first two quotes';
  if (name.includes('\0') || secret.includes('\0')) return 'zero byte in auth file: is this a text file?';
  if (utf8Bytes(name) > MAX_USER_NAME) {
    return `username too long in auth file: ${quote(name)} has more than ${MAX_USER_NAME} bytes`;
  }
  if (utf8Bytes(secret) > MAX_SECRET) {
    return `password too long in auth file: that of ${quote(name)} has more than ${MAX_SECRET} bytes`;
  }
  return null;
}

/** Says which quote is missing; shows nothing of the line, since any of it may be a secret. */
function explain(line: string): string {
  if (!line.startsWith('"')) return 'a line is "user" "secret", and a comment begins with ";"';
  const quotes = line.split('"').length - 1;
  if (quotes === 2) return 'the secret is missing: write "user" "secret", with "" for no secret';
  return 'a quote does not close on its line: write "" for a quote inside a name or secret';
}

function warnTwice(before: UserlistEntry | undefined, entry: UserlistEntry, problems: Problems): void {
  if (before === undefined || before.secret === entry.secret) return;
  problems.warning(
    entry.place,
    entry.name,
    `user ${quote(entry.name)} has a secret already ${at(before.place)}: this one counts`,
  );
}

/** Tells what a secret is, by the rule that authentication goes by. */
export function classifySecret(secret: string): SecretKind {
  return parseSecret(secret).kind;
}

/** Writes a line of auth_file that is read back as it is. Neither text may hold a line break. */
export function formatUserlistLine(name: string, secret: string): string {
  return `"${name.replaceAll('"', '""')}" "${secret.replaceAll('"', '""')}"`;
}
