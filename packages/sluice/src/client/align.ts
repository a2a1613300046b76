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
