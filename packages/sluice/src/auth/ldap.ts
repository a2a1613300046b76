/**
 * The password, checked by an LDAP directory (auth_type ldap): by a simple bind as the DN that the user's name makes, or by
 * a search for the DN and a bind as what was found. Bounded in time and number; the package ldapts is loaded at first need.
 */

import { resolveSrv } from 'node:dns/promises';
import { once } from 'node:events';
import { connect, isIPv6, type Socket } from 'node:net';
import { type ConnectionOptions, connect as connectTls } from 'node:tls';
import { authenticationCleartextPassword, decodeText, isText } from '@sluice/wire';
import type { Client } from 'ldapts';
import type { LdapOptions } from '../config/index.ts';
import { ANSWER_BYTES, confirmsBind } from './ldap-answer.ts';
import { explainLdap } from './ldap-errors.ts';
import { ldapTlsOptions } from './ldap-tls.ts';
import { type AuthRequest, type AuthResult, failed, receivePassword, sendMessage } from './method.ts';

const CONNECT_MS = 3_000;
const ANSWER_MS = 10_000;
/** Conversations with directories at once, and those that wait for their turn. */
const AT_ONCE = 64;
const WAITING = 1_024;
/** Would have to be escaped in a filter; not reasonable in a name (as in PostgreSQL). */
const FORBIDDEN = /[*()\\/\0]/;

/** Why the directory does not confirm the password. For the log. */
class LdapRefused extends Error {}

let talking = 0;
const waiting: (() => void)[] = [];

export async function authenticateLdap(request: AuthRequest, options: LdapOptions): Promise<AuthResult> {
  sendMessage(request.conn, authenticationCleartextPassword());
  const given = await receivePassword(request.reader);
  if ('ok' in given) return given;
  const password = decodeText(given);
  if (!isText(password)) return failed('ldap', 'the password is not UTF-8, as LDAP wants it');
  if (!(await myTurn())) return failed('ldap', 'too many LDAP logins at once');
  try {
    // Gone while waiting: the directory is spared.
    if (!request.conn.closed) await confirm(options, request.user, password);
    return { ok: true, password };
  } catch (error) {
    if (error instanceof LdapRefused) return failed('ldap', error.message);
    throw error;
  } finally {
    const next = waiting.shift();
    if (next === undefined) talking--;
    else next(); // the turn goes over
  }
}

/** False: so many wait that this one is not even queued. */
async function myTurn(): Promise<boolean> {
  if (waiting.length >= WAITING) return false;
  if (talking >= AT_ONCE) await new Promise<void>((resolve) => waiting.push(resolve));
  else talking++;
  return true;
}

/** Rejects with LdapRefused. */
async function confirm(options: LdapOptions, user: string, password: string): Promise<void> {
  const dn =
    options.baseDn === null ? `${options.prefix}${user}${options.suffix}` : await search(options, options.baseDn, user);
  await withDirectory(options, async ({ client, stream }, server) => {
    const refused = (why: string) => new LdapRefused(`LDAP login failed for user ${dn} on server ${server}: ${why}`);
    const heard: Buffer[] = [];
    let size = 0;
    stream().on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size <= ANSWER_BYTES) heard.push(Buffer.from(chunk));
    });
    await client.bind(dn, password).catch((error: Error) => {
      throw refused(explainLdap(error));
    });
    if (!confirmsBind(Buffer.concat(heard))) throw refused('its answer has no result code');
  });
}

async function search(options: LdapOptions, baseDn: string, user: string): Promise<string> {
  if (FORBIDDEN.test(user)) throw new LdapRefused('invalid character in user name for LDAP authentication');
  const { attribute, bindDn, bindPassword, scope } = options;
  const template = options.filter ?? `(${attribute}=$username)`;
  const filter = (template.startsWith('(') ? template : `(${template})`).replaceAll('$username', () => user);
  return withDirectory(options, async ({ client }, server) => {
    await client.bind(bindDn, bindPassword).catch((error: Error) => {
      throw new LdapRefused(
        `could not perform initial LDAP bind for ldapbinddn "${bindDn}" on server "${server}": ${explainLdap(error)}`,
      );
    });
    const { searchEntries } = await client
      .search(baseDn, { scope, filter, attributes: ['1.1'], sizeLimit: 2 })
      .catch((error: Error) => {
        throw new LdapRefused(
          `could not search LDAP for filter "${filter}" on server "${server}": ${explainLdap(error)}`,
        );
      });
    if (searchEntries.length === 0) throw new LdapRefused(`LDAP user "${user}" does not exist`);
    if (searchEntries.length > 1) throw new LdapRefused(`LDAP user "${user}" is not unique`);
    const { dn } = searchEntries[0]!;
    // A bind by it would be an anonymous one, which says nothing of the password.
    if (dn === '') throw new LdapRefused(`LDAP user "${user}" has an empty name on server "${server}"`);
    return dn;
  });
}

/** Talks to the first of the servers that can be connected to; the connection is closed in any case. */
async function withDirectory<T>(options: LdapOptions, talk: (line: Line, server: string) => Promise<T>): Promise<T> {
  let last = new LdapRefused('no LDAP server was found');
  for (const server of await serversOf(options)) {
    let line: Line;
    try {
      line = await open(options, server);
    } catch (error) {
      last = new LdapRefused(`could not connect to LDAP server ${server}: ${explainLdap(error as Error)}`);
      continue;
    }
    const late = setTimeout(() => line.socket.destroy(), ANSWER_MS);
    try {
      return await Promise.race([talk(line, server), ended(line.socket, server)]);
    } finally {
      clearTimeout(late);
      line.client.unbind().catch(() => {});
      line.socket.destroySoon();
    }
  }
  throw last;
}

interface Line {
  readonly client: Client;
  readonly socket: Socket;
  /** What the client reads from: the socket, or TLS above it. */
  stream(): Socket;
}

/** Rejects with the system's or TLS's error, or after CONNECT_MS. */
async function open({ scheme, startTls }: LdapOptions, server: string): Promise<Line> {
  const { Client } = await import('ldapts');
  const { hostname, port } = new URL(`http://${server}`);
  const host = hostname.replace(/^\[(.*)\]$/, '$1');
  const secure = scheme === 'ldaps';
  const at = { host, port: Number(port || 80) };
  const socket: Socket = secure ? connectTls({ ...ldapTlsOptions(host), ...at }) : connect(at);
  let stream = socket;
  const late = setTimeout(() => socket.destroy(new Error('Connection timeout')), CONNECT_MS);
  try {
    await once(socket, secure ? 'secureConnect' : 'connect');
    // The client gets a socket that is connected, and never opens another: that would be without StartTLS.
    const client = new Client({
      url: `${scheme}://${server}`,
      timeout: ANSWER_MS,
      connectTimeout: CONNECT_MS,
      strictDN: false,
      createConnection: (() => socket) as unknown as typeof connect,
      createSecureConnection: ((options: ConnectionOptions) => {
        if (!secure) stream = connectTls(options);
        return stream;
      }) as unknown as typeof connectTls,
    });
    if (startTls) await Promise.race([client.startTLS(ldapTlsOptions(host)), ended(socket, server)]);
    return { client, socket, stream: () => stream };
  } catch (error) {
    socket.destroy();
    throw error;
  } finally {
    clearTimeout(late);
  }
}

/** Rejects when the connection ends, which the client does not notice under StartTLS. */
async function ended(socket: Socket, server: string): Promise<never> {
  await once(socket, 'close').catch(() => {});
  throw new LdapRefused(`LDAP server ${server} closed the connection, or took longer than ${ANSWER_MS / 1000} s`);
}

async function serversOf({ servers, port, baseDn }: LdapOptions): Promise<string[]> {
  if (servers.length > 0) return servers.map((host) => withPort(host, port));
  const domain = [...(baseDn ?? '').matchAll(/(?:^|,)\s*dc=([^,]+)/gi)].map(([, part]) => part!.trim()).join('.');
  if (domain === '') throw new LdapRefused('could not extract domain name from ldapbasedn');
  const found = await resolveSrv(`_ldap._tcp.${domain}`).catch(() => []);
  if (found.length === 0) throw new LdapRefused(`LDAP authentication could not find DNS SRV records for "${domain}"`);
  return found
    .sort((a, b) => a.priority - b.priority || b.weight - a.weight)
    .map(({ name, port: at }) => withPort(name, at));
}

function withPort(host: string, port: number): string {
  if (isIPv6(host)) return `[${host}]:${port}`;
  return /:\d+$/.test(host) && !host.endsWith(']') ? host : `${host}:${port}`;
}
