import { describe, expect, it } from 'vitest';
import { closest, formatProblem, Problems, quote } from './problem.ts';

const place = { file: 'a.ini', line: 7 };

describe('problems', () => {
  it('are shown with their place at the end', () => {
    expect(formatProblem({ severity: 'error', ...place, setting: null, message: 'what and why' })).toBe(
      'what and why (a.ini:7)',
    );
  });

  it('keep their order, up to a limit', () => {
    const problems = new Problems();
    for (let index = 0; index < Problems.LIMIT + 5; index++) problems.warning(place, null, String(index));
    expect(problems.list.map(({ message }) => message)).toEqual(
      Array.from({ length: Problems.LIMIT }, (_, index) => String(index)),
    );
  });

  it('beyond the limit give up a warning for an error, and no error for anything', () => {
    const problems = new Problems();
    for (let index = 0; index < Problems.LIMIT; index++) problems.warning(place, null, 'warning');
    for (let index = 0; index < Problems.LIMIT + 5; index++) problems.error(place, null, `error ${index}`);
    expect(problems.list).toHaveLength(Problems.LIMIT);
    expect(problems.list.every(({ severity }) => severity === 'error')).toBe(true);
  });
});

describe('input inside a message', () => {
  it('stays on one line and is cut when it is long', () => {
    expect(quote('a\n\tb\u001b[0m')).toBe('"a??b?[0m"');
    expect(quote('x'.repeat(80))).toBe(`"${'x'.repeat(80)}"`);
    expect(quote('x'.repeat(81))).toBe(`"${'x'.repeat(80)}..."`);
  });
});

describe('the closest word', () => {
  const words = ['pool_mode', 'pool_size', 'port', 'user'];
  it.each([
    ['pool_mod', 'pool_mode'],
    ['poolsize', 'pool_size'],
    ['pool-size', 'pool_size'],
    ['prot', 'port'],
    ['pots', 'port'],
    ['users', 'user'],
    ['x', undefined],
    ['', undefined],
    ['entirely_different', undefined],
  ])('to %j is %s', (word, expected) => {
    expect(closest(word, words)).toBe(expected);
  });
});
