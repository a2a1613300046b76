// Owns connection URLs: postgres://user:password@host:port/database?parameters, as libpq reads them.
// It must not know what anyone connects to. No message and no redacted URL holds a password.

import { quote } from './problem.ts';

/** libpq's sslmode. */
export const URL_SSL_MODES = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'] as const;
export type UrlSslMode = (typeof URL_SSL_MODES)[number];

export interface UrlHost {
  /** A name, an address without brackets, or the directory of a Unix socket (begins with `/` or `@`). */
  readonly host: string;
  readonly port: number;
}

/** The parts of a connection URL that say where to connect, and as whom. */
export interface UrlParts {
  /** The first host: localhost when the URL names none. */
  readonly host: string;
  /** The first host's port, 5432 when not given. */
  readonly port: number;
  /** '' when the URL names none. */
  readonly user: string;
  /** '' when the URL has none. */
  readonly password: string;
  /** The user's name when the URL names no database, as in libpq. */
  readonly database: string;
}

/** All parts of a connection URL. */
export interface DatabaseUrl extends UrlParts {
  /** All hosts, in order; one at least. */
  readonly hosts: readonly UrlHost[];
  readonly sslmode: UrlSslMode | undefined;
  /** The other parameters, decoded. */
  readonly params: ReadonlyMap<string, string>;
}

const DEFAULT_HOST = 'localhost';
const DEFAULT_PORT = 5432;

/** Whether a text is meant as a connection URL, by its scheme. */
export function isDatabaseUrl(text: string): boolean {
  return /^postgres(?:ql)?:\/\//i.test(text);
}

/**
 * Reads a connection URL (PostgreSQL manual, "Connection URIs"). Parameters named host, port, user, password and
 * dbname take the place of those parts; `ssl=true` is `sslmode=require`. Never throws.
 *
 * @returns the parts, or what is wrong with the URL and how to write it.
 */
export function parseDatabaseUrl(text: string): DatabaseUrl | { readonly error: string } {
  try {
    return read(text);
  } catch (error) {
    if (!(error instanceof UrlError)) throw error;
    return { error: error.message };
  }
}

/** Why a text is not a connection URL. Never leaves this file. */
class UrlError extends Error {}

function read(text: string): DatabaseUrl {
  if (!isDatabaseUrl(text)) throw new UrlError('a connection URL begins with postgres:// or postgresql://');
  const rest = text.slice(text.indexOf('//') + 2);
  const [beforeQuery, query] = cut(rest, '?');
  const [authority, path] = cut(beforeQuery, '/');
  const signs = authority.lastIndexOf('@');
  const userinfo = signs < 0 ? '' : authority.slice(0, signs);
  const [rawUser, rawPassword] = cut(userinfo, ':');
  // Parts of a password that holds an unescaped "/" or "?" would look like a host or port: then show nothing.
  const show = (part: string): string => (rest.slice(authority.length).includes('@') ? '' : ` ${quote(part)}`);
  const params = readParams(query ?? '');
  const take = (name: string): string | undefined => {
    const value = params.get(name);
    params.delete(name);
    return value;
  };
  const hosts = readHosts(authority.slice(signs + 1), take('host'), take('port'), show);
  const user = take('user') ?? decode(rawUser, 'user');
  return {
    host: hosts[0]!.host,
    port: hosts[0]!.port,
    hosts,
    user,
    password: take('password') ?? decode(rawPassword ?? '', 'password'),
    database: (take('dbname') ?? decode(path ?? '', 'database')) || user,
    sslmode: readSslMode(take('sslmode'), take('ssl')),
    params,
  };
}

function cut(text: string, separator: string): [string, string | undefined] {
  const index = text.indexOf(separator);
  return index < 0 ? [text, undefined] : [text.slice(0, index), text.slice(index + 1)];
}

/** The part is named and not shown: it may be a password. */
function decode(raw: string, name: string): string {
  let text: string;
  try {
    text = decodeURIComponent(raw);
  } catch {
    throw new UrlError(`the ${name} in the URL has a "%" that begins no valid escape: write %25 for a percent sign`);
  }
  if (text.includes('\0')) throw new UrlError(`the ${name} in the URL holds %00: a zero byte is not allowed`);
  return text;
}

function readParams(query: string): Map<string, string> {
  const params = new Map<string, string>();
  for (const pair of query.split('&')) {
    if (pair === '') continue;
    const [rawName, rawValue] = cut(pair, '=');
    if (rawValue === undefined) {
      throw new UrlError(
        'a parameter after "?" has no "=": write name=value, separated by "&", and %3F for "?" elsewhere',
      );
    }
    const name = decode(rawName, 'name of a parameter');
    if (name === '') throw new UrlError('a parameter after "?" has no name: write name=value');
    params.set(name, decode(rawValue, 'value of a parameter'));
  }
  return params;
}

function readHosts(
  text: string,
  hostParam: string | undefined,
  portParam: string | undefined,
  show: (part: string) => string,
): UrlHost[] {
  const inUrl = text.split(',').map((one) => readHost(one, show));
  const ports = portParam?.split(',').map((one) => readPort(one, () => ` ${quote(one)}`)) ?? [];
  const hosts = hostParam?.split(',') ?? inUrl.map(({ host }) => host);
  if (ports.length > 1 && ports.length !== hosts.length) {
    throw new UrlError(
      `the URL has ${hosts.length} hosts and ${ports.length} ports: give one port, or one for each host`,
    );
  }
  return hosts.map((host, index) => {
    const port = ports[ports.length === 1 ? 0 : index] ?? inUrl[inUrl.length === 1 ? 0 : index]?.port;
    return { host: host === '' ? DEFAULT_HOST : host, port: port ?? DEFAULT_PORT };
  });
}

function readHost(text: string, show: (part: string) => string): { host: string; port: number | undefined } {
  const match = /^(?:\[([^[\]]*)\]|([^:[\]]*))(?::(.*))?$/s.exec(text);
  if (match === null) {
    throw new UrlError(
      `the host${show(text)} in the URL can't be read: an IPv6 address stands in brackets, ${ESCAPE_HINT}`,
    );
  }
  const [, ipv6, name, port] = match;
  if (ipv6 !== undefined && !/^[0-9A-Fa-f:.]+(?:%.*)?$/s.test(ipv6)) {
    throw new UrlError(`the host${show(`[${ipv6}]`)} in the URL is no IPv6 address: only those stand in brackets`);
  }
  return {
    host: decode(ipv6 ?? name ?? '', 'host'),
    port: port === undefined || port === '' ? undefined : readPort(port, () => show(port)),
  };
}

const ESCAPE_HINT = 'and / : @ ? % in a user or password are written %2F %3A %40 %3F %25';

function readPort(text: string, shown: () => string): number {
  const port = /^[0-9]{1,5}$/.test(text) ? Number(text) : 0;
  if (port >= 1 && port <= 65_535) return port;
  throw new UrlError(`the port${shown()} in the URL must be a number from 1 to 65535, ${ESCAPE_HINT}`);
}

function readSslMode(sslmode: string | undefined, ssl: string | undefined): UrlSslMode | undefined {
  const text = sslmode ?? (ssl === 'true' ? 'require' : undefined);
  if (text === undefined) return undefined;
  const mode = URL_SSL_MODES.find((one) => one === text);
  if (mode === undefined)
    throw new UrlError(`sslmode=${quote(text)} in the URL must be one of ${URL_SSL_MODES.join(', ')}`);
  return mode;
}

/** Writes a connection URL that is read back as the same parts. Holds the password: for programs, not for people. */
export function formatDatabaseUrl(url: UrlParts & Partial<DatabaseUrl>): string {
  const password = url.password === '' ? '' : `:${encodeURIComponent(url.password)}`;
  const userinfo = url.user === '' && password === '' ? '' : `${encodeURIComponent(url.user)}${password}@`;
  const hosts = url.hosts ?? [{ host: url.host, port: url.port }];
  const targets = hosts.map(({ host, port }) => formatHost(host) + (port === DEFAULT_PORT ? '' : `:${port}`)).join(',');
  const params = [...(url.params ?? []), ...(url.sslmode === undefined ? [] : [['sslmode', url.sslmode] as const])];
  const query = params.map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`).join('&');
  return `postgres://${userinfo}${targets}/${encodeURIComponent(url.database)}${query === '' ? '' : `?${query}`}`;
}

function formatHost(host: string): string {
  return host.includes(':') && !host.startsWith('/') ? `[${host.replaceAll('%', '%25')}]` : encodeURIComponent(host);
}

/**
 * A connection URL with `***` in place of passwords, for logs and messages. A text may be anything, no valid URL too;
 * where it is unclear what the password is, more is hidden rather than less.
 */
export function redactUrl(url: string | (UrlParts & Partial<DatabaseUrl>)): string {
  const text = typeof url === 'string' ? url : formatDatabaseUrl(url);
  return redactUserinfo(text).replace(/([?&](?:password|sslpassword|passwd|pwd)=)[^&#]*/gi, '$1***');
}

function redactUserinfo(text: string): string {
  const start = text.indexOf('//') + 2;
  if (start < 2) return text;
  const authority = text.slice(start).search(/[/?]|$/) + start;
  let end = text.lastIndexOf('@', authority);
  if (end < start) end = strayEnd(text, authority);
  const colon = text.indexOf(':', start);
  return end < start || colon < 0 || colon > end ? text : `${text.slice(0, colon)}:***${text.slice(end)}`;
}

/** Where the user and password end if they hold an unescaped "/" or "?", so that the "@" comes after it. */
function strayEnd(text: string, authority: number): number {
  const question = text.indexOf('?', authority);
  const query = question < 0 ? '' : text.slice(question + 1);
  const wellFormed = query.split('&').every((pair) => pair === '' || pair.includes('='));
  return text.lastIndexOf('@', wellFormed && question >= 0 ? question : text.length);
}
