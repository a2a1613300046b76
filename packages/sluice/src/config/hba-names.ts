// Owns the database and user columns of an access rule: lists of names and keywords, and whom they hold for.
// It must not know the other columns, and opens no file (`@file` goes through the `readFile` it is handed).

import { Tokens } from './hba-tokens.ts';
import type { ReadFile } from './ini.ts';
import { quote } from './problem.ts';
import { besideFile } from './text.ts';

/** A column: the keywords it holds, and the plain names. */
export interface HbaNames {
  readonly all: boolean;
  readonly sameUser: boolean;
  readonly replication: boolean;
  readonly names: ReadonlySet<string>;
}

type Column = 'database' | 'user';

/** As deep as files of names may name further files. */
const MAX_DEPTH = 10;
/** Files that name each other many times over would otherwise be read without end. */
const MAX_FILES = 100;

export interface NamesOptions {
  readonly column: Column;
  /** The file of the rule. */
  readonly file: string;
  readonly readFile: ReadFile;
  readonly warn: (message: string) => void;
}

/**
 * Reads one column: names separated by commas.
 *
 * `sameuser` is a keyword in the user column, too, as in PgBouncer (hba.c, parse_names). `replication` is none there, as in PostgreSQL, so
 * that a user may have that name (in PgBouncer such a rule never holds).
 *
 * @returns what is wrong, as a sentence, when the column can't be read.
 */
export function parseNames(tokens: Tokens, options: NamesOptions): HbaNames | string {
  const reader = new NamesReader(options);
  const flaw = reader.column(tokens, options.file, 0);
  return flaw ?? reader;
}

class NamesReader implements HbaNames {
  all = false;
  sameUser = false;
  replication = false;
  readonly names = new Set<string>();
  readonly #column: Column;
  readonly #readFile: ReadFile;
  readonly #warn: (message: string) => void;
  #files = 0;

  constructor({ column, readFile, warn }: NamesOptions) {
    this.#column = column;
    this.#readFile = readFile;
    this.#warn = warn;
  }

  /** @returns what is wrong, or null. */
  column(tokens: Tokens, file: string, depth: number): string | null {
    for (;;) {
      const flaw = this.#name(tokens, file, depth);
      if (flaw !== null) return flaw;
      tokens.next();
      if (tokens.current.kind !== 'comma') return null;
      tokens.next();
    }
  }

  #name(tokens: Tokens, file: string, depth: number): string | null {
    const { kind, text } = tokens.current;
    if (kind === 'string') {
      this.names.add(text);
      return null;
    }
    if (kind === 'fail') return 'a double quote does not close on its line';
    if (kind !== 'word') return `a ${this.#column} name is missing`;
    if (text.startsWith('@')) return this.#file(besideFile(file, text.slice(1)), depth);
    if (text.startsWith('+'))
      return `roles are not supported: ${quote(text)}; name the users, or list them in an @file`;
    if (text.startsWith('/'))
      this.#warn(
        `regular expressions are not supported: ${quote(text)} is taken for the name itself; name the ${this.#column}s, or put quotes around a name that begins so`,
      );
    if (text === 'all') this.all = true;
    else if (text === 'sameuser') this.sameUser = true;
    else if (this.#column === 'database' && text === 'replication') this.replication = true;
    else if (text === 'samerole' || text === 'samegroup') {
      return `${text} is not supported: name the ${this.#column}s, or list them in an @file`;
    } else this.names.add(text);
    return null;
  }

  /** A file of names, separated by commas, white space or line ends; `#` begins a comment. */
  #file(path: string, depth: number): string | null {
    if (depth >= MAX_DEPTH) return `files of names are nested too deep at ${quote(path)}: ${MAX_DEPTH} levels are read`;
    if (++this.#files > MAX_FILES) return `too many files of names at ${quote(path)}: ${MAX_FILES} are read for a rule`;
    let text: string;
    try {
      text = this.#readFile(path);
    } catch (error) {
      return `could not open file ${quote(path)}: ${error instanceof Error ? error.message : String(error)}`;
    }
    for (const line of text.split('\n')) {
      const tokens = new Tokens(line);
      let isListed = true;
      while (tokens.current.kind !== 'end') {
        const isComma = tokens.current.kind === 'comma';
        const flaw = isComma ? null : this.#name(tokens, path, depth + 1);
        // PgBouncer does not read what stands behind a name without a comma: it has no say in whether the rule can be read.
        if (flaw !== null && isListed) return `${flaw}, in file ${quote(path)}`;
        if (flaw !== null) this.#warn(`${flaw}, in file ${quote(path)}; it is left out`);
        isListed = isComma;
        tokens.next();
      }
    }
    return null;
  }
}

/** Whether the database column holds for a client. Physical replication is let in by its keyword only, never by `all`. */
export function matchDatabase(
  column: HbaNames,
  client: { readonly database: string; readonly user: string; readonly replication: boolean },
): boolean {
  if (client.replication) return column.replication;
  return column.all || (column.sameUser && client.database === client.user) || column.names.has(client.database);
}

/** Whether the user column holds for a client. */
export function matchUser(
  column: HbaNames,
  { database, user }: { readonly database: string; readonly user: string },
): boolean {
  return column.all || (column.sameUser && database === user) || column.names.has(user);
}
