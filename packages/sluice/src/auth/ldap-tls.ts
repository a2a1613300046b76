/**
 * How an LDAP server's certificate is judged: by libldap's own settings, since PgBouncer has none of its own for it.
 * LDAPTLS_REQCERT and LDAPTLS_CACERT of the environment, or TLS_REQCERT and TLS_CACERT of ldap.conf; read once.
 */
import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import type { ConnectionOptions } from 'node:tls';

/** Where distributions have the file; LDAPCONF names another. */
const PLACES = ['/etc/ldap/ldap.conf', '/etc/openldap/ldap.conf', '/usr/local/etc/openldap/ldap.conf'];

interface Judgement {
  readonly verify: boolean;
  /** Text of the authorities' certificates; null: those that the runtime trusts. */
  readonly ca: string | null;
}

let judgement: Judgement | null = null;

export function ldapTlsOptions(host: string): ConnectionOptions {
  judgement ??= judge(process.env, readText);
  const { verify, ca } = judgement;
  return {
    host,
    ...(isIP(host) === 0 ? { servername: host } : {}),
    rejectUnauthorized: verify,
    ...(ca === null ? {} : { ca }),
  };
}

/** `never` and `allow` take any certificate; everything else wants a valid one (ldap.conf(5)). */
export function judge(env: NodeJS.ProcessEnv, read: (path: string) => string | null): Judgement {
  const file = env.LDAPCONF === undefined ? PLACES.map(read).find((text) => text !== null) : read(env.LDAPCONF);
  const settings = new Map<string, string>();
  for (const line of (file ?? '').split('\n')) {
    const match = /^(\w+)\s+(.*?)\s*$/.exec(line);
    if (match !== null) settings.set(match[1]!.toUpperCase(), match[2]!);
  }
  const level = (env.LDAPTLS_REQCERT ?? settings.get('TLS_REQCERT') ?? 'demand').toLowerCase();
  const path = env.LDAPTLS_CACERT ?? settings.get('TLS_CACERT');
  return { verify: level !== 'never' && level !== 'allow', ca: path === undefined ? null : read(path) };
}

function readText(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}
