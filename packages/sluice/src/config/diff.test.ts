import { describe, expect, it } from 'vitest';
import { afterReload, diffConfig } from './diff.ts';
import { parseConfig } from './load.ts';
import { configValueText } from './show.ts';

const parse = (text: string) =>
  parseConfig(`${text}\n${text.includes('[pgbouncer]') ? '' : '[pgbouncer]'}`, { path: 'a.ini', readFile: () => '' })
    .config;

const databases = (...lines: string[]) => parse(`[databases]\n${lines.join('\n')}`);

describe('the difference between two configurations', () => {
  it('is empty when only the order, the places and the ways of writing differ', () => {
    const before = parse(
      '[databases]\na = host=x,y port=5432\nb =\n[users]\nu = pool_size=1\n[pgbouncer]\nquery_timeout = 1.0',
    );
    const after = parse(
      "[pgbouncer]\nquery_timeout=1\n[users]\n; moved\nu = pool_size='1'\n[databases]\nb=\n\na = port=5432 host='x,y'",
    );
    expect(diffConfig(before, after)).toEqual({
      global: [],
      databases: { added: [], removed: [], changed: [] },
      fallback: { added: [], removed: [], changed: [] },
      users: { added: [], removed: [], changed: [] },
      peers: { added: [], removed: [], changed: [] },
      serverTls: false,
      clientTls: false,
      empty: true,
    });
  });

  it('names each changed setting with both values and whether RELOAD applies it', () => {
    const diff = diffConfig(
      parse('[pgbouncer]\nlisten_port = 6000\nadmin_users = a'),
      parse('[pgbouncer]\nlisten_port = 6001\nadmin_users = a, b\nauth_user = pooler\nserver_lifetime = 0.5'),
    );
    expect(diff.global).toEqual([
      { name: 'admin_users', before: 'a', after: 'a, b', reloadable: true },
      { name: 'auth_user', before: null, after: 'pooler', reloadable: true },
      { name: 'listen_port', before: '6000', after: '6001', reloadable: false },
      { name: 'server_lifetime', before: '3600', after: '0.5', reloadable: true },
    ]);
    expect(diff.empty).toBe(false);
  });

  it('tells the TLS of either side', () => {
    const plain = parse('[pgbouncer]');
    const server = diffConfig(plain, parse('[pgbouncer]\nserver_tls13_ciphers = TLS_AES_128_GCM_SHA256'));
    expect([server.serverTls, server.clientTls]).toEqual([true, false]);
    const client = diffConfig(plain, parse('[pgbouncer]\nclient_tls_ca_file = ca.pem'));
    expect([client.serverTls, client.clientTls]).toEqual([false, true]);
  });

  it('lists databases that came, went and changed', () => {
    const diff = diffConfig(
      databases('a = host=x', 'b = host=x', 'c = host=x'),
      databases('b = host=y', 'c = host=x', 'd = host=x'),
    );
    expect(diff.databases.added.map(({ name }) => name)).toEqual(['d']);
    expect(diff.databases.removed.map(({ name }) => name)).toEqual(['a']);
    expect(diff.databases.changed.map(({ after, fields, reconnect }) => [after.name, fields, reconnect])).toEqual([
      ['b', ['hosts'], true],
    ]);
  });

  it.each([
    ['dbname=y', true],
    ['host=y', true],
    ['port=1', true],
    ['user=y', true],
    ['password=y', true],
    ['auth_dbname=y', true],
    ['auth_query=y', true],
    ['connect_query=y', true],
    ['load_balance_hosts=disable', true],
    ['client_encoding=y', true],
    ['datestyle=y', true],
    ['timezone=y', true],
    ['application_name=y', true],
    ['pool_size=1', false],
    ['min_pool_size=1', false],
    ['reserve_pool=1', false],
    ['pool_mode=statement', false],
    ['max_db_connections=1', false],
    ['max_db_client_connections=1', false],
    ['server_lifetime=1', false],
    ['query_wait_timeout=1', false],
    ['auth_user=y', false],
  ])('of a database that gains %s needs new servers: %s', (pair, reconnect) => {
    const { changed } = diffConfig(databases('a ='), databases(`a = ${pair}`)).databases;
    expect(changed.map((change) => change.reconnect)).toEqual([reconnect]);
    expect(changed[0]?.fields).toHaveLength(1);
  });

  it('follows the fallback entry apart from the databases', () => {
    const none = databases('a =');
    const one = databases('a =', '* = host=x');
    const other = databases('a =', '* = host=x pool_size=3');
    expect(diffConfig(none, one).fallback.added).toHaveLength(1);
    expect(diffConfig(one, none).fallback.removed).toHaveLength(1);
    expect(diffConfig(one, other).fallback.changed.map(({ fields, reconnect }) => [fields, reconnect])).toEqual([
      [['poolSize'], false],
    ]);
    expect(diffConfig(one, other).databases).toEqual({ added: [], removed: [], changed: [] });
  });

  it('covers users and peers', () => {
    const before = parse('[users]\nu = pool_size=1\n[peers]\n1 = host=x\n2 = host=x\n[pgbouncer]');
    const after = parse('[users]\nu = pool_size=2\nv =\n[peers]\n1 = host=y\n2 = host=x pool_size=1\n[pgbouncer]');
    const diff = diffConfig(before, after);
    expect(diff.users.added.map(({ name }) => name)).toEqual(['v']);
    expect(diff.users.changed.map(({ fields, reconnect }) => [fields, reconnect])).toEqual([[['poolSize'], false]]);
    expect(diff.peers.changed.map(({ after: { id }, reconnect }) => [id, reconnect])).toEqual([
      [1, true],
      [2, false],
    ]);
  });
});

describe('the configuration after RELOAD', () => {
  it('has the new values, except those that only a restart changes', () => {
    const before = parse('[pgbouncer]\nlisten_port = 6000\nlisten_addr = a , b\npool_mode = session');
    const after = parse('[databases]\nx =\n[pgbouncer]\nlisten_port = 6001\npkt_buf = 8192\npool_mode = statement');
    const now = afterReload(before, after);
    expect(now.global.listenPort).toBe(6000);
    expect(now.global.pktBuf).toBe(4096);
    expect(now.global.poolMode).toBe('statement');
    expect(now.databases.has('x')).toBe(true);
    expect(configValueText('listen_addr', now)).toBe('a , b');
    expect(configValueText('pkt_buf', now)).toBe('4096');
    expect(diffConfig(before, now).global.every(({ reloadable }) => reloadable)).toBe(true);
    expect(diffConfig(now, after).global.map(({ name }) => name)).toEqual(['listen_addr', 'listen_port', 'pkt_buf']);
  });
});
