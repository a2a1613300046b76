import { createRequire } from 'node:module';
import { describe, expect, test } from 'vitest';
import { withSettings } from './connection-string.ts';

const require = createRequire(createRequire(import.meta.url).resolve('pg'));
const parse = require('pg-connection-string').parse as (text: string) => Record<string, unknown>;

describe('a changed setting is what pg reads of the string', () => {
  test.each([
    'postgres://u:p@h:5433/db?application_name=x',
    'postgres://h/db',
    'postgres:///db?host=/run/postgresql',
    'postgres://u:p@/db?host=/run/postgresql&port=5433',
    'postgres://u:p@%2Frun%2Fpostgresql/db',
    'postgres://u:p@[::1]:5433/db',
    '/run/postgresql db',
  ])('%s', (text) => {
    const before = parse(text);
    for (const [name, value] of [
      ['user', 'somebody else'],
      ['password', 'p@ss:w/o?r#d &+%'],
      ['host', 'other.example'],
      ['host', '/tmp/a socket'],
      ['port', '6000'],
      ['database', 'eu+1@x:y/z&a=b %'],
      ['application_name', 'hook & 1'],
    ] as const) {
      const after = parse(withSettings(text, { [name]: value }));
      expect(after[name]).toBe(value);
      for (const kept of ['user', 'password', 'host', 'port', 'database'])
        if (kept !== name && before[kept]) expect([kept, after[kept]]).toEqual([kept, before[kept]]);
    }
  });

  test('several at once, and what no string can hold', () => {
    const text = withSettings('postgres://u:p@h/db?sslmode=require', {
      ssl: { ca: 'x' },
      user: 'v',
      password: 'q',
      host: 'i',
    });
    expect(parse(text)).toMatchObject({ user: 'v', password: 'q', host: 'i', database: 'db' });
    expect(parse(text).ssl).toBeUndefined();
  });

  test('a name that no string can hold is refused', () => {
    expect(() => withSettings('postgres://h/db', { database: 'a?b' })).toThrow(/one by one/);
    expect(() => withSettings('nonsense', { user: 'a' })).toThrow(TypeError);
  });
});
