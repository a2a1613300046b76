// Owns the rows about authentication.
// It must not know how values are read, nor how a method works.

import type { SettingRow } from './setting-row.ts';

const AUTH = { scopes: ['global'], reload: true, group: 'Authentication' } as const;

export const AUTH_ROWS = {
  auth_type: {
    ...AUTH,
    kind: 'enum',
    values: ['any', 'trust', 'plain', 'md5', 'cert', 'hba', 'ldap', 'pam', 'scram-sha-256'],
    default: 'md5',
    refused: {
      pam: 'Node.js has no access to PAM; use ldap, cert, scram-sha-256 or md5 instead',
    },
    doc: 'How clients prove who they are. `md5` uses SCRAM for users whose secret is a SCRAM one; `hba` asks a file.',
  },
  auth_file: {
    ...AUTH,
    kind: 'path',
    default: null,
    doc: 'File of users and their secrets, one `"user" "secret"` a line.',
  },
  auth_hba_file: {
    ...AUTH,
    kind: 'path',
    default: '',
    doc: 'File of access rules for auth_type `hba`, in the format of pg_hba.conf.',
  },
  auth_ident_file: {
    ...AUTH,
    kind: 'path',
    default: null,
    doc: 'File of user name maps for `map=` in the access rules, in the format of pg_ident.conf.',
  },
  auth_ldap_options: {
    ...AUTH,
    kind: 'string',
    default: null,
    doc: 'LDAP server and search for auth_type `ldap`, written as the options of a pg_hba.conf line.',
  },
  auth_user: {
    ...AUTH,
    kind: 'string',
    default: null,
    scopes: ['global', 'database'],
    doc: 'Users that are not in `auth_file` are looked up with `auth_query`, logged in as this user.',
  },
  auth_query: {
    ...AUTH,
    kind: 'sql',
    default:
      'SELECT rolname, CASE WHEN rolvaliduntil < now() THEN NULL ELSE rolpassword END ' +
      'FROM pg_authid WHERE rolname=$1 AND rolcanlogin',
    scopes: ['global', 'database'],
    doc: "Query that yields a user's name and secret. Better a SECURITY DEFINER function than rights on pg_authid.",
  },
  auth_dbname: {
    ...AUTH,
    kind: 'string',
    default: null,
    scopes: ['global', 'database'],
    doc: 'Entry of `[databases]` where `auth_query` runs. Not set: the database the client asked for.',
  },
  scram_iterations: {
    ...AUTH,
    kind: 'int',
    default: '4096',
    min: 1,
    doc: 'Rounds of hashing for a SCRAM secret made from a plain password: more is harder to guess and slower.',
  },
} as const satisfies Record<string, SettingRow>;
