// Owns the configuration that has every default, which reading a file starts from.
// It must not know how a file is read.

import { fieldName, type SettingValue } from './setting-row.ts';
import { type Config, type GlobalSettings, rowsIn } from './settings.ts';
import { parseValue } from './values.ts';

/** The settings of [pgbouncer] as they are when nothing is given: texts that PgBouncer leaves unset are ''. */
export function defaultGlobals(): GlobalSettings {
  const fields: Record<string, SettingValue> = {};
  for (const { key, row } of rowsIn('global')) {
    const parsed = parseValue(row, row.default ?? unsetText(row.kind), 'c');
    if (!parsed.ok)
      throw new Error(`bug: the default of ${key} is not one of its values: it must be ${parsed.expected}`);
    fields[fieldName(key, row)] = parsed.value;
  }
  // Built from the table's rows, whose fields are exactly those of the type.
  return fields as unknown as GlobalSettings;
}

function unsetText(kind: string): string {
  return kind === 'int' ? '0' : '';
}

/** A configuration with all defaults and no databases. */
export function defaultConfig(): Config {
  return {
    global: defaultGlobals(),
    databases: new Map(),
    fallback: undefined,
    users: new Map(),
    peers: new Map(),
    given: new Map(),
  };
}
