// Owns the access rules of auth_hba_file: their format, and which rule holds for a client.
// It must not know how a method checks anyone, and opens no file (`@file` goes through the `readFile` it is handed).

import {
  formatAddress,
  hasStrayBits,
  inNetwork,
  maskOfBits,
  type Network,
  parseAddress,
  parseClientAddress,
  withoutStrayBits,
} from './address.ts';
import { type HbaNames, matchDatabase, matchUser, parseNames } from './hba-names.ts';
import { Tokens } from './hba-tokens.ts';
import type { IdentMap, IdentMaps } from './ident.ts';
import type { ReadFile } from './ini.ts';
import { type LdapOptions, parseLdapOptions } from './ldap-options.ts';
import { type Problem, Problems, quote } from './problem.ts';
import type { Place } from './settings.ts';

export const HBA_TYPES = ['local', 'host', 'hostssl', 'hostnossl'] as const;
export type HbaType = (typeof HBA_TYPES)[number];

/** Methods of a rule. `password` is auth_type `plain`; `reject` refuses, `peer` asks the system who is at a Unix socket. */
export const HBA_METHODS = ['trust', 'reject', 'md5', 'password', 'peer', 'cert', 'scram-sha-256', 'ldap'] as const;
export type HbaMethod = (typeof HBA_METHODS)[number];

export interface HbaRule {
  readonly type: HbaType;
  readonly databases: HbaNames;
  readonly users: HbaNames;
  /** null: any address, and Unix sockets for `local`. */
  readonly network: Network | null;
  readonly method: HbaMethod;
  /** The map that `map=` names. */
  readonly map: IdentMap | null;
  /** For `ldap`: what the rest of the line says. Where that makes no sense the method is `reject`. */
  readonly ldap: LdapOptions | null;
  readonly place: Place;
}

export interface HbaOptions {
  /** Path of the file, for messages and as the place that `@file` is relative to. */
  readonly path: string;
  readonly readFile: ReadFile;
  /** The maps of auth_ident_file, for `map=`. */
  readonly identMaps?: IdentMaps;
}

export interface HbaResult {
  readonly rules: readonly HbaRule[];
  readonly problems: readonly Problem[];
}

/** A client that wants in, as far as rules look at it. */
export interface HbaClient {
  readonly tls: boolean;
  readonly unix: boolean;
  /** Numeric address, as the socket reports it; not looked at for Unix sockets. */
  readonly address: string;
  readonly database: string;
  readonly user: string;
  /** A physical replication connection (`replication=true`); one to a database (`replication=database`) is an ordinary one. */
  readonly replication: boolean;
}

/** Methods of PostgreSQL's that let somebody in, those among them that are not supported here. */
const LETS_IN = new Set<string>(['gss', 'sspi', 'ident', 'pam', 'bsd', 'radius', 'oauth']);
for (const method of HBA_METHODS) if (method !== 'reject') LETS_IN.add(method);
/** Words of a rule, at least: type, databases, users, method. */
const LEAST_WORDS = 4;

/**
 * Reads access rules in the format of pg_hba.conf, as far as PgBouncer supports it (doc/config.md, "HBA file format").
 *
 * A line that can't be read is left out with a warning, as in PgBouncer (hba.c, hba_load_rules), if its method would let somebody in: of
 * rules copied from PostgreSQL the others hold. Any other is an error: without a `reject`, a misspelt one too, somebody gets in whom
 * it was to keep out. Never throws.
 */
export function parseHba(text: string, options: HbaOptions): HbaResult {
  const problems = new Problems();
  const rules: HbaRule[] = [];
  text.split('\n').forEach((line, index) => {
    const tokens = new Tokens(line);
    if (tokens.current.kind === 'end') return;
    const place = { file: options.path, line: index + 1 };
    const reader = new RuleReader(tokens, place, options, problems);
    try {
      rules.push(reader.read());
    } catch (error) {
      if (!(error instanceof RuleError)) throw error;
      const message = `hba line ${place.line}: ${error.message}`;
      if (LETS_IN.has(reader.asked ?? lastWord(line)))
        problems.warning(place, null, `${message}; could not parse hba config line ${place.line}, it is left out`);
      else problems.error(place, null, message);
    }
  });
  return { rules, problems: problems.list };
}

/** Of a line that cannot be read up to its method, what that is in all probability: the last word that is no option. */
function lastWord(line: string): string {
  const words: readonly string[] = line.replace(/#.*/s, '').match(/[^ \t\n\v\f\r]+/g) ?? [];
  return words.length < LEAST_WORDS || words.includes('reject')
    ? ''
    : (words.findLast((word) => !word.includes('=')) ?? '');
}

/** Why a line is not a rule. Never leaves this file. */
class RuleError extends Error {}

class RuleReader {
  /** What stands where the method should be; null: the line was not read so far. */
  asked: string | null = null;
  /** Of names that may stand for others in PostgreSQL. */
  readonly #doubts: string[] = [];
  private readonly tokens: Tokens;
  private readonly place: Place;
  private readonly options: HbaOptions;
  private readonly problems: Problems;

  constructor(tokens: Tokens, place: Place, options: HbaOptions, problems: Problems) {
    this.tokens = tokens;
    this.place = place;
    this.options = options;
    this.problems = problems;
  }

  read(): HbaRule {
    const type = this.type();
    const databases = this.names('database');
    const users = this.names('user');
    const network = type === 'local' ? null : this.network();
    const asked = this.method();
    const ldap = asked === 'ldap' ? this.ldap() : null;
    const method = asked === 'ldap' && ldap === null ? 'reject' : asked;
    // PgBouncer would let in whom it was to keep out.
    if (asked === 'reject' && this.#doubts.length > 0) throw new RuleError(this.#doubts[0]);
    for (const doubt of this.#doubts) this.problems.warning(this.place, null, `hba line ${this.place.line}: ${doubt}`);
    const map = this.map();
    const { kind, text } = this.tokens.current;
    if (kind !== 'end') {
      throw new RuleError(
        `unsupported parameters: ${quote(text)}; after the method only map= can stand (or LDAP options)`,
      );
    }
    return { type, databases, users, network, method, map, ldap, place: this.place };
  }

  private type(): HbaType {
    const type = HBA_TYPES.find((one) => this.tokens.take(one));
    if (type === undefined) {
      throw new RuleError(`unknown type ${quote(this.tokens.current.text)}: it must be one of ${HBA_TYPES.join(', ')}`);
    }
    return type;
  }

  private names(column: 'database' | 'user'): HbaNames {
    const { path: file, readFile } = this.options;
    const warn = (message: string): void => void this.#doubts.push(message);
    const names = parseNames(this.tokens, { column, file, readFile, warn });
    if (typeof names === 'string') throw new RuleError(names);
    return names;
  }

  private network(): Network | null {
    if (this.tokens.take('all')) return null;
    const { kind, text } = this.tokens.current;
    if (kind !== 'word') throw new RuleError('did not find address: write one such as 10.0.0.0/8, or all');
    this.tokens.next();
    const [, head, bits] = /^([^/]*)(?:\/(.*))?$/s.exec(text)!;
    const base = parseAddress(head!);
    if (base === null) {
      throw new RuleError(
        `failed to parse address - ${quote(text)}: host names, samehost and samenet are not supported, write numbers`,
      );
    }
    const network = { base, mask: bits === undefined ? this.maskWord(base.length) : this.maskBits(bits, base.length) };
    if (hasStrayBits(network)) this.warnStrayBits(network);
    return network;
  }

  private maskBits(bits: string, length: number): readonly number[] {
    // As strtoul(3) reads it: nothing is 0.
    const mask = /^(?:\+?\d{1,20}|-0+)?$/.test(bits) ? maskOfBits(Number(bits), length) : null;
    if (mask === null)
      throw new RuleError(`invalid mask ${quote(bits)}: it must be a number of bits up to ${length * 8}`);
    return mask;
  }

  private maskWord(length: number): readonly number[] {
    const { kind, text } = this.tokens.current;
    const mask = kind === 'word' ? parseAddress(text) : null;
    if (mask === null || mask.length !== length) {
      throw new RuleError('did not find mask: write /bits after the address, or a mask such as 255.255.0.0');
    }
    this.tokens.next();
    return mask;
  }

  private warnStrayBits(network: Network): void {
    const { base, mask } = network;
    const good = formatAddress(withoutStrayBits(network).base);
    this.problems.warning(
      this.place,
      null,
      `address does not match mask: ${formatAddress(base)} / ${formatAddress(mask)}; ` +
        `the rule holds for nobody, write ${good} as the address`,
    );
  }

  private method(): HbaMethod {
    const { current } = this.tokens;
    this.asked = current.kind === 'word' ? current.text : '';
    const method = HBA_METHODS.find((one) => current.kind === 'word' && one === current.text);
    if (method === undefined) {
      throw new RuleError(`unsupported method: ${quote(current.text)}; it must be one of ${HBA_METHODS.join(', ')}`);
    }
    // The options of ldap begin right after this word, so the line must not be read on.
    if (method !== 'ldap') this.tokens.next();
    return method;
  }

  /** null: they make no sense. PgBouncer reads them at the login, which fails then: no rule below is asked. */
  private ldap(): LdapOptions | null {
    const options = parseLdapOptions(this.tokens.rest());
    if (typeof options !== 'string') return options;
    const { place } = this;
    this.problems.warning(place, null, `hba line ${place.line}: ${options}; nobody whom it holds for can log in`);
    return null;
  }

  private map(): IdentMap | null {
    const { kind, text } = this.tokens.current;
    if (kind !== 'word') return null;
    if (!text.startsWith('map='))
      throw new RuleError(`Ident map ${quote(text)} is malformed. It is not in map=value format.`);
    const name = text.slice('map='.length);
    const map = this.options.identMaps?.get(name);
    if (map === undefined) {
      throw new RuleError(`Ident map ${quote(name)} is not found in ident config file: add it to auth_ident_file`);
    }
    this.tokens.next();
    return map;
  }
}

/** The first rule that holds for a client, or null when none does: then nobody may come in. */
export function matchHba(rules: readonly HbaRule[], client: HbaClient): HbaRule | null {
  const address = client.unix ? null : parseClientAddress(client.address);
  for (const rule of rules) {
    if (!matchType(rule.type, client)) continue;
    if (rule.network !== null && (address === null || !inNetwork(rule.network, address))) continue;
    if (matchDatabase(rule.databases, client) && matchUser(rule.users, client)) return rule;
  }
  return null;
}

function matchType(type: HbaType, client: HbaClient): boolean {
  switch (type) {
    case 'local':
      return client.unix;
    case 'host':
      return !client.unix;
    case 'hostssl':
      return !client.unix && client.tls;
    case 'hostnossl':
      return !client.unix && !client.tls;
  }
}
