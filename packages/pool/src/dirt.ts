/**
 * What a holder leaves behind in a session, and the SQL that undoes just that. Owns the reading of command tags and of
 * the few things that no tag tells (advisory locks, set_config, temporary tables). Knows no connection.
 *
 * Not seen: what a function does inside (a SET in PL/pgSQL without a SET clause, a lock taken by a trigger). For such
 * applications there is `reset: 'full'`.
 */

export const Dirt = {
  Settings: 1,
  Role: 2,
  Listen: 4,
  Temp: 8,
  Locks: 16,
  Prepared: 32,
  Cursors: 64,
} as const;

export const ALL_DIRT = 127;

/** Longer texts are data with a little SQL in front; the rest is not looked at. */
const LOOK_AT = 16_384;
const WORTH_A_LOOK = /\b(?:set_config|pg_(?:try_)?advisory_lock(?:_shared)?|temp|temporary|hold|role|authorization)\b/i;
const LOCKS = /\bpg_(?:try_)?advisory_lock(?:_shared)?\s*\(/i;
const SET_CONFIG = /\bset_config\s*\(/i;
const TEMP = /\b(?:temp|temporary)\b/i;
const HOLD = /\bwith\s+hold\b/i;
const ROLE =
  /\bset\s+(?:session\s+)?(?:role|(?:session\s+)?authorization)\b|\bset_config\s*\(\s*'(?:role|session_authorization)'/i;
const ONLY_LOCAL = /^\s*set\s+(?:local|transaction)\b[^;]*;?\s*$/i;

/** Bits that a text may leave and that no command tag would tell. */
export function suspectsIn(text: string): number {
  const head = text.length > LOOK_AT ? text.slice(0, LOOK_AT) : text;
  if (!WORTH_A_LOOK.test(head)) return 0;
  let bits = 0;
  if (LOCKS.test(head)) bits |= Dirt.Locks;
  if (SET_CONFIG.test(head)) bits |= Dirt.Settings;
  if (TEMP.test(head)) bits |= Dirt.Temp;
  if (HOLD.test(head)) bits |= Dirt.Cursors;
  if (ROLE.test(head)) bits |= Dirt.Role;
  return bits;
}

/** The dirt after a command has completed: `dirt` before, its tag, the text it came in. */
export function afterCommand(dirt: number, tag: string, text: string): number {
  switch (tag) {
    case 'SET':
      return ONLY_LOCAL.test(text) ? dirt : dirt | Dirt.Settings;
    case 'LISTEN':
      return dirt | Dirt.Listen;
    case 'PREPARE':
      return dirt | Dirt.Prepared;
    case 'DISCARD ALL':
      return 0;
    default:
      return dirt;
  }
}

/** Can this tag leave dirt at all? The one test on the way of every query. */
export function isTelling(tag: string): boolean {
  return tag === 'SET' || tag === 'LISTEN' || tag === 'PREPARE' || tag === 'DISCARD ALL';
}

/** One simple-query text for it all; '' when there is nothing to undo. `open`: a transaction is still open. */
export function undo(dirt: number, open: boolean): string {
  const parts: string[] = [];
  if (open) parts.push('ROLLBACK');
  if (dirt & Dirt.Cursors) parts.push('CLOSE ALL');
  if (dirt & Dirt.Role) parts.push('SET SESSION AUTHORIZATION DEFAULT', 'RESET ROLE');
  if (dirt & Dirt.Settings) parts.push('RESET ALL');
  if (dirt & Dirt.Prepared) parts.push('DEALLOCATE ALL');
  if (dirt & Dirt.Listen) parts.push('UNLISTEN *');
  if (dirt & Dirt.Locks) parts.push('SELECT pg_advisory_unlock_all()');
  if (dirt & Dirt.Temp) parts.push('DISCARD TEMP');
  return parts.join('; ');
}
