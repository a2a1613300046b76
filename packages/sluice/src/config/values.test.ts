import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Kind, SettingRow } from './setting-row.ts';
import { findRow, rowsIn } from './settings.ts';
import { formatG, formatValue, type NumberSyntax, parseValue } from './values.ts';

const row = (kind: Kind, more: Partial<SettingRow> = {}): SettingRow => ({
  kind,
  default: null,
  scopes: ['global'],
  reload: true,
  group: 'Network',
  doc: 'For a test.',
  ...more,
});

const value = (of: SettingRow, text: string, syntax: NumberSyntax = 'c') => {
  const parsed = parseValue(of, text, syntax);
  return parsed.ok ? parsed.value : `refused: ${parsed.expected}`;
};

describe('reading a value', () => {
  it.each([
    ['int', '17', 17],
    ['int', '+17', 17],
    ['int', '0x1F', 31],
    ['int', '0X1f', 31],
    ['int', '010', 8],
    ['int', '0', 0],
    ['int', '00', 0],
    ['int', '-0', 0],
    ['port', '65535', 65_535],
    ['mode', '0770', 0o770],
    ['seconds', '60', 60_000],
    ['millis', '60', 60],
    ['time', '60', 60_000],
    ['time', '0.5', 500],
    ['time', '.5', 500],
    ['time', '0x10', 16_000],
    ['time', '5.', 5000],
    ['time', '1e2', 100_000],
    ['time', '0.1', 100],
    ['time', '0.000001', 0.001],
    ['time', '0', 0],
    ['bool', '1', true],
    ['bool', '0', false],
    ['bool', '45', true],
    ['string', ' as it is ', ' as it is '],
    ['list', 'a, b c ,,d,', ['a', 'b c', 'd']],
    ['words', 'a, b c ,,d,', ['a', 'b', 'c', 'd']],
    ['list', '', []],
  ] as const)('of kind %s takes %j', (kind, text, expected) => {
    expect(value(row(kind), text)).toEqual(expected);
  });

  it.each([
    ['int', '', 'a whole number from 0 to 2147483647'],
    ['int', '1.5', 'a whole number from 0 to 2147483647'],
    ['int', '12abc', 'a whole number from 0 to 2147483647'],
    ['int', '09', 'a whole number from 0 to 2147483647'],
    ['int', '0x', 'a whole number from 0 to 2147483647'],
    ['int', '١', 'a whole number from 0 to 2147483647'],
    ['port', '65536', 'a whole number from 0 to 65535'],
    ['mode', '0888', 'an octal number from 0 to 0777, with a 0 before it, such as 0770'],
    ['percent', '101', 'a whole number from 0 to 100, without a % sign'],
    ['percent', '10%', 'a whole number from 0 to 100, without a % sign'],
    ['bytes', '4k', 'a whole number of bytes from 0 to 2147483647'],
    ['seconds', '1.5', 'a whole number of seconds from 0 to 2147483647'],
    ['millis', '1s', 'a whole number of milliseconds from 0 to 2147483647'],
    ['time', '', 'a number of seconds from 0 to 2147483647, such as 30 or 0.5'],
    ['time', '.', 'a number of seconds from 0 to 2147483647, such as 30 or 0.5'],
    ['time', '-1', 'a number of seconds from 0 to 2147483647, such as 30 or 0.5'],
    ['time', '1min', 'a number of seconds from 0 to 2147483647, such as 30 or 0.5'],
    ['bool', 'yes', '0 (off) or 1 (on)'],
    ['bool', '', '0 (off) or 1 (on)'],
  ] as const)('of kind %s refuses %j', (kind, text, expected) => {
    expect(value(row(kind, kind === 'mode' ? { max: 0o777 } : {}), text)).toBe(`refused: ${expected}`);
  });

  it('reads numbers of connection strings in decimal, as PgBouncer does', () => {
    expect(value(row('int'), '010', 'decimal')).toBe(10);
    expect(value(row('int'), '0x10', 'decimal')).toBe(0);
  });

  it.each([
    ['int', '20x', 20, /read as 20, .* write 20/],
    ['int', '2.5', 2, /read as 2,/],
    ['port', '5432;', 5432, /read as 5432,/],
    ['seconds', '5min', 5_000, /read as 5 seconds, as PgBouncer reads it/],
    ['time', '1h', 1_000, /read as 1 seconds/],
  ] as const)(
    'reads %s %j of a connection string as far as it is a number, as PgBouncer does, and says so',
    (kind, text, read, note) => {
      expect(parseValue(row(kind), text, 'decimal')).toEqual({
        ok: true,
        value: read,
        note: expect.stringMatching(note),
      });
    },
  );

  it('refuses what is out of bounds of a setting that PgBouncer does not have', () => {
    for (const text of ['99999999999', '-5', 'x5', 's']) {
      expect(value(row('int', { own: true }), text, 'decimal')).toMatch(/^refused/);
      expect(value(row('int', { own: true }), text)).toMatch(/^refused/);
    }
  });

  it('says what a file mode in decimal is in octal', () => {
    expect(parseValue(row('mode', { max: 0o7777 }), '777', 'c')).toEqual({
      ok: true,
      value: 777,
      note: 'it is read as a decimal number, which is 01411 in octal; write a 0 before an octal one',
    });
  });

  it('takes the words of an enum in either case and keeps the spelling of the table', () => {
    const mode = row('enum', { values: ['session', 'verify-ca'] });
    expect(value(mode, 'Session')).toBe('session');
    expect(value(mode, 'VERIFY-CA')).toBe('verify-ca');
    expect(value(mode, 'verify_ca')).toBe('refused: one of session, verify-ca');
    expect(value(mode, '')).toBe('refused: one of session, verify-ca');
  });

  it('keeps the bounds of the row, both included', () => {
    const bounded = row('int', { min: 2, max: 4 });
    expect([1, 2, 4, 5].map((number) => parseValue(bounded, String(number), 'c').ok)).toEqual([
      false,
      true,
      true,
      false,
    ]);
  });

  it('says so when a switch is neither 0 nor 1', () => {
    expect(parseValue(row('bool'), '2', 'c')).toEqual({
      ok: true,
      value: true,
      note: expect.stringContaining('read as 1'),
    });
    expect(parseValue(row('bool'), '1', 'c')).toEqual({ ok: true, value: true });
  });

  it('asks the finer check of the row first', () => {
    const picky = row('string', { check: (text) => (text === 'good' ? null : 'good') });
    expect(value(picky, 'good')).toBe('good');
    expect(value(picky, 'bad')).toBe('refused: good');
  });

  it('gives an answer for any text, whatever the row', () => {
    const rows = (['global', 'database', 'user', 'peer'] as const).flatMap((scope) => rowsIn(scope));
    fc.assert(
      fc.property(fc.constantFrom(...rows), fc.string({ unit: 'binary' }), ({ row: of }, text) => {
        const parsed = parseValue(of, text, 'c');
        if (!parsed.ok) expect(parsed.expected).not.toBe('');
      }),
    );
  });
});

describe('printing a value', () => {
  // As C's printf("%g") prints them.
  it.each([
    [0, '0'],
    [1, '1'],
    [3600, '3600'],
    [0.5, '0.5'],
    [0.1, '0.1'],
    [1.23456789, '1.23457'],
    [123456, '123456'],
    [999999.5, '1e+06'],
    [1234567, '1.23457e+06'],
    [2147483647, '2.14748e+09'],
    [1e10, '1e+10'],
    [0.0001, '0.0001'],
    [0.00012345678, '0.000123457'],
    [0.00001, '1e-05'],
    [0.000001, '1e-06'],
    [100, '100'],
  ])('writes %d as %s, as C does', (number, text) => {
    expect(formatG(number)).toBe(text);
  });

  it.each([
    ['server_lifetime', '3600.0', '3600'],
    ['query_wait_timeout', '0.25', '0.25'],
    ['stats_period', '60', '60'],
    ['tcp_user_timeout', '1500', '1500'],
    ['unix_socket_mode', '0777', '511'],
    ['log_stats', '1', '1'],
    ['log_stats', '0', '0'],
    ['pool_mode', 'TRANSACTION', 'transaction'],
    ['admin_users', 'a,b', 'a,b'],
  ])('shows %s given as %s as %s', (name, text, shown) => {
    const { row: of } = findRow('global', name)!;
    const parsed = parseValue(of, text, 'c');
    expect(parsed.ok && formatValue(of, parsed.value)).toBe(shown);
  });

  it('writes whole numbers of seconds so that they are read back', () => {
    const time = row('time');
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 999_999 }), (seconds) => {
        expect(value(time, formatValue(time, seconds * 1000))).toBe(seconds * 1000);
      }),
    );
  });
});
