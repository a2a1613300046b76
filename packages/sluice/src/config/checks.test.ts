import { describe, expect, it } from 'vitest';
import { parseConfig } from './load.ts';

/** The problems of a file with these lines in [pgbouncer] and [databases], severity first. */
const problems = (main: string, databases = 'shop = user=app', rest = '') =>
  parseConfig(`[databases]\n${databases}\n${rest}\n[pgbouncer]\n${main}`, {
    path: 'a.ini',
    readFile: () => '',
  }).problems.map(({ severity, message }) => `${severity}: ${message}`);

const FILE = 'auth_file = users.txt\n';
const TLS = 'client_tls_key_file = k\nclient_tls_cert_file = c\n';

describe('settings that depend on each other', () => {
  it.each([
    [`${FILE}auth_type = hba`, ['error: auth_type=hba requires auth_hba_file: without rules nobody could log in']],
    [`${FILE}auth_type = hba\nauth_hba_file = hba.conf`, []],
    [`${FILE}auth_type = ldap`, ['error: auth_type=ldap requires auth_ldap_options: they name the LDAP server']],
    [`${FILE}auth_type = ldap\nauth_ldap_options = ldapserver=x`, []],
    ['auth_type = md5', ['warning: auth_type=md5 knows no users: set auth_file, or auth_user for auth_query']],
    ['auth_type = md5\nauth_user = pooler', []],
    ['auth_type = any', []],
    ['auth_type = ldap\nauth_ldap_options = ldapserver=x', []],
    [
      `${FILE}client_tls_sslmode = allow`,
      ['error: To allow TLS connections from clients, client_tls_key_file and client_tls_cert_file must be set.'],
    ],
    [
      `${FILE}client_tls_sslmode = allow\nclient_tls_key_file = k`,
      ['error: To allow TLS connections from clients, client_tls_key_file and client_tls_cert_file must be set.'],
    ],
    [`${FILE}${TLS}client_tls_sslmode = require`, []],
    [
      `${FILE}${TLS}client_tls_sslmode = verify-ca`,
      ['error: client_tls_sslmode=verify-ca requires client_tls_ca_file'],
    ],
    [`${FILE}${TLS}client_tls_sslmode = verify-full\nclient_tls_ca_file = ca`, []],
    [
      `${FILE}${TLS}auth_type = cert\nclient_tls_sslmode = require`,
      [
        'error: auth_type=cert requires client_tls_sslmode=verify-full',
        'error: auth_type=cert requires client_tls_ca_file',
      ],
    ],
    [`${FILE}${TLS}auth_type = cert\nclient_tls_sslmode = verify-full\nclient_tls_ca_file = ca`, []],
    [`${FILE}unix_socket_dir =`, ['warning: nowhere to listen on: set listen_addr or unix_socket_dir']],
    [`${FILE}unix_socket_dir =\nlisten_addr = ::1`, []],
    [`${FILE}auth_dbname = gone`, ['warning: auth_dbname "gone" is no entry of [databases]: add one']],
    [`${FILE}auth_dbname = shop`, []],
    [`${FILE}peer_id = 3`, ['warning: peer_id=3 is set and [peers] is empty: no cancel request can be passed on']],
  ])('%j', (main, expected) => {
    expect(problems(main)).toEqual(expected);
  });

  it.each([
    [
      'auth_type = any',
      'a =',
      ['warning: database "a" has no user= and auth_type=any gives none: its clients can\'t be logged in; add user='],
    ],
    ['auth_type = md5', 'a = auth_user=pooler', []],
    [
      FILE,
      'a = min_pool_size=5 pool_size=3',
      ['warning: min_pool_size 5 of database "a" is above its pool size: only 3 servers are kept open'],
    ],
    [
      `${FILE}min_pool_size = 30`,
      '* = host=x',
      ['warning: min_pool_size 30 of database "*" is above its pool size: only 20 servers are kept open'],
    ],
    [FILE, 'a = min_pool_size=50 pool_size=0', []],
    [FILE, 'a = auth_dbname=gone', ['warning: auth_dbname "gone" of database "a" is no entry of [databases]: add one']],
    [FILE, 'a = auth_dbname=gone\n* =', []],
    [
      FILE,
      'a = auth_dbname=pgbouncer',
      ['warning: auth_dbname of database "a" is the admin console, where no auth_query can be asked: name another'],
    ],
    [
      FILE,
      'a = password=hunter2',
      ['warning: password= of database "a" is not used without user=: add user=, or take it away'],
    ],
  ])('%j with databases %j', (main, databases, expected) => {
    expect(problems(main, databases)).toEqual(expected);
  });

  it('wants a peer_id along with [peers]', () => {
    expect(problems(FILE, 'a =', '[peers]\n1 = host=x')).toEqual([
      'warning: [peers] is set and peer_id is not: give each process its own peer_id, from 1 up',
    ]);
    expect(problems(`${FILE}peer_id = 1`, 'a =', '[peers]\n1 = host=x')).toEqual([]);
  });

  it('point to the line of the setting they are about', () => {
    const { problems: list } = parseConfig('[pgbouncer]\nauth_file = u\n\nauth_type = hba', {
      path: 'a.ini',
      readFile: () => '',
    });
    expect(list).toMatchObject([{ file: 'a.ini', line: 4, setting: 'auth_type' }]);
  });
});
