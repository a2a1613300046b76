/**
 * What a text of SQL may leave behind on the server beyond its transaction, and the cheap scan that finds out whether it is worth
 * a closer look. Suspicion only: what is really there afterwards, PostgreSQL itself is asked. Knows no clients and no servers.
 */
import type { SessionSignal } from './signals.ts';

/** Kinds of session state that a text may create or end; a bit each. */
export const Keeps = {
  /** Temporary tables, views, sequences, functions and types. */
  Temporary: 1,
  /** Cursors WITH HOLD. */
  Cursor: 2,
  /** Advisory locks of the session. */
  Lock: 4,
  /** LISTEN. */
  Listen: 8,
  /** PREPARE. */
  Prepared: 16,
} as const;

export const KEEPS_ALL = 31;

/** What is `unknowable` of a search_path in which CREATE makes temporary objects. */
export const TEMPORARY_PATH = 'search_path = pg_temp';

/** What `session_state = refuse` says of a text: what it would leave behind, and what to do instead. */
export interface StateRefusal {
  readonly what: string;
  readonly instead: string;
}

export interface Suspicion {
  /** Names of settings, in lower case, that may have another value for the session. */
  readonly names: ReadonlySet<string>;
  /** Names of settings that have another value until the transaction ends (SET LOCAL), of those by which texts are read. */
  readonly locals: ReadonlySet<string>;
  /** Those of `names`, and of the reported ones, that it gives back their first value (RESET, SET TO DEFAULT); ALL_NAMES: of all. */
  readonly resets: ReadonlySet<string>;
  /** Any setting may have changed. */
  readonly anySetting: boolean;
  /** Bits of Keeps. */
  readonly keeps: number;
  /** It runs what was prepared with PREPARE. */
  readonly executes: boolean;
  /** Something that nobody can ask the server for afterwards, in words; null: nothing. */
  readonly unknowable: string | null;
  /** It does nothing but ask for the last value of a sequence, which is the server's and not the client's. */
  readonly asksLastValue: boolean;
  /** Databases in which PostgreSQL lets it have no other session than its own: those that it drops, renames or copies. */
  readonly databases: ReadonlySet<string>;
  /** What it does to sessions by their numbers. Then it leaves nothing behind, so this is never put together with another's. */
  readonly signals: readonly SessionSignal[];
  readonly refusal: StateRefusal | null;
}

const NO_NAMES: ReadonlySet<string> = new Set();
const NO_SIGNALS: readonly SessionSignal[] = [];
export const ALL_NAMES = '*';

/** Of a text that nobody could read: anything. */
export const ANYTHING: Suspicion = {
  names: NO_NAMES,
  locals: NO_NAMES,
  resets: NO_NAMES,
  anySetting: true,
  keeps: KEEPS_ALL,
  executes: false,
  unknowable: null,
  asksLastValue: false,
  databases: NO_NAMES,
  signals: NO_SIGNALS,
  refusal: null,
};

/** Names looked for in a text that is not parsed. */
const SETTING_NAMES = /\bset_config\s*\(\s*'([\w.$]+)'|\bset\s+(?:session\s+)?([a-z_][\w.$]*)\s*(?:=|to\b)/gi;
const MOST_NAMES = 1000;
const RESET_ALL = /\b(?:reset|discard)\s+all\b/i;
const RESETS = /\breset\s+([a-z_][\w.$]*)|\bset\s+(?:session\s+)?([a-z_][\w.$]*)\s*(?:=|\bto)\s*default\b/gi;

/**
 * Of a text that is not parsed: anything, and the names that seem to be set in it, since PostgreSQL does not list custom settings.
 * A name too many is no harm: who asks for one that does not exist learns that it does not.
 */
export function anythingIn(text: string): Suspicion {
  const names = namesIn(text, SETTING_NAMES);
  const resets = RESET_ALL.test(text) ? new Set([ALL_NAMES]) : namesIn(text, RESETS);
  return names.size + resets.size === 0 ? ANYTHING : { ...ANYTHING, names, resets };
}

function namesIn(text: string, pattern: RegExp): Set<string> {
  const names = new Set<string>();
  for (const [, first, second] of text.matchAll(pattern)) {
    if (names.size === MOST_NAMES) break;
    names.add((first ?? second)!.toLowerCase());
  }
  return names;
}

/** Of PREPARE and DEALLOCATE where nothing else is followed. */
export const STATEMENTS: Suspicion = {
  names: NO_NAMES,
  locals: NO_NAMES,
  resets: NO_NAMES,
  anySetting: false,
  keeps: Keeps.Prepared,
  executes: false,
  unknowable: null,
  asksLastValue: false,
  databases: NO_NAMES,
  signals: NO_SIGNALS,
  refusal: null,
};

/** It leaves nothing in the session, whatever else it is suspected of. */
export function sparesSession({ names, locals, resets, anySetting, keeps, executes, unknowable }: Suspicion): boolean {
  return names.size + locals.size + resets.size + keeps === 0 && !anySetting && !executes && unknowable === null;
}

export function both(a: Suspicion | null, b: Suspicion): Suspicion {
  if (a === null || a === b) return b;
  const { names, locals, resets, databases } = a;
  const own = {
    names: new Set(names),
    locals: new Set(locals),
    resets: new Set(resets),
    databases: new Set(databases),
  };
  return absorb({ ...a, ...own }, b);
}

/** The same, `more` put into `found`, which must have its sets to itself, as one of `both` has. */
export function absorb(found: Suspicion, more: Suspicion): Suspicion {
  for (const set of ['names', 'locals', 'resets', 'databases'] as const)
    for (const name of more[set]) (found[set] as Set<string>).add(name);
  const { anySetting, keeps, executes, unknowable, asksLastValue, refusal } = found;
  return Object.assign(found, {
    anySetting: anySetting || more.anySetting,
    keeps: keeps | more.keeps,
    executes: executes || more.executes,
    unknowable: unknowable ?? more.unknowable,
    asksLastValue: asksLastValue && more.asksLastValue,
    refusal: refusal ?? more.refusal,
  });
}

/**
 * A statement that begins with one of the words that matter, or one of the names anywhere, or one that may be spelt otherwise.
 * No `\s*` over line ends: every
 * start is tried once, so the scan is linear in whatever a client sends.
 */
const SUSPICIOUS =
  /(?:^|[;\n\r/])[ \t\f\v]*(?:set|reset|discard|listen|unlisten|prepare|deallocate|declare|close|drop|do|call|load|(?:create|alter)\s+database)\b|\bexecute\b|u&"|set_config|pg_settings|advisory_|\b(?:curr|last)val\b|\btemp(?:orary)?\b|pg_temp|pg_(?:cancel|terminate)_backend/i;

/** Is the text worth the parser's time? */
export function looksSuspicious(text: string): boolean {
  return SUSPICIOUS.test(text);
}

const STATEMENT_WORDS = /^\s*(?:prepare|deallocate|discard)\s/i;

/** Does the text begin with PREPARE, DEALLOCATE or DISCARD? */
export function namesStatements(text: string): boolean {
  return STATEMENT_WORDS.test(text);
}
