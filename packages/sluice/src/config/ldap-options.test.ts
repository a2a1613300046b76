import { describe, expect, it } from 'vitest';
import { type LdapOptions, parseLdapOptions } from './ldap-options.ts';

const DEFAULTS: LdapOptions = {
  scheme: 'ldap',
  servers: [],
  port: 389,
  startTls: false,
  prefix: '',
  suffix: '',
  baseDn: null,
  bindDn: '',
  bindPassword: '',
  attribute: 'uid',
  filter: null,
  scope: 'sub',
};

describe('LDAP options', () => {
  it.each<[string, Partial<LdapOptions>]>([
    [
      ' ldapserver=a ldapport=1389 ldapprefix="uid=" ldapsuffix=",dc=x" ldaptls=1\n',
      { servers: ['a'], port: 1389, prefix: 'uid=', suffix: ',dc=x', startTls: true },
    ],
    ['ldapserver="a b:77" ldapbasedn="dc=x"', { servers: ['a', 'b:77'], baseDn: 'dc=x' }],
    [
      'ldapserver=a "ldapport"=5 ldapbasedn="dc=x" ,ldapsearchfilter="uid=$username"',
      { servers: ['a'], port: 5, baseDn: 'dc=x', filter: 'uid=$username' },
    ],
    [
      'ldapserver=a,ldapbasedn=o ldapbinddn="cn=""me""" ldapbindpasswd=p ldapsearchattribute=cn # comment',
      { servers: ['a'], baseDn: 'o', bindDn: 'cn="me"', bindPassword: 'p', attribute: 'cn' },
    ],
    [
      'ldapscheme=ldaps ldapserver=a ldapbasedn=o ldaptls=0',
      { scheme: 'ldaps', port: 636, servers: ['a'], baseDn: 'o' },
    ],
    ['ldapurl="ldap://127.0.0.1:7/dc=a,dc=b?uid?sub"', { servers: ['127.0.0.1'], port: 7, baseDn: 'dc=a,dc=b' }],
    [
      'ldapurl="ldaps://[::1]/dc=a??one?(|(uid=$username)(mail=$username))"',
      {
        scheme: 'ldaps',
        servers: ['[::1]'],
        port: 636,
        baseDn: 'dc=a',
        scope: 'one',
        filter: '(|(uid=$username)(mail=$username))',
      },
    ],
    [
      'ldapurl="ldap://h/ou=a%20b?cn,sn" ldaptls=1',
      { servers: ['h'], baseDn: 'ou=a b', attribute: 'cn', scope: 'base', startTls: true },
    ],
    ['ldapbasedn="dc=example,dc=net"', { baseDn: 'dc=example,dc=net' }],
    ['ldapserver=a ldapbasedn=o ldapbinddn="" ldapbindpasswd=""', { servers: ['a'], baseDn: 'o' }],
    ['ldapurl="LDAP://h/o?uid?subtree"', { servers: ['h'], baseDn: 'o' }],
    [
      'ldapurl="<URL:ldaps://h/o?uid?OneLevel>"',
      { scheme: 'ldaps', port: 636, servers: ['h'], baseDn: 'o', scope: 'one' },
    ],
    ['ldapurl="url:ldap://h/o?cn?SUB??x-ext=1,!y"', { servers: ['h'], baseDn: 'o', attribute: 'cn' }],
  ])('%j', (text, expected) => {
    expect(parseLdapOptions(text)).toEqual({ ...DEFAULTS, ...expected });
  });

  it.each([
    ['', 'authentication method "ldap" requires argument "ldapbasedn", "ldapprefix", or "ldapsuffix" to be set'],
    ['ldapserver=a ldapprefix=x ldapbasedn=y', 'cannot mix options for simple bind and search+bind modes'],
    [
      'ldapserver=a ldapbasedn=y ldapsearchattribute=a ldapsearchfilter=b',
      'cannot use ldapsearchattribute together with ldapsearchfilter',
    ],
    ['ldapserver=a ldapbasedn=y ldapport=x', 'invalid LDAP port number: "x"'],
    ['ldapserver=a ldapbasedn=y ldapport=70000', 'invalid LDAP port number: "70000"'],
    ['ldapserver=a ldapbasedn=y ldapscheme=http', 'invalid ldapscheme value: "http"; it must be ldap or ldaps'],
    ['ldapsever=a', 'invalid LDAP option: "ldapsever"'],
    ['ldapserver= ldapbasedn=y', 'LDAP option ldapserver has no value; leave it out'],
    ['ldapprefix=x', 'LDAP server not specified, and no ldapbasedn'],
    [
      'ldapserver=a ldapbasedn=y more',
      'LDAP options are words such as ldapserver=host; a value with blanks or commas needs ""',
    ],
    ['ldapurl=http://x/y', 'unsupported LDAP URL scheme: http'],
    ['ldapurl=nonsense', 'could not parse LDAP URL "nonsense"'],
    ['ldapurl="ldap://h/o?uid?all"', 'unknown scope "all" in LDAP URL: it must be base, one or sub'],
  ])('refuses %j', (text, flaw) => {
    expect(parseLdapOptions(text)).toBe(flaw);
  });
});
