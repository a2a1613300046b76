import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatProblem } from './problem.ts';
import { classifySecret, formatUserlistLine, MAX_SECRET, parseUserlist } from './userlist.ts';

const SCRAM =
  'SCRAM-SHA-256$4096:c2FsdHNhbHRzYWx0c2FsdA==$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:' +
  '////////////////////////////////////////////';
const GOOD_SCRAM = `${SCRAM.slice(0, -2)}8=`;

const read = (text: string) => {
  const { users, problems } = parseUserlist(text, 'users.txt');
  return {
    users: [...users.values()].map(({ name, secret }) => [name, secret]),
    problems: problems.map(formatProblem),
  };
};

describe('auth_file', () => {
  it.each([
    ['"ann" "secret"', [['ann', 'secret']]],
    ['"ann" ""', [['ann', '']]],
    ['"ann""secret"', []],
    ['  "ann"\t"secret"  ', [['ann', 'secret']]],
    ['"ann" "secret"\r', [['ann', 'secret']]],
    ['"ann" "secret" "valid until" and more', [['ann', 'secret']]],
    ['"a""n" "s""""t"', [['a"n', 's""t']]],
    ['"ann" """"', [['ann', '"']]],
    ['"ann b;c" "# ; \'"', [['ann b;c', "# ; '"]]],
    ['; "ann" "secret"', []],
    ['\uFEFF"ann" "secret"', [['ann', 'secret']]],
    [
      '"ann" "one"\n\n;"bob" "two"\n"bob" "three"\n',
      [
        ['ann', 'one'],
        ['bob', 'three'],
      ],
    ],
  ])('%j holds %j', (text, users) => {
    expect(read(text).users).toEqual(users);
  });

  it.each([
    ['ann secret', 'broken auth file: a line is "user" "secret", and a comment begins with ";"'],
    ['# comment', 'broken auth file: a line is "user" "secret", and a comment begins with ";"'],
    ['"ann"', 'broken auth file: the secret is missing: write "user" "secret", with "" for no secret'],
    ['"ann', 'broken auth file: a quote does not close on its line: write "" for a quote inside a name or secret'],
    [
      '"ann" "hunter2',
      'broken auth file: a quote does not close on its line: write "" for a quote inside a name or secret',
    ],
    [
      '"ann" "hunter2""',
      'broken auth file: a quote does not close on its line: write "" for a quote inside a name or secret',
    ],
    ['"" "hunter2"', 'empty user name in auth file: write a name between the first two quotes'],
    ['"a\0" "hunter2"', 'zero byte in auth file: is this a text file?'],
    [
      `"${'a'.repeat(128)}" "hunter2"`,
      `username too long in auth file: "${'a'.repeat(80)}..." has more than 127 bytes`,
    ],
    [`"${'ä'.repeat(64)}" "hunter2"`, `username too long in auth file: "${'ä'.repeat(64)}" has more than 127 bytes`],
    [
      `"ann" "${'p'.repeat(MAX_SECRET + 1)}"`,
      'password too long in auth file: that of "ann" has more than 65530 bytes',
    ],
  ])('refuses line %#, says why, and shows no secret', (line, message) => {
    const { users, problems } = read(`"before" "x"\n${line}\n"after" "y"`);
    expect(problems).toEqual([`${message} (users.txt:2)`]);
    expect(users).toEqual([
      ['before', 'x'],
      ['after', 'y'],
    ]);
  });

  it('keeps secrets of the largest size', () => {
    const secret = 'p'.repeat(MAX_SECRET);
    expect(read(`"ann" "${secret}"`)).toEqual({ users: [['ann', secret]], problems: [] });
  });

  it('says so when a user has two secrets, and keeps the last', () => {
    expect(read('"ann" "one"\n"ann" "two"')).toEqual({
      users: [['ann', 'two']],
      problems: ['user "ann" has a secret already (users.txt:1): this one counts (users.txt:2)'],
    });
    expect(read('"ann" "one"\n"ann" "one"').problems).toEqual([]);
  });

  it('says so when something stands between name and secret, or a SCRAM secret is damaged', () => {
    expect(read('"ann", "one"').problems).toEqual([
      'text between name and secret of user "ann" is ignored: remove it (users.txt:1)',
    ]);
    expect(read(`"ann" "${GOOD_SCRAM.slice(0, -3)}"`).problems[0]).toMatch(
      /^the secret of user "ann" looks like SCRAM but is malformed, so it counts as a plain password/,
    );
  });

  it('is read back as it was written', () => {
    const text = fc.string({ unit: 'binary', minLength: 1, maxLength: 30 }).filter((one) => !/[\n\0]/.test(one));
    fc.assert(
      fc.property(text, text, (name, secret) => {
        expect(read(formatUserlistLine(name, secret)).users).toEqual([[name, secret]]);
      }),
    );
  });

  it('is read without an exception, whatever the text', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.stringMatching(/^["; a\n]{0,30}$/)), (text) => {
        const { users, problems } = parseUserlist(text, 'users.txt');
        for (const problem of problems) expect(problem.line).toBeGreaterThan(0);
        for (const name of users.keys()) expect(name).not.toBe('');
      }),
    );
  });
});

describe('a secret', () => {
  it.each([
    ['', 'plain'],
    ['hunter2', 'plain'],
    ['md545f2603610af569b6155c45067268c6b', 'md5'],
    ['md545F2603610AF569B6155C45067268C6B', 'plain'],
    ['md545f2603610af569b6155c45067268c6', 'plain'],
    ['md545f2603610af569b6155c45067268c6bb', 'plain'],
    [GOOD_SCRAM, 'scram'],
    [SCRAM, 'plain'],
    [GOOD_SCRAM.replace('4096', '0'), 'plain'],
    [GOOD_SCRAM.replace('4096', 'x'), 'plain'],
    [GOOD_SCRAM.replace('SHA-256', 'SHA-1'), 'plain'],
    [GOOD_SCRAM.replace('c2Fs', 'c2F'), 'plain'],
    [`${GOOD_SCRAM} `, 'plain'],
  ])('%j counts as %s', (secret, kind) => {
    expect(classifySecret(secret)).toBe(kind);
  });
});
