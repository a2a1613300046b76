import { expect, test } from 'vitest';
import { judge } from './ldap-tls.ts';

const files: Record<string, string> = {
  '/etc/ldap/ldap.conf': '# comment\nTLS_CACERT\t/ca.pem\n',
  '/own.conf': 'tls_reqcert never\n',
  '/ca.pem': 'CA',
  '/other.pem': 'OTHER',
};
const read = (path: string) => files[path] ?? null;

test.each([
  [{}, { verify: true, ca: 'CA' }],
  [{ LDAPCONF: '/own.conf' }, { verify: false, ca: null }],
  [
    { LDAPCONF: '/own.conf', LDAPTLS_REQCERT: 'Hard' },
    { verify: true, ca: null },
  ],
  [
    { LDAPTLS_REQCERT: 'allow', LDAPTLS_CACERT: '/other.pem' },
    { verify: false, ca: 'OTHER' },
  ],
  [{ LDAPCONF: '/gone' }, { verify: true, ca: null }],
])('libldap settings decide how a certificate is judged: %j', (env, expected) => {
  expect(judge(env, read)).toEqual(expected);
});
