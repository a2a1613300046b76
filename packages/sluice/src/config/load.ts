// Owns the reading of a whole configuration: from the text of pgbouncer.ini to a Config and the problems met.
// It opens no file (%include goes through the `readFile` it is handed) and applies nothing.

import { checkConfig } from './checks.ts';
import { defaultGlobals } from './defaults.ts';
import { type IniItem, parseIni, type ReadFile } from './ini.ts';
import { at, closest, type Problem, Problems, quote } from './problem.ts';
import { type Entry, type Inherited, parseDatabase, parsePeer, parseUser } from './sections.ts';
import { fieldName, type SettingValue } from './setting-row.ts';
import {
  ALIASES,
  type Config,
  type DatabaseConfig,
  findRow,
  type Given,
  type GlobalSettings,
  type PeerConfig,
  type Place,
  rowsIn,
  sectionsWith,
  type UserConfig,
} from './settings.ts';
import { parseValue } from './values.ts';

/** What reading a configuration needs from outside. */
export interface ParseOptions {
  /** Path of the file the text came from: shown in messages, and the value of `conffile`. */
  readonly path: string;
  /** Reads an included file, or throws an error whose message says why it can't. */
  readonly readFile: ReadFile;
}

/** What came of reading. With an `error` among the problems the configuration is incomplete and must not be used. */
export interface ParseResult {
  readonly config: Config;
  readonly problems: readonly Problem[];
}

/**
 * Reads a configuration file in PgBouncer's format (doc/config.md of PgBouncer 1.25). Never throws for any text: what
 * is wrong comes back as problems, all of them at once. Nothing is repaired: a value out of bounds is an error.
 */
export function parseConfig(text: string, options: ParseOptions): ParseResult {
  const problems = new Problems();
  const loader = new Loader(options, problems);
  for (const item of parseIni(text, options.path, options.readFile, problems)) loader.item(item);
  return { config: loader.finish(), problems: problems.list };
}

class Loader {
  private readonly path: string;
  private readonly problems: Problems;
  private readonly given = new Map<string, Given>();
  private readonly values = new Map<string, SettingValue>();
  private readonly databases = new Map<string, DatabaseConfig>();
  private readonly users = new Map<string, UserConfig>();
  private readonly peers = new Map<number, PeerConfig>();
  private readonly inherited: Inherited[] = [];
  private readonly seen = new Map<string, Place>();
  private readonly badSections = new Set<string>();
  private fallback: DatabaseConfig | undefined;
  private mainSeen = false;

  constructor(options: ParseOptions, problems: Problems) {
    this.path = options.path;
    this.problems = problems;
  }

  item(item: IniItem): void {
    if (item.kind === 'section') {
      this.section(item.name, item.place);
      return;
    }
    const entry: Entry = { name: item.name, text: item.value, place: item.place };
    switch (item.section) {
      case 'pgbouncer':
        this.global(entry);
        break;
      case 'databases':
        this.database(entry);
        break;
      case 'users':
        this.user(entry);
        break;
      case 'peers':
        this.peer(entry);
        break;
      case null:
        this.problems.error(
          entry.place,
          entry.name,
          `value without section: ${quote(entry.name)}; put a line such as [pgbouncer] before it`,
        );
        break;
      default:
        // The section was refused once, at its header.
        break;
    }
  }

  finish(): Config {
    if (!this.mainSeen) {
      const place = { file: this.path, line: 1 };
      this.problems.error(
        place,
        null,
        `main section missing from config file ${quote(this.path)}: add a line [pgbouncer]`,
      );
    }
    if (!this.given.has('conffile')) this.values.set('conffile', this.path);
    const config: Config = {
      // The fields are those of the table's rows, each replaced by a value of the same row.
      global: { ...defaultGlobals(), ...Object.fromEntries(this.values) } as GlobalSettings,
      databases: this.databases,
      fallback: this.fallback,
      users: this.users,
      peers: this.peers,
      given: this.given,
    };
    this.warnInherited(config.global);
    checkConfig(config, this.path, this.problems);
    return config;
  }

  private section(name: string, place: Place): void {
    if (name === 'pgbouncer') this.mainSection(place);
    if (['pgbouncer', 'databases', 'users', 'peers'].includes(name) || this.badSections.has(name)) return;
    this.badSections.add(name);
    this.problems.error(
      place,
      null,
      `invalid section ${quote(name)}: known are [pgbouncer], [databases], [users], [peers]`,
    );
  }

  /** PgBouncer fills in the defaults at every [pgbouncer] header, so a second one undoes the first; so do we, aloud. */
  private mainSection(place: Place): void {
    this.mainSeen = true;
    const undone: string[] = [];
    for (const name of [...this.given.keys()]) {
      const found = findRow('global', name);
      if (found === undefined || found.row.default === null) continue;
      undone.push(name);
      this.given.delete(name);
      this.values.delete(fieldName(found.key, found.row));
    }
    if (undone.length === 0) return;
    this.problems.warning(
      place,
      null,
      `section [pgbouncer] begins a second time, which sets back to their defaults: ${undone.join(', ')}; ` +
        'keep one [pgbouncer] section, or put %include lines inside it',
    );
  }

  private global(entry: Entry): void {
    const { name, text, place } = entry;
    const found = findRow('global', name);
    if (found === undefined) {
      this.problems.error(place, name, `unknown parameter: pgbouncer/${name}${suggestion(name)}`);
      return;
    }
    const { key, row } = found;
    const parsed = parseValue(row, text, 'c');
    if (!parsed.ok) {
      this.problems.error(place, key, invalidValue(key, text, parsed.expected));
      return;
    }
    if (parsed.note !== undefined) this.problems.warning(place, key, `${key} = ${text}: ${parsed.note}`);
    this.warnTwice(`pgbouncer/${key}`, key, place);
    this.given.set(key, { text, ...place });
    this.values.set(fieldName(key, row), parsed.value);
  }

  private database(entry: Entry): void {
    const database = parseDatabase(entry, this.problems, this.inherited);
    if (database === null) return;
    this.warnTwice(`databases/${entry.name}`, entry.name, entry.place);
    if (entry.name === '*') this.fallback = database;
    else this.databases.set(entry.name, database);
  }

  private user(entry: Entry): void {
    const user = parseUser(entry, this.problems, this.inherited);
    if (user === null) return;
    this.warnTwice(`users/${entry.name}`, entry.name, entry.place);
    this.users.set(entry.name, user);
  }

  private peer(entry: Entry): void {
    const peer = parsePeer(entry, this.problems);
    if (peer === null) return;
    this.warnTwice(`peers/${peer.id}`, entry.name, entry.place);
    this.peers.set(peer.id, peer);
  }

  /** The last one counts, as in PgBouncer. Said only within a file: an included file may override on purpose. */
  private warnTwice(id: string, name: string, place: Place): void {
    const before = this.seen.get(id);
    this.seen.set(id, place);
    if (before === undefined || before.file !== place.file) return;
    this.problems.warning(
      place,
      id,
      `${quote(name)} was given before ${at(before)}: this one counts, take the other away`,
    );
  }

  private warnInherited(global: GlobalSettings): void {
    const values = global as unknown as Readonly<Record<string, SettingValue>>;
    for (const { entry, setting, field, scope } of this.inherited) {
      if (values[field] === 0 || values[field] === undefined) continue;
      this.problems.warning(
        entry.place,
        `${scope}s/${entry.name}`,
        `${setting}=0 for ${scope} ${quote(entry.name)} means "not set", as in PgBouncer: ` +
          `the value of [pgbouncer] applies; leave it out, or give a value above 0`,
      );
    }
  }
}

/** PgBouncer's message for a bad value, and what a good one is. */
export function invalidValue(name: string, text: string, expected: string): string {
  return `invalid value ${quote(text)} for parameter ${name} in configuration: it must be ${expected}`;
}

/** What to do about a name that is no setting of [pgbouncer]. */
export function suggestion(name: string): string {
  const elsewhere = sectionsWith(name);
  if (elsewhere.length > 0) return `; it stands in ${elsewhere.join(', ')}`;
  const names = [...rowsIn('global').map(({ key }) => key), ...Object.keys(ALIASES.global ?? {})];
  const near = closest(name, names);
  return near === undefined ? '; see docs/settings.md for the names there are' : `; did you mean ${near}?`;
}
