import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { defaultGlobals } from './defaults.ts';
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
      'invalid value "70000" for parameter listen_port in configuration: it must be a whole number from 0 to 65535',
    ],
    [
      'pool_mode = transactoin',
      'invalid value "transactoin" for parameter pool_mode in configuration: it must be one of session, transaction, statement',
    ],
    [
      'server_lifetime = 1h',
      'invalid value "1h" for parameter server_lifetime in configuration: it must be a number of seconds from 0 to 2147483647, such as 30 or 0.5',
    ],
    [
      'query_timeout = -1',
      'invalid value "-1" for parameter query_timeout in configuration: it must be a number of seconds from 0 to 2147483647, such as 30 or 0.5',
    ],
    ['log_stats = yes', 'invalid value "yes" for parameter log_stats in configuration: it must be 0 (off) or 1 (on)'],
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
    ['auth_dbname = pgbouncer', 'cannot use the reserved "pgbouncer" database as an auth_dbname: name another'],
  ])('refuses %s and says what to do', (line, message) => {
    expect(errors(`${MAIN}${line}\n`)).toEqual([message]);
  });
});

describe('repeated and misplaced lines', () => {
  it('the last of two equal names counts, and a warning says so within a file', () => {
    const text = `${MAIN}pool_mode = session\npool_mode = statement\n[users]\nu = pool_size=1\nu = pool_size=2\n`;
    const { config } = parse(text);
    expect(config.global.poolMode).toBe('statement');
    expect(config.users.get('u')?.poolSize).toBe(2);
    expect(warnings(text)).toEqual([
      '"pool_mode" was given before (pgbouncer.ini:3): this one counts, take the other away',
      '"u" was given before (pgbouncer.ini:6): this one counts, take the other away',
    ]);
  });

  it('an included file may override without a warning', () => {
    const files = { 'local.ini': 'pool_mode = statement\n' };
    const { config, problems } = parse(`${MAIN}pool_mode = session\n%include local.ini`, files);
    expect(config.global.poolMode).toBe('statement');
    expect(config.given.get('pool_mode')).toEqual({ text: 'statement', file: 'local.ini', line: 1 });
    expect(problems).toEqual([]);
  });

  it('a second [pgbouncer] sets back what has a default, as in PgBouncer, and says what', () => {
    const text = `${MAIN}pool_mode = statement\nauth_user = pooler\nquery_timeout = 5\n[pgbouncer]\nquery_timeout = 6\n`;
    const { config } = parse(text);
    expect(config.global).toMatchObject({
      poolMode: 'session',
      queryTimeoutMs: 6000,
      authUser: 'pooler',
      authFile: 'users.txt',
    });
    expect(warnings(text)[0]).toMatch(
      /^section \[pgbouncer\] begins a second time, which sets back to their defaults: pool_mode, query_timeout; keep one/,
    );
  });

  it('a line before any section is refused', () => {
    expect(errors(`pool_mode = session\n${MAIN}`)).toEqual([
      'value without section: "pool_mode"; put a line such as [pgbouncer] before it',
    ]);
  });

  it('a file without [pgbouncer] is refused', () => {
    expect(errors('[databases]\na =')).toEqual([
      'main section missing from config file "pgbouncer.ini": add a line [pgbouncer]',
    ]);
    expect(errors('')).toHaveLength(1);
  });

  it('an unknown section is named once, however often it comes and whatever it holds', () => {
    expect(errors(`${MAIN}[x]\na = 1\nb = 2\n[x]\nc = 3`)).toHaveLength(1);
  });

  it('conffile is the path of the file unless the file says otherwise', () => {
    expect(parse(`${MAIN}conffile = other.ini`).config.global.conffile).toBe('other.ini');
  });
});

describe('a damaged file', () => {
  const WHOLE = `; all kinds of lines
%include more.ini
[databases]
shop = host=10.0.0.1,::1 port=5433 user=app password='it''s' pool_mode=transaction
'my db' = connect_query='select 1' server_lifetime=60
* = host=/tmp
[users]
ann = pool_size=2 query_timeout=1.5
[peers]
1 = host=x port=6432
[pgbouncer]
listen_addr = 127.0.0.1, ::1
auth_type = scram-sha-256
auth_file = users.txt
peer_id = 1
unix_socket_mode = 0770
server_tls_protocols = secure
query_wait_timeout = 0.5
`;
  const files = { 'more.ini': '[databases]\nextra =\n' };

  it('is whole to begin with', () => {
    expect(parse(WHOLE, files).problems).toEqual([]);
  });

  it('yields problems and never an exception, wherever a piece is cut, doubled or replaced', () => {
    const position = fc.nat(WHOLE.length);
    const piece = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 5 }),
      fc.constantFrom("'", '"', '=', '\n', '[', ']', '%include ', '-1', '\0'),
    );
    fc.assert(
      fc.property(position, fc.nat(40), piece, (start, length, put) => {
        const text = WHOLE.slice(0, start) + put + WHOLE.slice(start + length);
        const { config, problems } = parse(text, files);
        expect(Object.keys(config.global)).toHaveLength(Object.keys(defaultGlobals()).length);
        for (const { message, line, file } of problems) {
          expect(message).toMatch(/\S{2}/);
          expect(line).toBeGreaterThan(0);
          expect(file).toMatch(/\.ini$/);
        }
      }),
      { numRuns: 500 },
    );
  });

  it('never comes back as a value outside its bounds', () => {
    const number = fc.oneof(fc.integer(), fc.double(), fc.string()).map(String);
    fc.assert(
      fc.property(fc.constantFrom('listen_port', 'peer_id', 'unix_socket_mode'), number, (name, text) => {
        const { global } = parse(`${MAIN}${name} = ${text}`).config;
        const value = {
          listen_port: global.listenPort,
          peer_id: global.peerId,
          unix_socket_mode: global.unixSocketMode,
        }[name];
        expect(value).toSatisfy((one) => Number.isInteger(one) && Number(one) >= 0 && Number(one) <= 65_535);
      }),
    );
  });
});

describe('hasErrors', () => {
  it('is false when there are only warnings', () => {
    const { problems } = parse(`${MAIN}tcp_defer_accept = 45\n`);
    expect(problems.length).toBe(1);
    expect(hasErrors(problems)).toBe(false);
    expect(warnings(`${MAIN}tcp_defer_accept = 45\n`)[0]).toBe(
      'tcp_defer_accept = 45: it is read as 1 (on); write 0 or 1',
    );
  });
});
