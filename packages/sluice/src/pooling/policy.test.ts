import { expect, test } from 'vitest';
import { parseConfig } from '../config/index.ts';
import { poolMode, poolPolicy } from './policy.ts';

function configOf(settings: string, database = '', user = '') {
  const text = `[databases]\ndb = host=127.0.0.1 ${database}\n[users]\nu = ${user}\n[pgbouncer]\n${settings}\n`;
  const { config, problems } = parseConfig(text, { path: 'test.ini', readFile: () => '' });
  expect(problems.filter(({ severity }) => severity === 'error')).toEqual([]);
  return { config, database: config.databases.get('db')!, user: config.users.get('u') };
}

const policyOf = (...lines: Parameters<typeof configOf>) => {
  const { config, database, user } = configOf(...lines);
  return poolPolicy(config, database, user);
};

test('what the core is told comes from the settings', () => {
  expect(
    policyOf(
      'server_lifetime = 100\nserver_lifetime_jitter = 30\nserver_idle_timeout = 7\nserver_round_robin = 1\nserver_check_delay = 3\nserver_login_retry = 2',
    ),
  ).toMatchObject({
    lifetimeMs: 100_000,
    lifetimeJitter: 0.3,
    idleTimeoutMs: 7_000,
    order: 'fifo',
    checkDelayMs: 3_000,
    retryMaxMs: 2_000,
  });
});

test('the narrower setting wins: the user’s over the database’s over the global one', () => {
  const global = 'default_pool_size = 5\npool_mode = session';
  expect([
    policyOf(global),
    policyOf(global, 'pool_size=4'),
    policyOf(global, 'pool_size=4', 'pool_size=3'),
  ]).toMatchObject([{ maxSize: 5 }, { maxSize: 4 }, { maxSize: 3 }]);
  const mode = (...lines: Parameters<typeof configOf>) => {
    const { config, database, user } = configOf(...lines);
    return poolMode(config, database, user);
  };
  expect([
    mode(global),
    mode(global, 'pool_mode=statement'),
    mode(global, 'pool_mode=statement', 'pool_mode=transaction'),
  ]).toEqual(['session', 'statement', 'transaction']);
});

test('the reserve is for who has waited, and none where nobody waits for it', () => {
  const reserve = 'reserve_pool_size = 2\nreserve_pool_timeout = ';
  expect([policyOf(`${reserve}4`), policyOf(`${reserve}0`)]).toMatchObject([
    { reserveSize: 2, reserveDelayMs: 4_000 },
    { reserveSize: 0 },
  ]);
});
