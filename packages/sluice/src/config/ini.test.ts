import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseIni, quoteName } from './ini.ts';
import { formatProblem, Problems } from './problem.ts';

const read = (text: string, files: Record<string, string> = {}) => {
  const problems = new Problems();
  const items = parseIni(
    text,
    'main.ini',
    (path) => {
      const found = Object.hasOwn(files, path) ? files[path] : undefined;
      if (found === undefined) throw new Error('no such file');
      return found;
    },
    problems,
  );
  return {
    lines: items.map((item) =>
      item.kind === 'section'
        ? `[${item.name}] ${item.place.file}:${item.place.line}`
        : `${item.section}/${item.name}=${item.value} ${item.place.file}:${item.place.line}`,
    ),
    problems: problems.list.map(formatProblem),
  };
};

describe('an ini file', () => {
  it.each([
    ['a = 1', 'null/a=1 main.ini:1'],
    ['a=1', 'null/a=1 main.ini:1'],
    ['  a\t=\t1  ', 'null/a=1 main.ini:1'],
    ['a = 1\r', 'null/a=1 main.ini:1'],
    ['a =', 'null/a= main.ini:1'],
    ['a = b = c', 'null/a=b = c main.ini:1'],
    ['a = 1 ; no comment', 'null/a=1 ; no comment main.ini:1'],
    ['a = 1 # no comment', 'null/a=1 # no comment main.ini:1'],
    ["a = 'quotes stay'", "null/a='quotes stay' main.ini:1"],
    ['a.b-c_d* = 1', 'null/a.b-c_d*=1 main.ini:1'],
    ['* = 1', 'null/*=1 main.ini:1'],
    ["'my db' = 1", 'null/my db=1 main.ini:1'],
    ['"my ""db""" = 1', 'null/my "db"=1 main.ini:1'],
    ['""""=1', 'null/"=1 main.ini:1'],
    ['\uFEFFa = 1', 'null/a=1 main.ini:1'],
  ])('reads %j', (text, line) => {
    expect(read(text)).toEqual({ lines: [line], problems: [] });
  });

  it.each(['', '\n\n', '; a = 1', '# a = 1', '   ; a', '\t# a', '\r\n'])('finds nothing in %j', (text) => {
    expect(read(text)).toEqual({ lines: [], problems: [] });
  });

  it('knows the section and line of each item', () => {
    expect(read('; head\n[one]\na = 1\n\n[two] b = 2\n  [three];c = 3\nd = 4')).toEqual({
      lines: [
        '[one] main.ini:2',
        'one/a=1 main.ini:3',
        '[two] main.ini:5',
        'two/b=2 main.ini:5',
        '[three] main.ini:6',
        'three/d=4 main.ini:7',
      ],
      problems: [],
    });
  });

  it.each([
    ['just words', 'expected "name = value"; "just" is followed by no "="'],
    ['= 1', 'expected "name = value"; there is no name before the "="'],
    ['my db = host=x password=secret', 'expected "name = value"; the name "my db" needs quotes: \'...\''],
    ["'open = 1", 'expected "name = value"; the name "\'open" needs quotes: \'...\''],
    ["'' = 1", 'expected "name = value"; the name "\'\'" needs quotes: \'...\''],
    ['[open', 'the section "[open" has no closing "]"'],
    ['a\0b = 1', 'the line holds a zero byte; is this a text file?'],
    ['%includes x', 'expected "name = value"; "%includes" is followed by no "="'],
  ])('refuses %j and says why', (text, reason) => {
    expect(read(text)).toEqual({ lines: [], problems: [`syntax error in configuration: ${reason} (main.ini:1)`] });
  });

  it('never shows what stands after the name, since it may hold a password', () => {
    for (const text of [
      'my db = password=hunter2',
      'password hunter2',
      '[x] my db = password=hunter2',
      "'db = password=hunter2",
    ]) {
      expect(read(text).problems.join()).not.toContain('hunter2');
    }
  });

  it('goes on after a line it cannot read', () => {
    const { lines, problems } = read('oops\na = 1\noops\nb = 2');
    expect(lines).toEqual(['null/a=1 main.ini:2', 'null/b=2 main.ini:4']);
    expect(problems).toHaveLength(2);
  });
});

describe('%include', () => {
  it('reads another file in its place, and the section goes on through it and after it', () => {
    const files = { 'part.ini': 'b = 2\n[two]\nc = 3', 'dir/x y.ini': 'e = 5' };
    expect(read('[one]\n%include part.ini\nd = 4\n%include\tdir/x y.ini ', files)).toEqual({
      lines: [
        '[one] main.ini:1',
        'one/b=2 part.ini:1',
        '[two] part.ini:2',
        'two/c=3 part.ini:3',
        'two/d=4 main.ini:3',
        'two/e=5 dir/x y.ini:1',
      ],
      problems: [],
    });
  });

  it('says which file could not be read, why, and where it was asked for', () => {
    expect(read('a = 1\n%include gone.ini\nb = 2')).toEqual({
      lines: ['null/a=1 main.ini:1', 'null/b=2 main.ini:3'],
      problems: ['could not load file "gone.ini": no such file (main.ini:2)'],
    });
  });

  it('refuses a file that includes itself, at any depth', () => {
    expect(read('%include a', { a: '%include b', b: '%include a' }).problems).toEqual([
      '"a" includes itself: take this %include away (b:1)',
    ]);
    expect(read('%include main.ini').problems).toEqual([
      '"main.ini" includes itself: take this %include away (main.ini:1)',
    ]);
  });

  it('goes ten levels deep and no deeper', () => {
    const chain = (last: number) =>
      Object.fromEntries(
        Array.from({ length: last }, (_, index) => [
          `f${index + 1}`,
          index + 1 === last ? 'deepest = 1' : `%include f${index + 2}`,
        ]),
      );
    expect(read('%include f1', chain(10)).lines).toEqual(['null/deepest=1 f10:1']);
    expect(read('%include f1', chain(11)).problems).toEqual([
      'include nesting level too deep: 10 levels are read, flatten the files (f10:1)',
    ]);
  });

  it('stops after a thousand files, so that files including each other many times come to an end', () => {
    const many = '%include a0\n'.repeat(100);
    const files = Object.fromEntries(
      Array.from({ length: 9 }, (_, index) => [`a${index}`, many.replaceAll('a0', `a${index + 1}`)]),
    );
    const { problems } = read(many, { ...files, a9: '' });
    expect(problems).toContain('too many includes: 1000 are read, join some of the files (a8:100)');
    expect(problems.length).toBe(Problems.LIMIT);
  });

  it('needs a name', () => {
    expect(read('%include ').problems).toEqual([
      'syntax error in configuration: expected "name = value"; "%include" is followed by no "=" (main.ini:1)',
    ]);
  });
});

describe('any text', () => {
  it('is read without an exception', () => {
    const line = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.stringMatching(/^[[\]'"=;#%a b\t]{0,12}$/),
      fc.constantFrom('[pgbouncer]', '%include main.ini', '%include x', 'a = 1'),
    );
    fc.assert(
      fc.property(fc.array(line, { maxLength: 8 }), (lines) => {
        const { problems } = read(lines.join('\n'), { x: '%include main.ini' });
        for (const problem of problems) expect(problem).toMatch(/ \((main\.ini|x):\d+\)$/);
      }),
    );
  });

  it('is kept as a name by quoteName, unless it has a line break, a zero byte, or nothing', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1 }), (name) => {
        expect(read(`${quoteName(name)} = x`).lines).toEqual([`null/${name}=x main.ini:1`]);
      }),
    );
  });
});
