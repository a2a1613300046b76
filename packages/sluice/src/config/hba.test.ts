import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type HbaClient, matchHba, parseHba } from './hba.ts';
import { parseIdent } from './ident.ts';
import { formatProblem } from './problem.ts';

const { maps } = parseIdent('staff ann@example.org ann', 'ident.conf');

const read = (text: string, files: Record<string, string> = {}) =>
  parseHba(text, {
    path: 'etc/hba.conf',
    identMaps: maps,
    readFile: (path) => {
      if (!Object.hasOwn(files, path)) throw new Error('no such file');
      return files[path]!;
    },
  });

const problemsOf = (text: string, files?: Record<string, string>) => read(text, files).problems.map(formatProblem);

const client = (more: Partial<HbaClient> = {}): HbaClient => ({
  tls: false,
  unix: false,
  address: '10.0.0.1',
  database: 'shop',
  user: 'ann',
  replication: false,
  ...more,
});

const method = (text: string, more: Partial<HbaClient> = {}, files?: Record<string, string>) => {
  const { rules, problems } = read(text, files);
  expect(problems.filter(({ severity }) => severity === 'error')).toEqual([]);
  return matchHba(rules, client(more))?.method ?? null;
};

describe('an access rule', () => {
  it.each([
    ['local all all peer', { unix: true }, 'peer'],
    ['local all all peer', {}, null],
    ['host all all all md5', { unix: true }, null],
    ['host all all all md5', {}, 'md5'],
    ['host all all all md5', { tls: true }, 'md5'],
    ['hostssl all all all cert', { tls: true }, 'cert'],
    ['hostssl all all all cert', {}, null],
    ['hostnossl all all all reject', { tls: true }, null],
    ['hostnossl all all all reject', {}, 'reject'],
    ['host shop all all trust', {}, 'trust'],
    ['host shop all all trust', { database: 'shop2' }, null],
    ['host shop,other all all trust', { database: 'other' }, 'trust'],
    ['host shop , other ann , bob all trust', { database: 'other', user: 'bob' }, 'trust'],
    ['host SHOP all all trust', {}, null],
    ['host sameuser all all trust', { database: 'ann' }, 'trust'],
    ['host sameuser all all trust', {}, null],
    ['host "sameuser" all all trust', { database: 'sameuser' }, 'trust'],
    ['host "all" all all trust', {}, null],
    ['host "all" "all" all trust', { database: 'all', user: 'all' }, 'trust'],
    ['host "sh""op" "a , b" all trust', { database: 'sh"op', user: 'a , b' }, 'trust'],
    ['host all bob all trust', {}, null],
    ['host all sameuser all trust', { user: 'sameuser' }, null],
    ['host all sameuser all trust', { user: 'sameuser', database: 'sameuser' }, 'trust'],
    ['host all sameuser all reject', { database: 'ann' }, 'reject'],
    ['host all "sameuser" all trust', { user: 'sameuser' }, 'trust'],
    ['host all /^a all trust', {}, null],
    ['host all /^a,ann all trust', {}, 'trust'],
    ['host all /^a all trust', { user: '/^a' }, 'trust'],
    ['host all all 0.0.0.0/ trust', {}, 'trust'],
    ['host all all 10.0.0.0/+8 trust', {}, 'trust'],
    ['host all all 10.0.0.0/0008 trust', {}, 'trust'],
    ['host all a\u00a0b all trust', { user: 'a\u00a0b' }, 'trust'],
    ['host all replication all trust', { user: 'replication' }, 'trust'],
    ['host all all 10.0.0.0/8 trust', {}, 'trust'],
    ['host all all 10.0.0.0/8 trust', { address: '11.0.0.1' }, null],
    ['host all all 10.0.0.0/8 trust', { address: '::ffff:10.0.0.1' }, 'trust'],
    ['host all all 10.0.0.0 255.0.0.0 trust', {}, 'trust'],
    ['host all all 10.0.0.1/32 trust', {}, 'trust'],
    ['host all all ::1/128 trust', { address: '::1' }, 'trust'],
    ['host all all fe80::/10 trust', { address: 'fe80::1%eth0' }, 'trust'],
    ['host all all ::/0 trust', {}, null],
    ['host all all 0.0.0.0/0 trust', { address: '::1' }, null],
    ['host all all 0.0.0.0/0 trust', { address: 'nonsense' }, null],
    ['host all all all trust', { address: 'face::1' }, 'trust'],
    ['host all all all trust # comment', {}, 'trust'],
    ['host all all all trust#comment', {}, 'trust'],
    ['host all all all scram-sha-256', {}, 'scram-sha-256'],
    ['host all all all password', {}, 'password'],
    ['\thost\tall\tall\tall\ttrust\r', {}, 'trust'],
  ] as const)('%j for a client with %j gives %s', (line, more, expected) => {
    expect(method(line, more)).toBe(expected);
  });

  it('lets physical replication in by its keyword only', () => {
    expect(method('host all all all trust', { replication: true })).toBeNull();
    expect(method('host shop all all trust', { replication: true })).toBeNull();
    expect(method('host "replication" all all trust', { replication: true, database: 'replication' })).toBeNull();
    expect(method('host replication all all trust', { replication: true })).toBe('trust');
    expect(method('host shop,replication ann all trust', { replication: true })).toBe('trust');
    expect(method('host replication bob all trust', { replication: true })).toBeNull();
    expect(method('host replication all all trust', { database: 'replication' })).toBeNull();
  });

  it('counts in the order of the file: the first that holds decides', () => {
    const file = '# first\n\nhost all ann 10.0.0.0/8 reject\nhost all all all md5\n';
    expect(method(file)).toBe('reject');
    expect(method(file, { user: 'bob' })).toBe('md5');
    expect(matchHba([], client())).toBeNull();
  });

  it('of many names finds each of them', () => {
    const names = Array.from({ length: 50 }, (_, index) => `u${index}`);
    for (const user of names) expect(method(`host all ${names.join(',')} all trust`, { user })).toBe('trust');
  });

  it('may name a user map', () => {
    const { rules, problems } = read('hostssl all all all cert map=staff');
    expect(problems).toEqual([]);
    expect(rules[0]?.map?.name).toBe('staff');
  });

  it('reads LDAP options up to a comment', () => {
    const { rules, problems } = read(
      'host all all all ldap ldapserver=127.0.0.1 ldapprefix="uid=" ldapsuffix=",dc=x" # y ',
    );
    expect(problems).toEqual([]);
    expect(rules[0]?.ldap).toMatchObject({ servers: ['127.0.0.1'], prefix: 'uid=', suffix: ',dc=x' });
  });

  it('with LDAP options that make no sense lets in nobody whom it holds for, whatever follows', () => {
    const file = 'host all ann all ldap ldapserver=x\nhost all all all trust';
    expect(problemsOf(file)).toEqual([
      expect.stringMatching(/^hba line 1: .*; nobody whom it holds for can log in \(etc\/hba.conf:1\)$/),
    ]);
    expect(method(file)).toBe('reject');
    expect(method(file, { user: 'bob' })).toBe('trust');
  });

  it.each([
    ['hosts all all all md5', 'unknown type "hosts": it must be one of local, host, hostssl, hostnossl'],
    ['"host" all all all md5', 'unknown type "host": it must be one of local, host, hostssl, hostnossl'],
    ['hostgssenc all all all md5', 'unknown type "hostgssenc": it must be one of local, host, hostssl, hostnossl'],
    ['host', 'a database name is missing'],
    ['host all', 'a user name is missing'],
    ['host all,', 'a database name is missing'],
    ['host "all all all md5', 'a double quote does not close on its line'],
    ['host samerole all all md5', 'samerole is not supported: name the databases, or list them in an @file'],
    ['host samegroup all all md5', 'samegroup is not supported: name the databases, or list them in an @file'],
    ['host all +admins all md5', 'roles are not supported: "+admins"; name the users, or list them in an @file'],
    [
      'host all /^adm all reject',
      'regular expressions are not supported: "/^adm" is taken for the name itself; name the users, or put quotes around a name that begins so',
    ],
    ['host all all', 'did not find address: write one such as 10.0.0.0/8, or all'],
    ['host all all "10.0.0.0/8" md5', 'did not find address: write one such as 10.0.0.0/8, or all'],
    [
      'host all all samenet md5',
      'failed to parse address - "samenet": host names, samehost and samenet are not supported, write numbers',
    ],
    [
      'host all all .example.org md5',
      'failed to parse address - ".example.org": host names, samehost and samenet are not supported, write numbers',
    ],
    ['host all all 10.0.0.0/33 md5', 'invalid mask "33": it must be a number of bits up to 32'],
    ['host all all ::/129 md5', 'invalid mask "129": it must be a number of bits up to 128'],
    ['host all all 10.0.0.0/+ md5', 'invalid mask "+": it must be a number of bits up to 32'],
    ['host all all 10.0.0.0/-8 md5', 'invalid mask "-8": it must be a number of bits up to 32'],
    ['host all all 10.0.0.1 md5', 'did not find mask: write /bits after the address, or a mask such as 255.255.0.0'],
    [
      'host all all 10.0.0.1 ffff:: md5',
      'did not find mask: write /bits after the address, or a mask such as 255.255.0.0',
    ],
    [
      'host all all all',
      'unsupported method: ""; it must be one of trust, reject, md5, password, peer, cert, scram-sha-256, ldap',
    ],
    [
      'host all all all "md5"',
      'unsupported method: "md5"; it must be one of trust, reject, md5, password, peer, cert, scram-sha-256, ldap',
    ],
    [
      'host all all all pam',
      'unsupported method: "pam"; it must be one of trust, reject, md5, password, peer, cert, scram-sha-256, ldap',
    ],
    ['host all all all cert clientcert=1', 'Ident map "clientcert=1" is malformed. It is not in map=value format.'],
    [
      'host all all all cert map=nobody',
      'Ident map "nobody" is not found in ident config file: add it to auth_ident_file',
    ],
    [
      'host all all all cert map=staff more',
      'unsupported parameters: "more"; after the method only map= can stand (or LDAP options)',
    ],
  ])('%j cannot be read, and it is said why', (line, reason) => {
    const { rules, problems } = read(`local all all peer\n${line}`);
    const [message] = problems.map(formatProblem);
    expect(message).toMatch(/\(etc\/hba\.conf:2\)$/);
    expect(message!.startsWith(`hba line 2: ${reason}`)).toBe(true);
    expect(problems).toHaveLength(1);
    expect(rules).toHaveLength(1);
  });

  it.each([
    'hostgssenc all all all md5',
    'host all +admins all scram-sha-256 # all',
    'host all all samehost trust',
    'host all all all pam pamservice=postgres',
    'host all all all cert map=nobody',
    'local a , b all ident map=x',
  ])('%j, which would let somebody in, is left out if it cannot be read, as in PgBouncer', (line) => {
    const { rules, problems } = read(`${line}\nlocal all all peer`);
    expect(problems.map(({ severity }) => severity)).toEqual(['warning']);
    expect(problems[0]?.message).toMatch(/; could not parse hba config line 1, it is left out$/);
    expect(rules.map(({ place }) => place.line)).toEqual([2]);
  });

  it.each([
    'host all all samehost reject',
    'host all all all rejct',
    'host all alice, radius all rejct',
    'host all alice, radius all/x rejct',
    'host all /^adm,bob all reject',
    'host trust trust 10.0.0.0/99 rejct # trust',
    'hostgssenc all all all reject md5',
    'host all all all',
    'include_dir rules',
    'host all all 10.0.0.0/8\u00a0trust',
    '"host all all all md5 reject',
  ])('%j, which may keep somebody out, is an error if it cannot be read', (line) => {
    expect(read(`local all all peer\n${line}`).problems.map(({ severity }) => severity)).toEqual(['error']);
  });

  it('whose address has bits outside its mask holds for nobody, and says so', () => {
    const { rules, problems } = read('host all all 10.0.0.1/8 trust');
    expect(problems.map(formatProblem)).toEqual([
      'address does not match mask: 10.0.0.1 / 255.0.0.0; the rule holds for nobody, write 10.0.0.0 as the address (etc/hba.conf:1)',
    ]);
    expect(problems[0]?.severity).toBe('warning');
    expect(matchHba(rules, client())).toBeNull();
  });
});

describe('a file of names', () => {
  it('is looked for beside the rules, and holds names in lines and lists', () => {
    const files = {
      'etc/users': 'ann, bob\n\n# comment\ncarl dora # more\n"e, f",',
      '/abs': 'shop',
      'etc/more/dbs': '@../x/dbs',
      'etc/more/../x/dbs': 'deep',
    };
    for (const user of ['ann', 'bob', 'carl', 'dora', 'e, f']) {
      expect(method('host all @users all trust', { user }, files)).toBe('trust');
    }
    expect(method('host all @users all trust', { user: '#' }, files)).toBeNull();
    expect(method('host @/abs all all trust', {}, files)).toBe('trust');
    expect(method('host @more/dbs all all trust', { database: 'deep' }, files)).toBe('trust');
    expect(method('host @more/dbs,shop @users,zoe all trust', { user: 'zoe' }, files)).toBe('trust');
  });

  it('may hold keywords', () => {
    expect(method('host @dbs all all trust', { database: 'ann' }, { 'etc/dbs': 'sameuser' })).toBe('trust');
    expect(method('host @dbs all all trust', { replication: true }, { 'etc/dbs': 'replication' })).toBe('trust');
  });

  it('that cannot be read, or holds what is not supported, makes the rule one that cannot be read', () => {
    expect(problemsOf('host all @gone all reject')).toEqual([
      'hba line 1: could not open file "etc/gone": no such file (etc/hba.conf:1)',
    ]);
    expect(problemsOf('host all @users all reject', { 'etc/users': 'ann\n+ops' })).toEqual([
      'hba line 1: roles are not supported: "+ops"; name the users, or list them in an @file, in file "etc/users" (etc/hba.conf:1)',
    ]);
  });

  it('may name what is not supported behind a name, where PgBouncer does not look', () => {
    const files = { 'etc/users': 'ann +ops\n/^b bob' };
    expect(method('host all @users all trust', {}, files)).toBe('trust');
    expect(method('host all @users all trust', { user: 'bob' }, files)).toBe('trust');
    expect(problemsOf('host all @users all trust', files)).toEqual([
      expect.stringMatching(/^hba line 1: roles are not supported: "\+ops".* it is left out/),
      expect.stringMatching(/^hba line 1: regular expressions are not supported: "\/\^b" is taken for the name itself/),
    ]);
    expect(read('host all @users all reject', files).problems.map(({ severity }) => severity)).toEqual(['error']);
    expect(read('host all @users all md5', { 'etc/users': 'ann, +ops' }).rules).toEqual([]);
  });

  it('that names itself comes to an end', () => {
    expect(problemsOf('host all @users all trust', { 'etc/users': '@users' })[0]).toMatch(
      /^hba line 1: files of names are nested too deep at "etc\/users": 10 levels are read/,
    );
    expect(problemsOf('host all @a all trust', { 'etc/a': '@b '.repeat(200), 'etc/b': '' })[0]).toMatch(
      /^hba line 1: too many files of names at "etc\/b": 100 are read for a rule/,
    );
  });
});

describe('any rules', () => {
  it('are read and matched without an exception', () => {
    const word = fc.constantFrom(
      'host',
      'local',
      'all',
      ',',
      '"',
      '"a"',
      '10.0.0.0/8',
      '::/0',
      'md5',
      'ldap',
      'map=staff',
      '#',
      '@x',
      '+y',
      '\n',
    );
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.array(word, { maxLength: 30 }).map((words) => words.join(' ')),
    );
    fc.assert(
      fc.property(text, fc.string(), (rules, address) => {
        const parsed = read(rules, { 'etc/x': rules });
        expect(matchHba(parsed.rules, client({ address }))?.method).not.toBe('');
      }),
    );
  });
});
