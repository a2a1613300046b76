// Owns the options of LDAP authentication: `name=value` words, as after `ldap` in a rule and in auth_ldap_options.
// It must not know how a directory is spoken to. No message holds ldapbindpasswd.

import { quote } from './problem.ts';

export type LdapScope = 'base' | 'one' | 'sub';

/** Where a user's password is checked. With `baseDn` the user is searched for; without, its name makes the DN. */
export interface LdapOptions {
  readonly scheme: 'ldap' | 'ldaps';
  /** Hosts in the order they are tried; none: found by DNS, from the domain that `baseDn` names. */
  readonly servers: readonly string[];
  readonly port: number;
  /** StartTLS on the plain port. */
  readonly startTls: boolean;
  readonly prefix: string;
  readonly suffix: string;
  readonly baseDn: string | null;
  /** Whom to search as; both empty: anonymously. */
  readonly bindDn: string;
  readonly bindPassword: string;
  readonly attribute: string;
  /** With `$username` for the user; null: `(attribute=user)`. */
  readonly filter: string | null;
  readonly scope: LdapScope;
}

const PORTS = { ldap: 389, ldaps: 636 } as const;
const NAMES = [
  'ldapserver',
  'ldapport',
  'ldapscheme',
  'ldaptls',
  'ldapprefix',
  'ldapsuffix',
  'ldapbasedn',
  'ldapbinddn',
  'ldapbindpasswd',
  'ldapsearchattribute',
  'ldapsearchfilter',
  'ldapurl',
] as const;
type Name = (typeof NAMES)[number];
type Given = Partial<Record<Name, string>> & { scope?: LdapScope };

/** A word: blanks and one comma may stand before it; name and value may be quoted, with "" for a quote. */
const WORD = /\s*,?\s*(?:"((?:[^"]|"")*)"|([^\s=",#]+))=(?:"((?:[^"]|"")*)"|([^\s,"]*))/y;
/** What may stand behind the last word. */
const END = /\s*(?:#.*)?$/y;

/** @returns what is wrong, as a sentence, when the options can't be used. */
export function parseLdapOptions(text: string): LdapOptions | string {
  const given: Given = {};
  let at = 0;
  for (;;) {
    END.lastIndex = at;
    if (END.test(text)) break;
    WORD.lastIndex = at;
    const match = WORD.exec(text);
    if (match === null) return 'LDAP options are words such as ldapserver=host; a value with blanks or commas needs ""';
    at = WORD.lastIndex;
    const flaw = take(given, unquote(match[1]) ?? match[2]!, unquote(match[3]) ?? match[4]!);
    if (flaw !== null) return flaw;
  }
  return finish(given);
}

function unquote(text: string | undefined): string | undefined {
  return text?.replaceAll('""', '"');
}

function take(given: Given, name: string, value: string): string | null {
  if (!(NAMES as readonly string[]).includes(name)) return `invalid LDAP option: ${quote(name)}`;
  // To search anonymously, said in so many words.
  if (value === '' && name !== 'ldapbinddn' && name !== 'ldapbindpasswd')
    return `LDAP option ${name} has no value; leave it out`;
  if (name === 'ldapurl') return takeUrl(given, value);
  given[name as Name] = value;
  return null;
}

/** Scopes of RFC 4516 and the longer names that libldap knows. */
const SCOPES: Readonly<Record<string, LdapScope>> = {
  base: 'base',
  one: 'one',
  onelevel: 'one',
  sub: 'sub',
  subtree: 'sub',
};

/**
 * ldap[s]://host[:port]/base[?attribute[?scope[?filter[?extensions]]]] (RFC 4516), perhaps in `<>` and behind `URL:`, as libldap reads it;
 * the scope is `base` unless given, as there. Extensions are for nobody here.
 */
function takeUrl(given: Given, text: string): string | null {
  const url = text.replace(/^<(.*)>$/, '$1').replace(/^url:/i, '');
  const match =
    /^(\w+):\/\/(\[[0-9A-Fa-f:.]+\]|[^:/?#]*)(?::(\d+))?(?:\/([^?]*)(?:\?([^?]*)(?:\?([^?]*)(?:\?([^?]*)(?:\?[^?]*)?)?)?)?)?$/.exec(
      url,
    );
  if (match === null) return `could not parse LDAP URL ${quote(text)}`;
  const [, protocol, host, port, base, attributes, range, filter] = match.map((part) => part && decode(part));
  const scheme = protocol!.toLowerCase();
  if (scheme !== 'ldap' && scheme !== 'ldaps') return `unsupported LDAP URL scheme: ${protocol}`;
  const scope = SCOPES[(range || 'base').toLowerCase()];
  if (scope === undefined) return `unknown scope ${quote(range!)} in LDAP URL: it must be base, one or sub`;
  given.ldapscheme = scheme;
  given.ldapport = port ?? String(PORTS[scheme]);
  given.scope = scope;
  const rest: Given = {
    ldapserver: host,
    ldapbasedn: base,
    ldapsearchattribute: attributes?.split(',')[0],
    ldapsearchfilter: filter,
  } as Given;
  for (const [name, value] of Object.entries(rest)) if (value) given[name as Name] = value;
  return null;
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

function finish(given: Given): LdapOptions | string {
  const scheme = given.ldapscheme ?? 'ldap';
  if (scheme !== 'ldap' && scheme !== 'ldaps')
    return `invalid ldapscheme value: ${quote(scheme)}; it must be ldap or ldaps`;
  const port = Number(given.ldapport ?? PORTS[scheme]);
  if (!/^\d{1,5}$/.test(given.ldapport ?? '1') || port < 1 || port > 65_535)
    return `invalid LDAP port number: ${quote(given.ldapport ?? '')}`;
  const flaw = checkMode(given);
  if (flaw !== null) return flaw;
  return {
    scheme,
    servers: given.ldapserver?.split(' ').filter((host) => host !== '') ?? [],
    port,
    startTls: given.ldaptls === '1',
    prefix: given.ldapprefix ?? '',
    suffix: given.ldapsuffix ?? '',
    baseDn: given.ldapbasedn ?? null,
    bindDn: given.ldapbinddn ?? '',
    bindPassword: given.ldapbindpasswd ?? '',
    attribute: given.ldapsearchattribute ?? 'uid',
    filter: given.ldapsearchfilter ?? null,
    scope: given.scope ?? 'sub',
  };
}

function checkMode(given: Given): string | null {
  const { ldapprefix, ldapsuffix, ldapbasedn, ldapbinddn, ldapbindpasswd, ldapsearchattribute, ldapsearchfilter } =
    given;
  const searches = [ldapbasedn, ldapbinddn, ldapbindpasswd, ldapsearchattribute, ldapsearchfilter];
  if (ldapprefix !== undefined || ldapsuffix !== undefined) {
    if (searches.some((one) => one !== undefined)) return 'cannot mix options for simple bind and search+bind modes';
    if (given.ldapserver === undefined) return 'LDAP server not specified, and no ldapbasedn';
  } else if (ldapbasedn === undefined)
    return 'authentication method "ldap" requires argument "ldapbasedn", "ldapprefix", or "ldapsuffix" to be set';
  if (ldapsearchattribute !== undefined && ldapsearchfilter !== undefined)
    return 'cannot use ldapsearchattribute together with ldapsearchfilter';
  return null;
}
