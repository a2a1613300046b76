/**
 * The settings that PostgreSQL reports and that follow a client from server to server. Values only; names are an index
 * fixed at start. Equal contents are made one object, so the usual comparison is a pointer's.
 */

import { canonicalEncoding } from './encodings.ts';
import { encodeText } from './text.ts';

/** Always followed (PgBouncer's varcache, plus search_path, which servers report from 18 on). */
export const FOLLOWED_PARAMETERS = [
  'client_encoding',
  'DateStyle',
  'TimeZone',
  'standard_conforming_strings',
  'application_name',
  'IntervalStyle',
  'search_path',
] as const;

/** Which names are followed: the fixed ones and those of track_extra_parameters. Case does not matter. */
export class ParameterNames {
  readonly names: readonly string[];
  readonly #index = new Map<string, number>();

  constructor(extra: readonly string[] = []) {
    const names: string[] = [];
    for (const name of [...FOLLOWED_PARAMETERS, ...extra]) {
      const key = name.toLowerCase();
      if (this.#index.has(key) || key === '') continue;
      this.#index.set(key, names.length);
      names.push(name);
    }
    this.names = names;
  }

  /** Position of a name, or -1 when it is not followed. */
  indexOf(name: string): number {
    return this.#index.get(name.toLowerCase()) ?? -1;
  }
}

let made = 0;

/** An immutable set of values; null where nothing is known, which never differs from anything. */
export class Parameters {
  readonly names: ParameterNames;
  readonly values: readonly (string | null)[];
  /** Later ones have higher numbers. */
  readonly #number = made++;

  constructor(names: ParameterNames, values?: readonly (string | null)[]) {
    this.names = names;
    this.values = values ?? new Array<string | null>(names.names.length).fill(null);
  }

  /** The same with one value changed; `this` when nothing changes. */
  with(index: number, value: string | null): Parameters {
    if (this.values[index] === value) return this;
    const values = this.values.slice();
    values[index] = value;
    return new Parameters(this.names, values);
  }

  /** As a client asks for it, in the words in which PostgreSQL reports it. */
  asking(index: number, value: string): Parameters {
    return this.with(index, index === CLIENT_ENCODING ? canonicalEncoding(value) : value);
  }

  get(name: string): string | null {
    const index = this.names.indexOf(name);
    return index < 0 ? null : this.values[index]!;
  }

  /** Fills what is unknown here from `other`. */
  withDefaults(other: Parameters): Parameters {
    let changed = false;
    const values = this.values.map((value, i) => {
      if (value !== null || other.values[i] === null) return value;
      changed = true;
      return other.values[i]!;
    });
    return changed ? new Parameters(this.names, values) : this;
  }

  /** The same without what is unknown in `other`. */
  within(other: Parameters): Parameters {
    if (this.values.every((value, i) => value === null || other.values[i] !== null)) return this;
    const values = this.values.map((value, i) => (other.values[i] === null ? null : value));
    return new Parameters(this.names, values);
  }

  /**
   * The same values, and of two objects that have them the older one: whoever meets then comes to have one object, and in the
   * end everybody.
   */
  unifiedWith(other: Parameters): Parameters {
    for (let i = 0; i < this.values.length; i++) if (this.values[i] !== other.values[i]) return this;
    return this.#number < other.#number ? this : other;
  }

  /** Positions at which a server with values `server` must change to suit a client with these. */
  differences(server: Parameters): number[] {
    const found: number[] = [];
    for (let i = 0; i < this.values.length; i++) {
      const wanted = this.values[i]!;
      const has = server.values[i];
      if (wanted === null || has === null || has === undefined || wanted === has) continue;
      if (i === CLIENT_ENCODING && sameEncoding(wanted, has)) continue;
      found.push(i);
    }
    return found;
  }
}

const CLIENT_ENCODING = 0;

function sameEncoding(a: string, b: string): boolean {
  return canonicalEncoding(a) === canonicalEncoding(b);
}

/** What SET takes as one constant. The others may be lists (search_path), which only set_config takes as they are reported. */
const SINGLE: readonly string[] = FOLLOWED_PARAMETERS.filter((name) => name !== 'search_path');
/** Reads the same between quotes under every client_encoding and standard_conforming_strings. */
const PLAIN = /^[\x20-\x26\x28-\x5b\x5d-\x7e]*$/;

/** A text of SQL that gives a server the wanted values at `positions`: SET where it will do, which is the cheapest. */
export function applyStatement(wanted: Parameters, positions: readonly number[]): string {
  const statements: string[] = [];
  const calls: string[] = [];
  for (const i of positions) {
    const name = wanted.names.names[i]!;
    const value = wanted.values[i]!;
    if (SINGLE.includes(name) && PLAIN.test(value)) statements.push(`SET ${name}='${value}'`);
    else calls.push(`set_config(${sqlLiteral(name)}, ${sqlLiteral(value)}, false)`);
  }
  if (calls.length > 0) statements.push(`SELECT ${calls.join(', ')}`);
  return statements.join('; ');
}

/**
 * A string constant that reads the same under every client_encoding and standard_conforming_strings: an E'' string in
 * pure ASCII, every other byte as \xNN, since in some encodings a lead byte would swallow the closing quote.
 */
export function sqlLiteral(text: string): string {
  let out = "E'";
  for (const byte of encodeText(text)) {
    if (byte === 0x27) out += "''";
    else if (byte === 0x5c) out += '\\\\';
    else if (byte >= 0x20 && byte < 0x7f) out += String.fromCharCode(byte);
    else out += `\\x${byte.toString(16).padStart(2, '0')}`;
  }
  return `${out}'`;
}
