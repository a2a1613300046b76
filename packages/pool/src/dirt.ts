/**
 * What a holder leaves behind in a session, and the SQL that undoes just that. Owns the reading of command tags and of
 * the few things that no tag tells (advisory locks, set_config, temporary tables). Knows no connection.
 *
 * Not seen: what a function, a view or a trigger does inside (a SET in PL/pgSQL without a SET clause, a lock). For such
 * applications there is `reset: 'full'`. After a DO or a CALL, whose tags tell that code has run, all is undone.
 */

export const Dirt = {
  /** Settings, the role and the session's user among them. */
  Settings: 1,
  Listen: 4,
  Temp: 8,
  Locks: 16,
  Prepared: 32,
  Cursors: 64,
} as const;

export const ALL_DIRT = 127;
/** All that no command tag tells. */
const UNTOLD = Dirt.Settings | Dirt.Listen | Dirt.Temp | Dirt.Locks | Dirt.Cursors;
/** What the code of a block or a procedure may do, by EXECUTE or by functions that it calls. */
const ANYTHING = UNTOLD | Dirt.Prepared;

/** A longer text is not looked at: all of it is undone, which costs less than reading would. */
const LOOK_AT = 65_536;
// Names alone, wherever they stand: comments, quotes and spaces may be around them, and a reset too many is a round trip.
const WORTH_A_LOOK = /set_config|pg_settings|advisory_lock|\b(?:pg_)?temp(?:orary)?\b|\bhold\b|u&["']/i;
const LOCKS = /advisory_lock/i;
const SETTINGS = /set_config|pg_settings/i;
const TEMP = /\b(?:pg_)?temp(?:orary)?\b/i;
const HOLD = /\bhold\b/i;
/** Names in Unicode escapes may be any. */
const ESCAPED = /u&["']/i;
const ONLY_LOCAL = /^\s*set\s+(?:local|transaction)\s[^;]*;?\s*$/i;

/** Bits that a text may leave and that no command tag would tell. */
export function suspectsIn(text: string): number {
  if (text.length > LOOK_AT) return UNTOLD;
  if (!WORTH_A_LOOK.test(text)) return 0;
  if (ESCAPED.test(text)) return UNTOLD;
  let bits = 0;
  if (LOCKS.test(text)) bits |= Dirt.Locks;
  if (SETTINGS.test(text)) bits |= Dirt.Settings;
  if (TEMP.test(text)) bits |= Dirt.Temp;
  if (HOLD.test(text)) bits |= Dirt.Cursors;
  return bits;
}

/**
 * The dirt after a command has completed: `dirt` before, its tag, the text it came in ('' when that is not known), whether
 * nothing was sent behind it that `dirt` may speak of already, and what the connect hook had done: where that was undone it has to be
 * said again, which is the reset's work.
 */
export function afterCommand(dirt: number, tag: string, text: string, alone: boolean, hooked: number): number {
  switch (tag) {
    case 'SET':
      return ONLY_LOCAL.test(text) ? dirt : dirt | Dirt.Settings;
    case 'LISTEN':
      return dirt | Dirt.Listen;
    case 'PREPARE':
      return dirt | Dirt.Prepared;
    case 'DO':
    case 'CALL':
      return dirt | ANYTHING;
    case 'RESET':
      return dirt | (hooked & Dirt.Settings);
    case 'UNLISTEN':
      return dirt | (hooked & Dirt.Listen);
    case 'DEALLOCATE':
    case 'DEALLOCATE ALL':
      return dirt | (hooked & Dirt.Prepared);
    case 'DISCARD ALL':
      return (alone ? 0 : dirt) | hooked;
    default:
      return dirt;
  }
}

const TELLING: ReadonlySet<string> = new Set([
  'SET',
  'LISTEN',
  'PREPARE',
  'DO',
  'CALL',
  'RESET',
  'UNLISTEN',
  'DISCARD ALL',
  'DEALLOCATE',
  'DEALLOCATE ALL',
]);

/** Does this tag tell of the session? The one test on the way of every query. */
export function isTelling(tag: string): boolean {
  return TELLING.has(tag);
}

const DEALLOCATES = /\bdeallocate\s+(?:prepare\s+)?(?:"([^"]+)"|([a-z_][\w$]*))/gi;

/** Which prepared statements the server has forgotten after this tag of this text: 'all', or names. */
export function forgotten(tag: string, text: string): 'all' | string[] {
  if (tag === 'DISCARD ALL' || tag === 'DEALLOCATE ALL') return 'all';
  if (tag !== 'DEALLOCATE') return [];
  return [...text.matchAll(DEALLOCATES)].map(([, quoted, plain]) => quoted ?? plain!.toLowerCase());
}

/** One simple-query text for it all; '' when there is nothing to undo. `open`: a transaction is still open. */
export function undo(dirt: number, open: boolean): string {
  const parts: string[] = [];
  if (open) parts.push('ROLLBACK');
  if (dirt & Dirt.Cursors) parts.push('CLOSE ALL');
  // RESET ALL leaves out who one is.
  if (dirt & Dirt.Settings) parts.push('SET SESSION AUTHORIZATION DEFAULT', 'RESET ROLE', 'RESET ALL');
  if (dirt & Dirt.Prepared) parts.push('DEALLOCATE ALL');
  if (dirt & Dirt.Listen) parts.push('UNLISTEN *');
  if (dirt & Dirt.Locks) parts.push('SELECT pg_catalog.pg_advisory_unlock_all()');
  if (dirt & Dirt.Temp) parts.push('DISCARD TEMP');
  if (dirt === ALL_DIRT) parts.push('DISCARD SEQUENCES');
  return parts.join('; ');
}
