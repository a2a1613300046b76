import { describe, expect, test } from 'vitest';
import { candidates, hostsFileAddresses, parseResolvConf } from './resolv-conf.ts';

describe('resolv.conf', () => {
  test('has servers, search domains and options', () => {
    const text = `# ours
nameserver 10.0.0.53
nameserver\t10.0.0.54 ; the other one
nameserver 127.0.0.1:5353
nameserver [::1]:5353
nameserver nobody
nameserver 10.0.0.1:99999
domain old.example
search svc.example. example
options ndots:2 timeout:3 attempts:9 rotate`;
    expect(parseResolvConf(text)).toEqual({
      servers: ['10.0.0.53', '10.0.0.54', '127.0.0.1:5353', '[::1]:5353'],
      search: ['svc.example', 'example'],
      ndots: 2,
      timeoutMs: 3_000,
      attempts: 5,
    });
  });

  test('an empty one asks the machine itself', () => {
    expect(parseResolvConf('')).toEqual({
      servers: ['127.0.0.1'],
      search: [],
      ndots: 1,
      timeoutMs: 5_000,
      attempts: 2,
    });
  });

  test.each([
    ['db', 1, ['db.a', 'db.b', 'db']],
    ['db.x', 1, ['db.x', 'db.x.a', 'db.x.b']],
    ['db.x', 2, ['db.x.a', 'db.x.b', 'db.x']],
    ['db.x.', 2, ['db.x']],
  ])('%s with ndots %i is tried as %j', (name, ndots, expected) => {
    expect(candidates(name, { ...parseResolvConf('search a b'), ndots })).toEqual(expected);
  });
});

test('a hosts file has addresses for names and their aliases, in any case', () => {
  const text = '127.0.0.1 localhost\n10.0.0.1\tDB db.example # 10.0.0.2 db\n::1 db\nnobody db\n\n';
  expect(hostsFileAddresses(text, 'db')).toEqual(['10.0.0.1', '::1']);
  expect(hostsFileAddresses(text, 'Db.Example')).toEqual(['10.0.0.1']);
  expect(hostsFileAddresses(text, 'other')).toEqual([]);
});
