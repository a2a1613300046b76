/**
 * What a client's texts are read by when PostgreSQL prepares them, as a part of their key. It keeps the parameters' types of that
 * moment, also where it looks the names up anew later: so the same text read by other settings is another statement.
 */
import type { Parameters } from '@sluice/wire';
import { BY_ALL, BY_CONSTANTS, BY_IDENTITY, goesByRole, hasConstants, isReadBy, readsClock } from '../sql/read-by.ts';
import type { SessionSettings } from './session-settings.ts';

interface Parts {
  readonly path: string | null | undefined;
  readonly all: string;
  readonly identity: string;
  readonly constants: string;
}

const PARTS = new WeakMap<Parameters | SessionSettings, Parts>();

function partsOf(from: Parameters | SessionSettings, valued: (name: string) => string | null | undefined): Parts {
  let parts = PARTS.get(from);
  if (parts === undefined) {
    const join = (names: readonly string[]) => names.map((name) => `\0${valued(name) ?? ''}`).join('');
    const path = valued('search_path');
    parts = { path, all: join(BY_ALL), identity: join(BY_IDENTITY), constants: join(BY_CONSTANTS) };
    PARTS.set(from, parts);
  }
  return parts;
}

/** Of a client with these parameters and settings. Equal texts with equal readings mean the same; null: not even the same text does. */
export function readingOf(text: string, parameters: Parameters, settings: SessionSettings): string | null {
  if (readsClock(text)) return null;
  const reported = partsOf(parameters, (name) => parameters.get(name));
  const others = partsOf(settings, (name) => settings.values.get(name));
  let reading = reported.all + others.all;
  if (goesByRole(reported.path ?? others.path)) reading += reported.identity + others.identity;
  return hasConstants(text) ? reading + reported.constants + others.constants : reading;
}

/** Would another value of one of these settings, which the server does not report, be another reading? */
export function changesReading(names: Iterable<string>, parameters: Parameters): boolean {
  const byRole = goesByRole(parameters.get('search_path'));
  for (const name of names) if (isReadBy(name) && (byRole || !BY_IDENTITY.includes(name as never))) return true;
  return false;
}
