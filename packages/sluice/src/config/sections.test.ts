import { describe, expect, it } from 'vitest';
import { parseConfig } from './load.ts';

const noFiles = (path: string): string => {
  throw new Error(`no such file: ${path}`);
};

const parse = (text: string, files: Record<string, string> = {}) =>
  parseConfig(text, { path: 'pgbouncer.ini', readFile: (path) => files[path] ?? noFiles(path) });

const errors = (text: string, files?: Record<string, string>) =>
  parse(text, files)
    .problems.filter((problem) => problem.severity === 'error')
    .map((problem) => problem.message);

const warnings = (text: string, files?: Record<string, string>) =>
  parse(text, files)
    .problems.filter((problem) => problem.severity === 'warning')
    .map((problem) => problem.message);

const MAIN = '[pgbouncer]\nauth_file = users.txt\n';

describe('an entry of [databases], [users] or [peers]', () => {
  const entry = (section: string, line: string) => errors(`[${section}]\n${line}\n${MAIN}`);

  it.each([
    [
      'databases',
      'pgbouncer = host=x',
      'database name "pgbouncer" is reserved for the admin console: choose another name, in [databases] "pgbouncer"',
    ],
    ['databases', 'a = prot=1', 'unrecognized connection parameter: "prot"; did you mean port?, in [databases] "a"'],
    [
      'databases',
      'a = transaction_timeout=1',
      'unrecognized connection parameter: "transaction_timeout"; it stands in [pgbouncer], [users], in [databases] "a"',
    ],
    ['databases', 'a = port=0', 'invalid port: "0"; it must be a whole number from 1 to 65535, in [databases] "a"'],
    [
      'databases',
      'a = port=x5432',
      'invalid port: "x5432"; it must be a whole number from 1 to 65535, in [databases] "a"',
    ],
    [
      'databases',
      'a = pool_mode=x',
      'invalid pool mode: "x"; it must be one of session, transaction, statement, in [databases] "a"',
    ],
    [
      'databases',
      'a = load_balance_hosts=x',
      'invalid load_balance_hosts: "x"; it must be one of disable, round-robin, in [databases] "a"',
    ],
    ['databases', 'a = port=-2', 'invalid port: "-2"; it must be a whole number from 1 to 65535, in [databases] "a"'],
    [
      'databases',
      "a = password='hunter2",
      'syntax error in connection string: the quotes of "password" do not close: write \'\' for a quote inside, and a space after, in [databases] "a"',
    ],
    [
      'databases',
      `'${'ä'.repeat(32)}' =`,
      `the name "${'ä'.repeat(32)}" is too long: 64 bytes, at most 63 are kept, in [databases] "${'ä'.repeat(32)}"`,
    ],
    [
      'users',
      'u = user=x',
      'unrecognized user parameter: "user"; it stands in [pgbouncer], [databases], in [users] "u"',
    ],
    [
      'users',
      'u = pool_mode',
      'syntax error in user settings: a word at character 1 is followed by no "=": put values that hold spaces in single quotes, in [users] "u"',
    ],
    [
      'peers',
      '0 = host=x',
      'ids of peers must be a number larger than 0 and at most 16383: "0" is not, in [peers] "0"',
    ],
    [
      'peers',
      '16384 = host=x',
      'ids of peers must be a number larger than 0 and at most 16383: "16384" is not, in [peers] "16384"',
    ],
    [
      'peers',
      'one = host=x',
      'ids of peers must be a number larger than 0 and at most 16383: "one" is not, in [peers] "one"',
    ],
    ['peers', '1 = port=1', 'host was not provided for peer 1: add host=, in [peers] "1"'],
    [
      'peers',
      '1 = host=x dbname=y',
      'unrecognized connection parameter: "dbname"; it stands in [databases], in [peers] "1"',
    ],
  ])('[%s] %s is refused', (section, line, message) => {
    expect(entry(section, line)).toEqual([message]);
  });

  it('shows all that is wrong with it, and no other value of it', () => {
    const messages = entry('databases', 'a = password=hunter2 port=x pool_size=y zzz=hunter2');
    expect(messages).toHaveLength(2);
    expect(messages.join()).not.toContain('hunter2');
  });

  it.each([
    'a = password=hunter2 hunter2=x',
    'a = password=x hunter2= b',
    "a = password=x hunter2='b",
    'a = password=x hunter2',
    "a = password=x hunter2=''",
  ])('shows no part of a password with spaces: %s', (line) => {
    const messages = entry('databases', line);
    expect(messages).toHaveLength(1);
    expect(messages.join()).not.toContain('hunter2');
  });

  it.each([
    ['-1', undefined],
    ['-2', undefined],
    ['x', 0],
    ['0', 0],
    ['010', 10],
    ["'7'", 7],
  ])('reads pool_size=%s as %s', (text, size) => {
    const { config } = parse(`[databases]\na = pool_size=${text}\n[users]\nu = pool_size=${text}\n${MAIN}`);
    expect(config.databases.get('a')?.poolSize).toBe(size);
    expect(config.users.get('u')?.poolSize).toBe(size);
  });

  it('takes 0 of a limit for "not set", and says so when that makes a difference', () => {
    const text =
      '[databases]\na = max_db_connections=0 server_lifetime=0\n[users]\nu = query_timeout=0 query_wait_timeout=0\n';
    const { config } = parse(`${text}${MAIN}max_db_connections = 5`);
    expect(config.databases.get('a')).toMatchObject({ maxDbConnections: undefined, serverLifetimeMs: undefined });
    expect(config.users.get('u')).toMatchObject({ queryTimeoutMs: undefined, queryWaitTimeoutMs: 0 });
    expect(warnings(`${text}${MAIN}max_db_connections = 5`)).toEqual([
      'max_db_connections=0 for database "a" means "not set", as in PgBouncer: the value of [pgbouncer] applies; leave it out, or give a value above 0',
      'server_lifetime=0 for database "a" means "not set", as in PgBouncer: the value of [pgbouncer] applies; leave it out, or give a value above 0',
    ]);
  });

  it('says so when a key is given twice, and takes the last', () => {
    const text = `[databases]\na = host=x reserve_pool=1 host=y reserve_pool_size=2\n${MAIN}`;
    expect(parse(text).config.databases.get('a')).toMatchObject({ hosts: ['y'], reservePoolSize: 2 });
    expect(warnings(text)).toEqual([
      '"host" is given more than once: the last value counts, in [databases] "a"',
      '"reserve_pool_size" is given more than once: the last value counts, in [databases] "a"',
    ]);
  });

  it('may have any name that fits, and none does harm', () => {
    const { config, problems } = parse(
      `[databases]\n'__proto__' = host=x\nconstructor = host=y\n'my ''db' = \n${MAIN}`,
    );
    expect(problems.map(({ line }) => line)).toEqual([4]);
    expect(config.databases.get('__proto__')?.hosts).toEqual(['x']);
    expect(config.databases.get('constructor')?.hosts).toEqual(['y']);
  });
});
