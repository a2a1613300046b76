import { describe, expect, it } from 'vitest';
import { parseConfig } from './load.ts';
import { hasErrors } from './problem.ts';

const noFiles = (path: string): string => {
  throw new Error(`no such file: ${path}`);
};

const parse = (text: string, files: Record<string, string> = {}) =>
  parseConfig(text, { path: 'pgbouncer.ini', readFile: (path) => files[path] ?? noFiles(path) });

const errors = (text: string, files?: Record<string, string>) =>
  parse(text, files)
    .problems.filter((problem) => problem.severity === 'error')
    .map((problem) => problem.message);

const warnings = (text: string, files?: Record<string, string>) =>
  parse(text, files)
    .problems.filter((problem) => problem.severity === 'warning')
    .map((problem) => problem.message);

const MAIN = '[pgbouncer]\nauth_file = users.txt\n';

describe('a configuration file', () => {
  it('has every default when it gives nothing', () => {
    const { config, problems } = parse(MAIN);
    expect(problems).toEqual([]);
    expect(config.global.poolMode).toBe('session');
    expect(config.global.defaultPoolSize).toBe(20);
    expect(config.global.queryWaitTimeoutMs).toBe(120_000);
    expect(config.global.listenAddr).toEqual([]);
    expect(config.global.unixSocketMode).toBe(0o777);
    expect(config.global.authUser).toBe('');
    expect(config.global.serverCheckQuery).toBe('<empty>');
    expect(config.global.logConnections).toBe(true);
    expect(config.global.sessionState).toBe('pgbouncer');
    expect(config.global.serverLifetimeJitterPercent).toBe(10);
    expect(config.global.conffile).toBe('pgbouncer.ini');
  });

  it('gives databases, users, peers and the fallback their fields', () => {
    const { config, problems } = parse(`[databases]
shop = host=10.0.0.1,10.0.0.2 port=5433 dbname=shop_live user=app password='it''s secret' pool_mode=Transaction \
reserve_pool=3 query_wait_timeout=2.5 connect_query='select 1; select 2'
plain =
* = host=/var/run/postgresql pool_size=7
[users]
ann = pool_size=2 max_user_connections=3 client_idle_timeout=60
[peers]
1 = host=/tmp/one
2 = host=two.example port=7000 pool_size=9
${MAIN}peer_id = 1
`);
    expect(problems).toEqual([]);
    expect(config.databases.get('shop')).toMatchObject({
      name: 'shop',
      hosts: ['10.0.0.1', '10.0.0.2'],
      port: 5433,
      dbname: 'shop_live',
      user: 'app',
      password: "it's secret",
      poolMode: 'transaction',
      reservePoolSize: 3,
      queryWaitTimeoutMs: 2500,
      connectQuery: 'select 1; select 2',
      poolSize: undefined,
      loadBalanceHosts: 'round-robin',
      place: { file: 'pgbouncer.ini', line: 2 },
    });
    expect(config.databases.get('plain')).toMatchObject({ hosts: [], port: 5432, dbname: undefined });
    expect(config.databases.has('*')).toBe(false);
    expect(config.fallback).toMatchObject({ name: '*', hosts: ['/var/run/postgresql'], poolSize: 7 });
    expect(config.users.get('ann')).toMatchObject({
      name: 'ann',
      poolSize: 2,
      maxUserConnections: 3,
      clientIdleTimeoutMs: 60_000,
      poolMode: undefined,
    });
    expect(config.peers.get(1)).toMatchObject({ id: 1, host: '/tmp/one', port: 6432, poolSize: undefined });
    expect(config.peers.get(2)).toMatchObject({ id: 2, host: 'two.example', port: 7000, poolSize: 9 });
  });

  it.each([
    [
      'listen_port = 70000',
      'invalid value "70000" for parameter listen_port: it must be a whole number from 0 to 65535',
    ],
    [
      'pool_mode = transactoin',
      'invalid value "transactoin" for parameter pool_mode: it must be one of session, transaction, statement',
    ],
    [
      'server_lifetime = 1h',
      'invalid value "1h" for parameter server_lifetime: it must be a number of seconds from 0 to 2147483647, such as 30 or 0.5',
    ],
    [
      'query_timeout = -1',
      'invalid value "-1" for parameter query_timeout: it must be a number of seconds from 0 to 2147483647, such as 30 or 0.5',
    ],
    ['log_stats = yes', 'invalid value "yes" for parameter log_stats: it must be 0 (off) or 1 (on)'],
    ['max_client_con = 5', 'unknown parameter: pgbouncer/max_client_con; did you mean max_client_conn?'],
    ['frobnicate = 5', 'unknown parameter: pgbouncer/frobnicate; see docs/settings.md for the names there are'],
    ['constructor = 5', 'unknown parameter: pgbouncer/constructor; see docs/settings.md for the names there are'],
    [
      'peers/port = 5',
      'syntax error in configuration: expected "name = value"; the name "peers/port" needs quotes: \'...\'',
    ],
    ["'peers/port' = 5", 'unknown parameter: pgbouncer/peers/port; see docs/settings.md for the names there are'],
    ['[nonsense]', 'invalid section "nonsense": known are [pgbouncer], [databases], [users], [peers]'],
    [
      'auth_type = pam',
      'auth_type=pam is not supported: Node.js has no access to PAM; use ldap, cert, scram-sha-256 or md5 instead',
    ],
    ['auth_type = hba', 'auth_type=hba requires auth_hba_file: without rules nobody could log in'],
    [
      'client_tls_sslmode = require',
      'To allow TLS connections from clients, client_tls_key_file and client_tls_cert_file must be set.',
    ],
    [
      'auth_dbname = pgbouncer',
      'invalid value "pgbouncer" for parameter auth_dbname: it must be another database: "pgbouncer" is reserved for the admin console',
    ],
  ])('refuses %s and says what to do', (line, message) => {
    expect(errors(`${MAIN}${line}\n`)).toEqual([message]);
  });
});

describe('hasErrors', () => {
  it('is false when there are only warnings', () => {
    const { problems } = parse(`${MAIN}tcp_defer_accept = 45\n`);
    expect(problems.length).toBe(2);
    expect(hasErrors(problems)).toBe(false);
    expect(warnings(`${MAIN}tcp_defer_accept = 45\n`)[0]).toBe(
      'tcp_defer_accept = 45: it is read as 1 (on); write 0 or 1',
    );
  });
});
