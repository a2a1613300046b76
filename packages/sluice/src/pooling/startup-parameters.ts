/** The parameters of a client's startup message: which are refused, and what those that are taken ask of its servers. */
import type { Parameters as ClientParameters } from '@sluice/wire';
import type { ClientError } from '../client/home.ts';
import { NOT_SETTINGS, type StartupRequest } from '../client/login.ts';
import type { Conn } from '../net/conn.ts';
import { AS_AT_LOGIN, SessionSettings } from '../server/session-settings.ts';
import type { AskedValues } from './asked-values.ts';
import type { Welcome } from './pool-shape.ts';
import type { Pooler } from './pooler.ts';
import { withHost } from './visitor.ts';

/** What a client begins with. */
export interface AskedFor {
  readonly parameters: ClientParameters;
  /** What it asked for beyond what servers report (session_state = follow). */
  readonly settings: SessionSettings;
  /** All that it asked for. */
  readonly base: SessionSettings;
}

export interface ParameterRefusal extends ClientError {
  readonly value: string;
}

/** Those that are neither followed nor ignored are refused by name. `reported`: what the server reports, once it is known. */
export function refusedParameter(
  pooler: Pooler,
  request: StartupRequest,
  reported: ClientParameters | null = null,
): ParameterRefusal | null {
  const { parameters } = pooler.context;
  const followed = (name: string) =>
    parameters.names.indexOf(name) >= 0 &&
    (reported === null || reported.get(name) !== null || isTracked(pooler, name));
  // Such a connection has a server of its own, which is given all of them.
  if (request.replication !== 'none' || follows(pooler)) return null;
  for (const [name, value] of request.params) {
    if (NOT_SETTINGS.has(name) || followed(name) || isIgnored(pooler, request, name)) continue;
    const inOptions = request.inOptions.has(name);
    return {
      message: `unsupported startup parameter${inOptions ? ' in options' : ''}: ${name}`,
      sqlState: '08P01',
      hint: `Remove it from the client's connection string, or add it to ignore_startup_parameters.`,
      value,
    };
  }
  return null;
}

/** None of them is refused. `values`: knows how PostgreSQL writes them. */
export function askedFor(
  pooler: Pooler,
  request: StartupRequest,
  welcome: Welcome,
  conn: Conn,
  values: AskedValues,
): AskedFor {
  let { parameters } = welcome;
  const asked = new Map<string, string>();
  const beyond = new Map<string, string>();
  for (const [name, given] of request.params) {
    const value = follows(pooler) ? values.told(welcome, name.toLowerCase(), given) : given;
    const isReported = parameters.get(name) !== null;
    if (isReported) parameters = parameters.asking(parameters.names.indexOf(name), value);
    if (!follows(pooler) || NOT_SETTINGS.has(name) || (!isReported && isIgnored(pooler, request, name))) continue;
    asked.set(name.toLowerCase(), value);
    if (!isReported) beyond.set(name.toLowerCase(), value);
  }
  if (pooler.config.global.applicationNameAddHost) {
    parameters = withHost(parameters, conn);
    asked.set('application_name', parameters.get('application_name')!);
  }
  return { parameters, settings: settingsOf(beyond), base: settingsOf(asked) };
}

function settingsOf(values: ReadonlyMap<string, string>): SessionSettings {
  return values.size === 0 ? AS_AT_LOGIN : new SessionSettings(values);
}

/** It is taken as in PgBouncer, without effect where the server does not report it: all but a search_path that nobody asked to be tracked. */
function isTracked({ config }: Pooler, name: string): boolean {
  const isSearchPath = (one: string) => one.toLowerCase() === 'search_path';
  return !isSearchPath(name) || config.global.trackExtraParameters.some(isSearchPath);
}

/** ignore_startup_parameters names it, or all that comes in `options`. */
function isIgnored({ config }: Pooler, request: StartupRequest, name: string): boolean {
  const ignored = config.global.ignoreStartupParameters;
  return ignored.includes(name) || (request.inOptions.has(name) && ignored.includes('options'));
}

export function follows({ config }: Pooler): boolean {
  return config.global.sessionState === 'follow';
}
