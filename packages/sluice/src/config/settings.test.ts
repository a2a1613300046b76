import { describe, expect, it } from 'vitest';
import { largest, smallest } from './bounds.ts';
import { defaultConfig } from './defaults.ts';
import { fieldName, GROUPS, type Scope, settingName } from './setting-row.ts';
import { ALIASES, findRow, rowsIn } from './settings.ts';
import { showConfig } from './show.ts';
import { parseValue } from './values.ts';

const SCOPES: readonly Scope[] = ['global', 'database', 'user', 'peer'];
const ROWS = SCOPES.flatMap((scope) => rowsIn(scope).map(({ key, row }) => ({ scope, key, row })));

// PgBouncer's SHOW CONFIG at 1.25, in its order: name, default (~ for none), and ! where only a restart changes it.
const PGBOUNCER = `
admin_users= application_name_add_host=0 auth_dbname~ auth_file~ auth_hba_file= auth_ident_file~ auth_ldap_options~
auth_type=md5 auth_user~ autodb_idle_timeout=3600 cancel_wait_timeout=10 client_idle_timeout=0 client_login_timeout=60
client_tls13_ciphers~ client_tls_ca_file= client_tls_cert_file= client_tls_ciphers=default client_tls_dheparams=auto
client_tls_ecdhcurve=auto client_tls_key_file= client_tls_protocols=secure client_tls_sslmode=disable conffile~
default_pool_size=20 disable_pqexec=0! dns_max_ttl=15 dns_nxdomain_ttl=15 dns_zone_check_period=0
idle_transaction_timeout=0 ignore_startup_parameters= job_name=pgbouncer! listen_addr=! listen_backlog=128!
listen_port=6432! log_connections=1 log_disconnections=1 log_pooler_errors=1 log_stats=1 logfile= login_notify_message=
max_client_conn=100 max_db_client_connections=0 max_db_connections=0 max_packet_size=2147483647
max_prepared_statements=200 max_user_client_connections=0 max_user_connections=0 min_pool_size=0 peer_id=0 pidfile=!
pkt_buf=4096! pool_mode=session pool_idle_timeout=0 query_timeout=0 query_wait_notify=5 query_wait_timeout=120
reserve_pool_size=0 reserve_pool_timeout=5 resolv_conf=! sbuf_loopcnt=5 scram_iterations=4096 server_check_delay=30
server_check_query=<empty> server_connect_timeout=15 server_fast_close=0 server_idle_timeout=600 server_lifetime=3600
server_login_retry=15 server_reset_query_always=0 server_round_robin=0 server_tls13_ciphers~ server_tls_ca_file=
server_tls_cert_file= server_tls_ciphers=default server_tls_key_file= server_tls_protocols=secure
server_tls_sslmode=prefer so_reuseport=0! stats_period=60 stats_users= suspend_timeout=10 syslog=0
syslog_facility=daemon syslog_ident=pgbouncer tcp_defer_accept=1 tcp_keepalive=1 tcp_keepcnt=0 tcp_keepidle=0
tcp_keepintvl=0 tcp_socket_buffer=0 tcp_user_timeout=0 track_extra_parameters=IntervalStyle! transaction_timeout=0
unix_socket_dir=/tmp! unix_socket_group=! unix_socket_mode=0777! user~! verbose~
`
  .trim()
  .split(/\s+/);

/** The two whose defaults hold spaces. */
const WITH_SPACES = ['auth_query', 'server_reset_query'];

describe('the settings table', () => {
  it('has every setting of PgBouncer, with its default and whether RELOAD changes it', () => {
    const shown = showConfig(defaultConfig())
      .filter(({ key }) => findRow('global', key)?.row.own !== true && !WITH_SPACES.includes(key))
      .map((row) => `${row.key}${row.default === null ? '~' : `=${row.default}`}${row.changeable === 'no' ? '!' : ''}`);
    expect(shown).toEqual(PGBOUNCER);
  });

  it.each([
    [
      'database',
      'application_name auth_dbname auth_query auth_user client_encoding connect_query datestyle dbname host ' +
        'load_balance_hosts max_db_client_connections max_db_connections min_pool_size password pool_mode pool_size ' +
        'port query_wait_timeout reserve_pool reserve_pool_size server_lifetime sslnegotiation timezone user',
    ],
    [
      'user',
      'client_idle_timeout idle_transaction_timeout max_user_client_connections max_user_connections pool_mode ' +
        'pool_size query_timeout query_wait_timeout reserve_pool_size transaction_timeout',
    ],
    ['peer', 'host pool_size port'],
  ] as const)('has every key of a %s', (scope, names) => {
    const keys = [...rowsIn(scope).map(({ key }) => settingName(key)), ...Object.keys(ALIASES[scope] ?? {})];
    expect(keys.sort().join(' ')).toBe(names);
  });

  it.each(ROWS)(
    '$scope $key has a group, one line of documentation, and one field of its own',
    ({ scope, key, row }) => {
      expect(GROUPS).toContain(row.group);
      expect(row.doc).toMatch(/^[A-Z`TLS].*\.$|asked for at login\.$/);
      expect(row.doc).not.toContain('\n');
      const field = fieldName(key, row);
      expect(rowsIn(scope).filter((other) => fieldName(other.key, other.row) === field)).toHaveLength(1);
      expect(/Ms$/.test(field)).toBe(['time', 'seconds', 'millis'].includes(row.kind));
    },
  );

  it.each(ROWS.filter(({ row }) => row.default !== null))(
    '$scope $key has a default within its own bounds',
    ({ row }) => {
      expect(parseValue(row, row.default!, 'c').ok).toBe(true);
      expect(smallest(row)).toBeLessThan(largest(row));
    },
  );
});

describe('finding a row', () => {
  it('tells apart what two sections call by one name', () => {
    expect(findRow('global', 'user')?.key).toBe('user');
    expect(findRow('database', 'user')?.key).toBe('databases/user');
    expect(findRow('database', 'port')?.row.default).toBe('5432');
    expect(findRow('peer', 'port')?.row.default).toBe('6432');
    expect(settingName('peers/port')).toBe('port');
  });

  it('knows the other names, but for that of Windows services', () => {
    expect(findRow('global', 'service_name')).toBeUndefined();
    expect(findRow('database', 'reserve_pool')?.key).toBe('reserve_pool_size');
    expect(findRow('user', 'reserve_pool')).toBeUndefined();
  });

  it.each(['constructor', 'toString', '__proto__', 'hasOwnProperty', '', 'databases/user', 'peers/port', 'USER'])(
    'finds nothing by the name %j',
    (name) => {
      for (const scope of SCOPES) expect(findRow(scope, name)).toBeUndefined();
    },
  );

  it('does not find a setting of another section', () => {
    expect(findRow('global', 'pool_size')).toBeUndefined();
    expect(findRow('user', 'min_pool_size')).toBeUndefined();
    expect(findRow('peer', 'pool_mode')).toBeUndefined();
  });
});
