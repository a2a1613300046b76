import { describe, expect, it } from 'vitest';
import { parseConfig } from './load.ts';
import { configValueText, setSetting, showConfig } from './show.ts';

const parse = (lines: string) =>
  parseConfig(`[databases]\nshop = host=10.0.0.1\n[pgbouncer]\nauth_file = users.txt\n${lines}`, {
    path: 'etc/sluice.ini',
    readFile: () => '',
  }).config;

const set = (lines: string, name: string, text: string) => {
  const result = setSetting(parse(lines), name, text);
  return result.ok ? { ...result, message: '' } : { ...result, config: undefined, problems: [] };
};

describe('SHOW CONFIG', () => {
  const config = parse(
    'server_lifetime = 3600.0\nquery_wait_timeout = 0.5\nunix_socket_mode = 0770\nadmin_users = ann,  bob\n' +
      'listen_addr = 127.0.0.1 , ::1\npool_mode = TRANSACTION\nlog_stats = 0\npkt_buf = 0x1000\nstats_period = 30\n',
  );

  it.each([
    ['server_lifetime', '3600'],
    ['query_wait_timeout', '0.5'],
    ['unix_socket_mode', '504'],
    ['admin_users', 'ann,  bob'],
    ['listen_addr', '127.0.0.1 , ::1'],
    ['pool_mode', 'transaction'],
    ['log_stats', '0'],
    ['pkt_buf', '4096'],
    ['stats_period', '30'],
    ['conffile', 'etc/sluice.ini'],
    ['auth_file', 'users.txt'],
    ['auth_user', null],
    ['pidfile', ''],
    ['verbose', '0'],
    ['track_extra_parameters', 'IntervalStyle'],
    ['server_check_query', '<empty>'],
    ['service_name', undefined],
    ['session_state', 'pgbouncer'],
    ['no_such', undefined],
    ['pool_size', undefined],
  ])('shows %s as %j', (name, text) => {
    expect(configValueText(name, config)).toBe(text);
  });

  it('has a row a setting, sorted by name but for pool_mode, as PgBouncer has it', () => {
    const rows = showConfig(config);
    const keys = rows.map(({ key }) => key);
    const at = keys.indexOf('pool_mode');
    expect(keys[at + 1]).toBe('pool_idle_timeout');
    expect(keys.toSpliced(at, 1)).toEqual([...keys].sort().filter((key) => key !== 'pool_mode'));
    expect(new Set(keys).size).toBe(keys.length);
    expect(rows.find(({ key }) => key === 'listen_port')).toEqual({
      key: 'listen_port',
      value: '6432',
      default: '6432',
      changeable: 'no',
    });
    expect(rows.find(({ key }) => key === 'pool_mode')).toEqual({
      key: 'pool_mode',
      value: 'transaction',
      default: 'session',
      changeable: 'yes',
    });
  });

  it.each([
    ['ldapserver=x ldapbindpasswd=hunter2 ldapport=1', 'ldapserver=x ldapbindpasswd=*** ldapport=1'],
    ['ldapserver=x,ldapbindpasswd="hunter2 ""x"" y"', 'ldapserver=x,ldapbindpasswd=***'],
    ['"ldapbindpasswd"="hunter2', '"ldapbindpasswd"=***'],
  ])('hides the password in auth_ldap_options %s', (given, shown) => {
    expect(configValueText('auth_ldap_options', parse(`auth_ldap_options = ${given}`))).toBe(shown);
  });
});

describe('SET', () => {
  it('makes a new configuration and leaves the old one as it is', () => {
    const before = parse('pool_mode = session');
    const result = setSetting(before, 'pool_mode', 'Statement');
    expect(result.ok && result.config.global.poolMode).toBe('statement');
    expect(result.ok && configValueText('pool_mode', result.config)).toBe('statement');
    expect(result.ok && result.problems).toEqual([]);
    expect(before.global.poolMode).toBe('session');
    expect(configValueText('pool_mode', before)).toBe('session');
  });

  it('takes durations in seconds and texts as they are', () => {
    expect(set('', 'query_timeout', '1.5').config?.global.queryTimeoutMs).toBe(1500);
    expect(set('', 'server_reset_query', '').config?.global.serverResetQuery).toBe('');
    const { config } = set('', 'admin_users', 'x, y');
    expect(config?.global.adminUsers).toEqual(['x', 'y']);
    expect(config && configValueText('admin_users', config)).toBe('x, y');
  });

  it.each([
    [
      'pool_mode',
      'x',
      'invalid value "x" for parameter pool_mode in configuration: it must be one of session, transaction, statement',
    ],
    [
      'stats_period',
      '0',
      'invalid value "0" for parameter stats_period in configuration: it must be a whole number of seconds from 1 to 2147483647',
    ],
    ['pool_mod', 'session', 'unknown parameter: pgbouncer/pool_mod; did you mean pool_mode?'],
    ['pool_size', '1', 'unknown parameter: pgbouncer/pool_size; it stands in [databases], [users], [peers]'],
    ['listen_port', '1', 'listen_port cannot be changed while running: set it in the configuration file and restart'],
    ['job_name', 'x', 'job_name cannot be changed while running: set it in the configuration file and restart'],
    ['service_name', 'x', 'unknown parameter: pgbouncer/service_name; see docs/settings.md for the names there are'],
    [
      'auth_type',
      'x',
      'invalid value "x" for parameter auth_type in configuration: it must be one of any, trust, plain, md5, cert, hba, ldap, scram-sha-256',
    ],
    [
      'auth_type',
      'pam',
      'auth_type=pam is not supported: Node.js has no access to PAM; use ldap, cert, scram-sha-256 or md5 instead',
    ],
    ['auth_type', 'hba', 'auth_type=hba requires auth_hba_file: without rules nobody could log in'],
    [
      'client_tls_sslmode',
      'require',
      'To allow TLS connections from clients, client_tls_key_file and client_tls_cert_file must be set.',
    ],
  ])('refuses %s=%s and says what to do', (name, text, message) => {
    expect(set('', name, text).message).toBe(message);
  });

  it('lets a setting through whose condition was set first', () => {
    expect(set('auth_hba_file = hba.conf', 'auth_type', 'hba').config?.global.authType).toBe('hba');
  });

  it('passes on warnings that the change brings, and only those', () => {
    const lines = 'peer_id = 5';
    expect(set(lines, 'tcp_defer_accept', '45').problems.map(({ message }) => message)).toEqual([
      'tcp_defer_accept = 45: it is read as 1 (on); write 0 or 1',
    ]);
    expect(set('', 'peer_id', '7').problems.map(({ message }) => message)).toEqual([
      'peer_id=7 is set and [peers] is empty: no cancel request can be passed on',
    ]);
    expect(set(lines, 'verbose', '1').problems).toEqual([]);
  });
});
