/**
 * What a session has beyond PostgreSQL's reported parameters: settings and SQL-prepared statements, as values that are never
 * changed in place, and the statements that turn one such state into another. Servers and clients each have one; equal contents
 * become one object, so the usual comparison is a pointer's. Source: PostgreSQL's manual on SET, RESET, set_config and PREPARE.
 */
import { sqlLiteral } from '@sluice/wire';

const EMPTY: ReadonlyMap<string, string> = new Map();

let made = 0;

export class SessionSettings {
  /** Later ones have higher numbers. */
  readonly #number = made++;
  /** Settings by name, in lower case; a name that is not here has the value that the login gave it. */
  readonly values: ReadonlyMap<string, string>;
  /** Texts of PREPARE by the statement's name. */
  readonly prepared: ReadonlyMap<string, string>;

  constructor(values: ReadonlyMap<string, string>, prepared: ReadonlyMap<string, string> = EMPTY) {
    this.values = values;
    this.prepared = prepared;
  }

  /** Characters held. */
  get size(): number {
    let size = 0;
    for (const map of [this.values, this.prepared]) for (const [name, value] of map) size += name.length + value.length;
    return size;
  }

  equals(other: SessionSettings): boolean {
    return this === other || (same(this.values, other.values) && same(this.prepared, other.prepared));
  }

  /** Of two that are equal the older one, so that everybody comes to have one object; of others this one. */
  unifiedWith(other: SessionSettings): SessionSettings {
    return this.equals(other) && other.#number < this.#number ? other : this;
  }

  /** With what `base` has and this has not. */
  over(base: SessionSettings): SessionSettings {
    const missing = [...base.values].filter(([name]) => !this.values.has(name));
    return missing.length === 0 ? this : new SessionSettings(new Map([...this.values, ...missing]), this.prepared);
  }
}

/** Nothing was set. */
export const AS_AT_LOGIN = new SessionSettings(EMPTY);

/** Who one is comes before and after everything else: it decides what may be set, and setting the one changes the other. */
const IDENTITY = ['session_authorization', 'role'];

/** The SQL that makes a server with settings `has` one with `wanted`, PREPAREs apart: null, nothing to do. */
export function settingChanges(has: SessionSettings, wanted: SessionSettings): string | null {
  if (has.values === wanted.values) return null;
  const resets: string[] = [];
  const calls: string[] = [];
  for (const name of has.values.keys())
    if (!wanted.values.has(name) && !IDENTITY.includes(name)) resets.push(`RESET ${identifier(name)}`);
  for (const [name, value] of wanted.values)
    if (has.values.get(name) !== value && !IDENTITY.includes(name)) calls.push(setConfig(name, value));
  // Others than the login's own may not be allowed to change the rest.
  const rest = resets.length + calls.length > 0;
  const again = rest || IDENTITY.some((name) => has.values.get(name) !== wanted.values.get(name));
  if (again && IDENTITY.some((name) => has.values.has(name)))
    resets.unshift('RESET ROLE', 'RESET SESSION AUTHORIZATION', 'RESET ROLE');
  const identity = again ? IDENTITY.filter((name) => wanted.values.has(name)) : [];
  const statements = [...resets];
  if (calls.length > 0) statements.push(`SELECT ${calls.join(', ')}`);
  for (const name of identity) statements.push(`SELECT ${setConfig(name, wanted.values.get(name)!)}`);
  return statements.length === 0 ? null : statements.join('; ');
}

/** The SQL that gives a server the client's PREPAREs: null, nothing to do. To be sent when the settings are in place. */
export function statementChanges(has: SessionSettings, wanted: SessionSettings): string | null {
  if (has.prepared === wanted.prepared) return null;
  const statements: string[] = [];
  for (const [name, text] of has.prepared)
    if (wanted.prepared.get(name) !== text) statements.push(`DEALLOCATE ${quoted(name)}`);
  for (const [name, text] of wanted.prepared) if (has.prepared.get(name) !== text) statements.push(text);
  return statements.length === 0 ? null : statements.join('; ');
}

function setConfig(name: string, value: string): string {
  return `pg_catalog.set_config(${sqlLiteral(name)}, ${sqlLiteral(value)}, false)`;
}

/** A custom setting's name has parts. */
function identifier(name: string): string {
  return name.split('.').map(quoted).join('.');
}

function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

function same(a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>): boolean {
  if (a === b) return true;
  if (a.size !== b.size) return false;
  for (const [name, value] of a) if (b.get(name) !== value) return false;
  return true;
}
