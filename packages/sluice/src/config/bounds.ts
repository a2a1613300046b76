// Owns the bounds of a row of the settings table. It must not know any particular setting.

import type { SettingRow } from './setting-row.ts';

/** The largest number of a row without a bound of its own: that of PgBouncer's `int`. */
export const LARGEST = 2_147_483_647;

/** The smallest number a row takes, in its own unit. */
export function smallest(row: SettingRow): number {
  return row.min ?? 0;
}

/** The largest number a row takes, in its own unit. */
export function largest(row: SettingRow): number {
  if (row.max !== undefined) return row.max;
  if (row.kind === 'port') return 65_535;
  if (row.kind === 'percent') return 100;
  return LARGEST;
}
