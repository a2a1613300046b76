/**
 * What is known of users: secrets from auth_file, secrets that auth_query found, and what logins proved (SCRAM keys, passwords
 * sent in plain). Answers how a server is logged in to; who may come in is the gate's business. Everything that comes
 * from outside is bounded, oldest out first.
 */
import { formatScramSecret, type ScramKeys, type Secret, toHex } from '@sluice/wire';
import type { UsualSecret } from '../auth/method.ts';

/** Users remembered beyond those of auth_file. */
const KEPT = 10_000;

export interface ProvenPassword {
  readonly password: string;
  /** The secret that the password was checked against; null: another service did it (LDAP), whatever is known here. */
  readonly against: Secret | null;
}

export class Credentials {
  /** Secrets of the users in auth_file. */
  #users: ReadonlyMap<string, Secret>;
  #usual: UsualSecret | null = null;
  /** What auth_query said last, by database and user. */
  readonly #answers = new Map<string, Secret | null>();
  /** Kind of the last secret that auth_query found. */
  #lastFound: Secret | null = null;
  readonly #passwords = new Map<string, ProvenPassword>();
  readonly #scramKeys = new Map<string, ScramKeys>();

  constructor(users: ReadonlyMap<string, Secret>) {
    this.#users = users;
  }

  get users(): ReadonlyMap<string, Secret> {
    return this.#users;
  }

  /** auth_file was read again. */
  replace(users: ReadonlyMap<string, Secret>): void {
    this.#users = users;
    this.#usual = null;
  }

  /** What a server's login as this user goes by, in this database. */
  secretFor(database: string, user: string): Secret | null {
    const id = key(database, user);
    const known = this.#users.get(user) ?? this.#answers.get(id) ?? null;
    const proven = this.#passwords.get(id);
    if (proven !== undefined && (proven.against === null || same(proven.against, known)))
      return { kind: 'plain', password: proven.password };
    return known;
  }

  /** Keys that a client proved for this very secret: pass-through. */
  keysFor(user: string, secret: Secret | null): ScramKeys | null {
    return secret?.kind === 'scram' ? (this.#scramKeys.get(key(user, toHex(secret.storedKey))) ?? null) : null;
  }

  /** auth_query found the user. True when that is news for servers. */
  learnAnswer(database: string, user: string, secret: Secret | null): boolean {
    const id = key(database, user);
    const news = !this.#answers.has(id) || !same(this.#answers.get(id)!, secret);
    remember(this.#answers, id, secret);
    if (secret !== null) this.#lastFound = secret;
    return news;
  }

  /** True when the keys are news. */
  learnScramKeys(user: string, keys: ScramKeys): boolean {
    const id = key(user, toHex(keys.storedKey));
    const news = !this.#scramKeys.has(id);
    remember(this.#scramKeys, id, keys);
    return news;
  }

  /** A password sent in plain was the right one. True when that is news for servers. */
  learnPassword(database: string, user: string, proven: ProvenPassword): boolean {
    const id = key(database, user);
    const before = this.#passwords.get(id);
    remember(this.#passwords, id, proven);
    return before?.password !== proven.password || !same(before.against, proven.against);
  }

  /** What most users have, so that one that does not exist can be treated alike. `queried`: it was asked of auth_query. */
  usual(queried: boolean, scramIterations: number): UsualSecret {
    if (queried) {
      const last = this.#lastFound;
      return { kind: last?.kind ?? 'scram', iterations: last?.kind === 'scram' ? last.iterations : scramIterations };
    }
    if (this.#usual === null) {
      const counts: Record<Secret['kind'], number> = { plain: 0, md5: 0, scram: 0 };
      const rounds = new Map<number, number>();
      for (const secret of this.#users.values()) {
        if (isEmpty(secret)) continue;
        counts[secret.kind]++;
        if (secret.kind === 'scram') rounds.set(secret.iterations, (rounds.get(secret.iterations) ?? 0) + 1);
      }
      const [iterations] = [...rounds].sort((a, b) => b[1] - a[1])[0] ?? [0];
      this.#usual = { kind: mostOf(counts), iterations };
    }
    return this.#usual;
  }
}

function mostOf(counts: Record<Secret['kind'], number>): Secret['kind'] {
  if (counts.scram > counts.plain + counts.md5) return 'scram';
  return counts.md5 > counts.plain ? 'md5' : 'plain';
}

/** The secret "" of auth_file: there is such a user, and no password lets anybody in. */
export function isEmpty(secret: Secret): boolean {
  return secret.kind === 'plain' && secret.password === '';
}

function key(a: string, b: string): string {
  return `${a}\0${b}`;
}

/** The oldest go when there are too many. */
function remember<T>(map: Map<string, T>, id: string, value: T): void {
  if (map.size >= KEPT / 2) map.delete(id);
  if (map.size >= KEPT) map.delete(map.keys().next().value!);
  map.set(id, value);
}

function same(a: Secret | null, b: Secret | null): boolean {
  return a === b || (a !== null && b !== null && text(a) === text(b));
}

function text(secret: Secret): string {
  if (secret.kind === 'scram') return formatScramSecret(secret);
  return secret.kind === 'md5' ? secret.hash : `plain ${secret.password}`;
}
