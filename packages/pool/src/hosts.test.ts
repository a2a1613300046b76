import { expect, test } from 'vitest';
import { Hosts } from './hosts.ts';

test.each([
  ['postgres://u:p@[::1]:5,b.example:6/db', 0, { host: '::1', port: 5 }],
  ['postgres://u:p@[::1]:5,b.example/db?target_session_attrs=primary', 1, { host: 'b.example' }],
])('one of the hosts in %s', (connectionString, index, expected) => {
  expect(new Hosts({ connectionString }).overlay(index)).toEqual(expected);
});

test('a folder of sockets beside a connection string', () => {
  const hosts = new Hosts({ connectionString: 'postgres://u@h/db', hosts: ['/run/postgresql', 'h:5'] });
  expect(hosts.overlay(0)).toEqual({ host: '/run/postgresql' });
  expect(hosts.connectionString).toBe('postgres://u@h/db');
});
