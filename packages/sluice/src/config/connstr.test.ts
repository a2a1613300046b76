import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatConnstr, parseConnstr } from './connstr.ts';

const pairs = (text: string) => {
  const parsed = parseConnstr(text);
  return parsed.ok ? parsed.pairs.map(({ key, value }) => [key, value]) : parsed.reason;
};

describe('a connection string', () => {
  it.each([
    ['', []],
    ['   ', []],
    ['a=1', [['a', '1']]],
    [
      ' a = 1  b= 2 ',
      [
        ['a', '1'],
        ['b', '2'],
      ],
    ],
    [
      "a='x y' b=z",
      [
        ['a', 'x y'],
        ['b', 'z'],
      ],
    ],
    ["a='it''s'", [['a', "it's"]]],
    ["a=''''", [['a', "'"]]],
    ["a=x'y", [['a', "x'y"]]],
    ['a=b=c', [['a', 'b=c']]],
    ['a=\\', [['a', '\\']]],
    ["a='\\'", [['a', '\\']]],
    ['a=x\ty', [['a', 'x\ty']]],
    [
      'a=1 a=2',
      [
        ['a', '1'],
        ['a', '2'],
      ],
    ],
    [
      'host=/tmp,::1 port=5',
      [
        ['host', '/tmp,::1'],
        ['port', '5'],
      ],
    ],
  ])('%j is %j', (text, expected) => {
    expect(pairs(text)).toEqual(expected);
  });

  it.each([
    ['a', 'a word at character 1 is followed by no "=": put values that hold spaces in single quotes'],
    ['a=1 word', 'a word at character 5 is followed by no "=": put values that hold spaces in single quotes'],
    ['=1', 'a key is missing at character 1: write key=value, separated by spaces'],
    ['a=', '"a" has an empty value: give it one, or leave the key out'],
    ["a=''", '"a" has an empty value: give it one, or leave the key out'],
    ["a='x", '"a" has quotes that do not close'],
    ["a='x'b=1", '"a" has quotes that do not close'],
    ["a='x''", '"a" has quotes that do not close'],
  ])('%j is refused', (text, reason) => {
    const said = pairs(text);
    if (reason.endsWith('do not close')) {
      expect(said).toBe(`the quotes of "a" do not close: write '' for a quote inside, and a space after`);
    } else expect(said).toBe(reason);
  });

  it.each([
    "user=u password='hunter2",
    'password=hunter2 oops',
    "password='hunter2'x",
    'user=u password = hunter2 hunter2',
  ])('that is broken shows no password: %s', (text) => {
    expect(typeof pairs(text)).toBe('string');
    expect(pairs(text)).not.toContain('hunter2');
  });

  it('is read back as it was written, whatever the values', () => {
    const key = fc.stringMatching(/^[a-z_]{1,9}$/);
    const text = fc.string({ minLength: 1, unit: 'binary' }).filter((one) => !one.includes('\0'));
    fc.assert(
      fc.property(fc.array(fc.record({ key, value: text }), { maxLength: 5 }), (list) => {
        expect(parseConnstr(formatConnstr(list))).toEqual({ ok: true, pairs: list });
      }),
    );
  });

  it('is read without an exception, whatever the text', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.stringMatching(/^[a=' \t]{0,20}$/)), (text) => {
        const parsed = parseConnstr(text);
        if (parsed.ok) for (const { key, value } of parsed.pairs) expect([key, value]).not.toContain('');
      }),
    );
  });

  it('of a megabyte of quotes is read in one pass', () => {
    const value = `${"''".repeat(500_000)}`;
    expect(parseConnstr(`a='${value}'`).ok).toBe(true);
    expect(parseConnstr(`a='${value}`).ok).toBe(false);
  });
});
