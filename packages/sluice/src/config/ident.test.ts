import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { matchIdent, parseIdent } from './ident.ts';
import { formatProblem } from './problem.ts';

const FILE = `# map  system-user  database-user
staff   ann@example.org   ann
staff   "bob smith"       bob   # who left
staff   root              all
ops     root              "all"
`;

describe('an ident map file', () => {
  it('holds maps, each with its lines in order', () => {
    const { maps, problems } = parseIdent(FILE, 'ident.conf');
    expect(problems).toEqual([]);
    expect([...maps.keys()]).toEqual(['staff', 'ops']);
    expect(maps.get('staff')?.mappings.map(({ systemUser, user, place }) => [systemUser, user, place.line])).toEqual([
      ['ann@example.org', 'ann', 2],
      ['bob smith', 'bob', 3],
      ['root', null, 4],
    ]);
  });

  it.each([
    ['staff', 'the system user is missing after the map name'],
    ['staff ann', 'the database user is missing after the system user'],
    ['staff ann ann more', 'unsupported parameters: "more" after the third name'],
    ['staff ann all more words', 'unsupported parameters: "words" after the third name'],
    ['staff ann, ann', 'the database user is missing after the system user'],
    ['"staff" ann ann', 'it begins with the name of a map, without quotes'],
    ['staff ann all "oops', 'unsupported parameters: """ after the third name'],
    ['staff "ann ann', 'the system user is missing after the map name'],
  ])('leaves out %j and says why', (line, reason) => {
    const { maps, problems } = parseIdent(`${line}\nlast root all`, 'ident.conf');
    expect(problems.map(formatProblem)).toEqual([
      `could not parse ident config line 1: ${reason}; it is left out (ident.conf:1)`,
    ]);
    expect(problems[0]?.severity).toBe('warning');
    expect([...maps.keys()]).toEqual(['last']);
  });

  it.each([
    ['staff /^(.*)@x$ ann', '/^(.*)@x$', '/^(.*)@x$', 'ann'],
    ['staff ann +ops', '+ops', 'ann', '+ops'],
    ['staff ann /^b', '/^b', 'ann', '/^b'],
  ])(
    'takes a group or a regular expression for a name, with a warning, as PgBouncer does: %j',
    (line, told, ...pair) => {
      const { maps, problems } = parseIdent(line, 'ident.conf');
      expect(problems.map(({ severity, message }) => [severity, message])).toEqual([
        ['warning', expect.stringContaining(`"${told}" is taken for the name itself`)],
      ]);
      expect(maps.get('staff')?.mappings.map(({ systemUser, user }) => [systemUser, user])).toEqual([pair]);
    },
  );

  it('has a line for all with a word behind it, as PgBouncer has', () => {
    const { maps, problems } = parseIdent('staff ann all here', 'ident.conf');
    expect(problems).toEqual([]);
    expect(maps.get('staff')?.mappings).toMatchObject([{ systemUser: 'ann', user: null }]);
  });

  it('is read without an exception, whatever the text', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.stringMatching(/^[a"#,+ \n]{0,30}$/)), (text) => {
        for (const map of parseIdent(text, 'ident.conf').maps.values()) expect(map.mappings.length).toBeGreaterThan(0);
      }),
    );
  });
});

describe('a user name map', () => {
  const { maps } = parseIdent(FILE, 'ident.conf');
  const lets = (map: string, systemUsers: string[], user: string) =>
    matchIdent(maps.get(map)!, user, (name) => systemUsers.includes(name));

  it.each([
    ['staff', ['ann@example.org'], 'ann', true],
    ['staff', ['ann@example.org'], 'bob', false],
    ['staff', ['ann'], 'ann', false],
    ['staff', ['bob smith'], 'bob', true],
    ['staff', ['root'], 'anyone', true],
    ['staff', ['web.example.org', 'root'], 'anyone', true],
    ['staff', [], 'ann', false],
    ['ops', ['root'], 'all', true],
    ['ops', ['root'], 'anyone', false],
  ])('%s lets a client that is %j be %s: %s', (map, systemUsers, user, held) => {
    expect(lets(map, systemUsers, user)).toBe(held);
  });
});
