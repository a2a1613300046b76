import { expect, test } from 'vitest';
import { Hosts } from './hosts.ts';

test.each([
  ['postgres://u:p@[::1]:5,b.example:6/db', 0, 'postgres://u:p@[::1]:5/db'],
  ['postgres://u:p@[::1]:5,b.example:6/db?target_session_attrs=primary', 1, 'postgres://u:p@b.example:6/db'],
])('one of the hosts in %s', (connectionString, index, expected) => {
  expect(new Hosts({ connectionString }).overlay(index).connectionString).toBe(expected);
});

test('a folder of sockets beside a connection string', () => {
  const hosts = new Hosts({ connectionString: 'postgres://u@h/db', hosts: ['/run/postgresql', 'h:5'] });
  const { searchParams } = new URL(hosts.overlay(0).connectionString as string);
  expect(searchParams.get('host')).toBe('/run/postgresql');
});
