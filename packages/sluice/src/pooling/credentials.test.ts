import type { ScramKeys, Secret } from '@sluice/wire';
import { describe, expect, test } from 'vitest';
import { Credentials } from './credentials.ts';

const bytes = (fill: number) => new Uint8Array(32).fill(fill);
const scram = (fill: number, iterations = 4096): Secret => ({
  kind: 'scram',
  iterations,
  salt: bytes(0),
  storedKey: bytes(fill),
  serverKey: bytes(9),
});
const keys = (fill: number): ScramKeys => ({ clientKey: bytes(7), serverKey: bytes(9), storedKey: bytes(fill) });
const plain = (password: string): Secret => ({ kind: 'plain', password });

describe('what a server is logged in to with', () => {
  test('auth_file goes before what auth_query said, which holds for its database alone', () => {
    const known = new Credentials(new Map([['listed', plain('file')]]));
    known.learnAnswer('a', 'listed', scram(1));
    known.learnAnswer('a', 'bob', scram(1));
    known.learnAnswer('b', 'bob', scram(2));
    expect(known.secretFor('a', 'listed')).toEqual(plain('file'));
    expect(known.secretFor('a', 'bob')).toEqual(scram(1));
    expect(known.secretFor('b', 'bob')).toEqual(scram(2));
    expect(known.secretFor('c', 'bob')).toBe(null);
  });

  test('keys are used with the very secret that they were proven for', () => {
    const known = new Credentials(new Map());
    expect(known.learnScramKeys('bob', keys(1))).toBe(true);
    expect(known.learnScramKeys('bob', keys(1))).toBe(false);
    expect(known.keysFor('bob', scram(1))).toEqual(keys(1));
    expect(known.keysFor('bob', scram(2))).toBe(null);
    expect(known.keysFor('eve', scram(1))).toBe(null);
    expect(known.keysFor('bob', null)).toBe(null);
  });

  test('a password that was sent holds as long as the secret it was checked against, a directory’s until the next', () => {
    const known = new Credentials(new Map([['bob', scram(1)]]));
    expect(known.learnPassword('a', 'bob', { password: 'x', against: scram(1) })).toBe(true);
    expect(known.learnPassword('a', 'bob', { password: 'x', against: scram(1) })).toBe(false);
    expect(known.secretFor('a', 'bob')).toEqual(plain('x'));
    expect(known.secretFor('b', 'bob')).toEqual(scram(1));
    known.replace(new Map([['bob', scram(2)]]));
    expect(known.secretFor('a', 'bob')).toEqual(scram(2));
    known.learnPassword('a', 'bob', { password: 'ldap', against: null });
    known.replace(new Map());
    expect(known.secretFor('a', 'bob')).toEqual(plain('ldap'));
  });

  test('an answer is news when it differs from the last', () => {
    const known = new Credentials(new Map());
    expect(known.learnAnswer('a', 'bob', null)).toBe(true);
    expect(known.learnAnswer('a', 'bob', null)).toBe(false);
    expect(known.learnAnswer('a', 'bob', scram(1))).toBe(true);
  });

  test('what is learnt is bounded', () => {
    const known = new Credentials(new Map());
    for (let i = 0; i <= 10_000; i++) known.learnAnswer('a', `user${i}`, scram(1));
    expect(known.secretFor('a', 'user0')).toBe(null);
    expect(known.secretFor('a', 'user10000')).not.toBe(null);
  });
});

describe('what nobody is given to do', () => {
  test.each<[string, Secret[], ReturnType<Credentials['usual']>]>([
    ['no users', [], { kind: 'plain', iterations: 0 }],
    ['plain passwords', [plain('a'), plain('')], { kind: 'plain', iterations: 0 }],
    [
      'md5 hashes',
      [plain('a'), ...['b', 'c'].map((hash): Secret => ({ kind: 'md5', hash }))],
      { kind: 'md5', iterations: 0 },
    ],
    ['SCRAM secrets', [plain('a'), plain(''), scram(1, 7), scram(2, 7), scram(3, 9)], { kind: 'scram', iterations: 7 }],
    ['some SCRAM secrets', [plain('a'), plain('b'), scram(1, 7)], { kind: 'plain', iterations: 7 }],
  ])('is what most have, with %s', (_, secrets, usual) => {
    const known = new Credentials(new Map(secrets.map((secret, i) => [`user${i}`, secret])));
    expect(known.usual(false, 4096)).toEqual(usual);
  });

  test('is what auth_query found last, for those that it was asked for', () => {
    const known = new Credentials(new Map([['bob', plain('x')]]));
    expect(known.usual(true, 4096)).toEqual({ kind: 'scram', iterations: 4096 });
    known.learnAnswer('a', 'ann', scram(1, 12));
    expect(known.usual(true, 4096)).toEqual({ kind: 'scram', iterations: 12 });
    known.learnAnswer('a', 'eve', { kind: 'md5', hash: 'md5x' });
    expect(known.usual(true, 4096)).toEqual({ kind: 'md5', iterations: 4096 });
  });
});
