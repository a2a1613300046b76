/** Entries that are checked or reset for so long that they are not counted on any more: the server may be out of reach, or busy for long. */
import type { Entry } from './entry.ts';
import type { List } from './list.ts';

export const LATE_MS = 250;

/** How many of a list's entries, the oldest first, have been in it for long. */
export function lateIn<T>(list: List<Entry<T>>, now: number): number {
  if (list.length === 0) return 0;
  const since = now - LATE_MS;
  let count = 0;
  for (const entry of list) {
    if (entry.stateSince > since) break;
    count++;
  }
  return count;
}
