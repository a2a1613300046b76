/** Gives a server what its new client had on the one before. */
import { applyStatement, type ErrorFields, type Parameters, query } from '@sluice/wire';
import type { Server } from '../server/server.ts';
import { type SessionSettings, settingChanges, statementChanges } from '../server/session-settings.ts';

/** What a client wants, or a server has. */
export interface Circumstances {
  readonly parameters: Parameters;
  readonly settings: SessionSettings;
}

/** In order, each to be sent when the one before has succeeded; a text is read under the settings of its beginning. */
export function alignment(wanted: Circumstances, has: Circumstances): string[] {
  const positions = wanted.parameters === has.parameters ? [] : wanted.parameters.differences(has.parameters);
  const settings = settingChanges(has.settings, wanted.settings);
  const first = [positions.length === 0 ? null : applyStatement(wanted.parameters, positions), settings];
  const steps = [first.filter((sql) => sql !== null).join('; '), statementChanges(has.settings, wanted.settings) ?? ''];
  return steps.filter((sql) => sql !== '');
}

/** PostgreSQL's code for a statement that was stopped: by a very short timeout, or a cancel request that came late. */
export const QUERY_CANCELED = '57014';
/** How often in a row that may happen to what we ask on our own account, before it counts as an error. */
export const ATTEMPTS = 3;

/**
 * What the client has now, in the words in which PostgreSQL reports it ("ISO" is "ISO, MDY"): the next server that has the same
 * is known to have it. `note` is told of each that reads otherwise, in PgBouncer's words.
 */
export function canonical(wanted: Parameters, has: Parameters, note: (message: string) => void): Parameters {
  let found = wanted;
  has.values.forEach((value, i) => {
    const own = wanted.values[i]!;
    if (value === null || own === null || value === own) return;
    note(`varcache_set_canonical: setting ${wanted.names.names[i]} to its canonical version ${own} -> ${value}`);
    found = found.with(i, value);
  });
  return found;
}

/** Runs the steps one after the other; `done` with the first error, or null. The server may be lost by then. */
export function align(
  server: Server,
  [step, ...rest]: readonly string[],
  done: (error: ErrorFields | null) => void,
): void {
  server.runInternal(query(step!), (error) => {
    if (error !== null || rest.length === 0 || server.closedBecause !== null) done(error);
    else align(server, rest, done);
  });
}
