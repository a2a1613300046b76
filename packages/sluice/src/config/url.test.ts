import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type DatabaseUrl, formatDatabaseUrl, isDatabaseUrl, parseDatabaseUrl, redactUrl } from './url.ts';

const read = (text: string): DatabaseUrl => {
  const parsed = parseDatabaseUrl(text);
  if ('error' in parsed) throw new Error(parsed.error);
  return parsed;
};

const error = (text: string) => {
  const parsed = parseDatabaseUrl(text);
  return 'error' in parsed ? parsed.error : undefined;
};

describe('a connection URL', () => {
  it('has all its parts', () => {
    const url = read(
      'postgresql://ann:p%40ss%2Fw%3Ard@db.example.org:5433/my%20shop?sslmode=verify-full&application_name=a%26b&x=',
    );
    expect(url).toEqual({
      host: 'db.example.org',
      port: 5433,
      hosts: [{ host: 'db.example.org', port: 5433 }],
      user: 'ann',
      password: 'p@ss/w:rd',
      database: 'my shop',
      sslmode: 'verify-full',
      params: new Map([
        ['application_name', 'a&b'],
        ['x', ''],
      ]),
    });
  });

  it.each([
    ['postgres://', { host: 'localhost', port: 5432, user: '', password: '', database: '' }],
    ['POSTGRES://h', { host: 'h', database: '' }],
    ['postgres://ann@h', { user: 'ann', database: 'ann' }],
    ['postgres://ann@h/', { user: 'ann', database: 'ann' }],
    ['postgres://ann:@h/d', { user: 'ann', password: '', database: 'd' }],
    ['postgres://ann@example.org:pw@h/d', { user: 'ann@example.org', password: 'pw', host: 'h' }],
    ['postgres://ann:p@w@h/d', { user: 'ann', password: 'p@w', host: 'h' }],
    ['postgres://h:/d', { host: 'h', port: 5432 }],
    ['postgres://[::1]:5433/d', { host: '::1', port: 5433 }],
    ['postgres://[fe80::1%25eth0]/d', { host: 'fe80::1%eth0', port: 5432 }],
    ['postgres://%2Fvar%2Frun%2Fpostgresql/d', { host: '/var/run/postgresql' }],
    ['postgres:///d?host=/tmp&port=5433', { host: '/tmp', port: 5433, database: 'd' }],
    ['postgres:///?dbname=d&user=u&password=p', { database: 'd', user: 'u', password: 'p', host: 'localhost' }],
    ['postgres://h/a/b', { database: 'a/b' }],
    ['postgres://h/d?ssl=true', { sslmode: 'require' }],
    ['postgres://h/d?ssl=true&sslmode=disable', { sslmode: 'disable' }],
    ['postgres://h/d?ssl=false', { sslmode: undefined }],
  ])('%s is read', (text, parts) => {
    expect(read(text)).toMatchObject(parts);
  });

  it.each([
    [
      'postgres://a:1,b,[::2]:3/d',
      [
        ['a', 1],
        ['b', 5432],
        ['::2', 3],
      ],
    ],
    [
      'postgres:///d?host=a,/tmp&port=1,2',
      [
        ['a', 1],
        ['/tmp', 2],
      ],
    ],
    [
      'postgres:///d?host=a,b&port=7',
      [
        ['a', 7],
        ['b', 7],
      ],
    ],
    [
      'postgres://ignored:9/d?host=a,b',
      [
        ['a', 9],
        ['b', 9],
      ],
    ],
    [
      'postgres://a,b/d?port=1,2',
      [
        ['a', 1],
        ['b', 2],
      ],
    ],
  ])('%s has several hosts', (text, hosts) => {
    expect(read(text).hosts.map(({ host, port }) => [host, port])).toEqual(hosts);
  });

  const ESCAPES = 'and / : @ ? % in a user or password are written %2F %3A %40 %3F %25';
  it.each([
    ['mysql://h', 'a connection URL begins with postgres:// or postgresql://'],
    ['host=h', 'a connection URL begins with postgres:// or postgresql://'],
    ['postgres://h:http/d', `the port "http" in the URL must be a number from 1 to 65535, ${ESCAPES}`],
    ['postgres://h:0/d', `the port "0" in the URL must be a number from 1 to 65535, ${ESCAPES}`],
    ['postgres://h:65536/d', `the port "65536" in the URL must be a number from 1 to 65535, ${ESCAPES}`],
    ['postgres:///d?host=h&port=x', `the port "x" in the URL must be a number from 1 to 65535, ${ESCAPES}`],
    ['postgres://::1/d', `the port ":1" in the URL must be a number from 1 to 65535, ${ESCAPES}`],
    ['postgres://[::1/d', `the host "[::1" in the URL can't be read: an IPv6 address stands in brackets, ${ESCAPES}`],
    ['postgres://[host]/d', 'the host "[host]" in the URL is no IPv6 address: only those stand in brackets'],
    ['postgres://u%4/d', 'the host in the URL has a "%" that begins no valid escape: write %25 for a percent sign'],
    [
      'postgres://u:100%@h/d',
      'the password in the URL has a "%" that begins no valid escape: write %25 for a percent sign',
    ],
    ['postgres://u%00@h/d', 'the user in the URL holds %00: a zero byte is not allowed'],
    ['postgres://h/%ff', 'the database in the URL has a "%" that begins no valid escape: write %25 for a percent sign'],
    [
      'postgres://h/d?x',
      'a parameter after "?" has no "=": write name=value, separated by "&", and %3F for "?" elsewhere',
    ],
    ['postgres://h/d?=x', 'a parameter after "?" has no name: write name=value'],
    [
      'postgres://h/d?sslmode=on',
      'sslmode="on" in the URL must be one of disable, allow, prefer, require, verify-ca, verify-full',
    ],
    ['postgres://a,b/d?port=1,2,3', 'the URL has 2 hosts and 3 ports: give one port, or one for each host'],
  ])('%s is refused with a reason', (text, reason) => {
    expect(error(text)).toBe(reason);
  });

  it.each([
    'postgres://u:hunt/er2@h/d',
    'postgres://u:hunt?er2@h/d',
    'postgres://u:hunt%er2@h/d',
    'postgres://u:[hunter2@h:x/d',
    'postgres://u:hunter2@h:x/d',
    'postgres:///d?password=hunt%er2',
    'postgres://h/d?hunter2',
  ])('that is broken shows nothing of the password: %s', (text) => {
    expect(error(text)).toBeDefined();
    expect(error(text)).not.toMatch(/hunt|er2/);
  });

  it('is told by its scheme', () => {
    expect(['postgres://x', 'postgresql://x', 'Postgres://x'].map(isDatabaseUrl)).toEqual([true, true, true]);
    expect(['postgres:x', 'x.ini', 'http://x', ''].map(isDatabaseUrl)).toEqual([false, false, false, false]);
  });

  it('is read back as it was written', () => {
    const text = fc.string({ unit: 'grapheme' }).filter((one) => !one.includes('\0'));
    const name = fc.stringMatching(/^[a-z][a-z0-9.-]{0,8}$/);
    const host = fc.record({
      host: fc.oneof(
        name,
        fc.ipV4(),
        fc.ipV6(),
        name.map((one) => `/${one}/x y`),
      ),
      port: fc.integer({ min: 1, max: 65_535 }),
    });
    const url = fc.record({
      hosts: fc.array(host, { minLength: 1, maxLength: 3 }),
      user: text,
      password: text,
      database: text.filter((one) => one !== ''),
      sslmode: fc.constantFrom('require' as const, 'verify-full' as const, undefined),
      params: fc
        .dictionary(
          name.map((one) => `p${one}`),
          text,
        )
        .map((all) => new Map(Object.entries(all))),
    });
    fc.assert(
      fc.property(url, (parts) => {
        const whole = { ...parts, ...parts.hosts[0]! };
        const written = formatDatabaseUrl(whole);
        expect(read(written)).toEqual(whole);
      }),
    );
  });

  it('is read without an exception, whatever the text', () => {
    const soup = fc.stringMatching(/^[:@/?#[\]%,&=a1]{0,30}$/).map((rest) => `postgres://${rest}`);
    fc.assert(
      fc.property(fc.oneof(soup, fc.string({ unit: 'binary' })), (text) => {
        const parsed = parseDatabaseUrl(text);
        if ('error' in parsed) expect(parsed.error).not.toBe('');
        else expect(parsed.hosts.length).toBeGreaterThan(0);
        expect(typeof redactUrl(text)).toBe('string');
      }),
      { numRuns: 500 },
    );
  });
});

describe('a redacted URL', () => {
  it.each([
    ['postgres://ann:hunter2@h:1/d?sslmode=require', 'postgres://ann:***@h:1/d?sslmode=require'],
    ['postgres://ann@h/d', 'postgres://ann@h/d'],
    ['postgres://h:5432/d', 'postgres://h:5432/d'],
    ['postgres://ann:hunter@2@h/d', 'postgres://ann:***@h/d'],
    ['postgres://ann:hunt/er2@h/d', 'postgres://ann:***@h/d'],
    ['postgres://ann:hunt?er2@h/d', 'postgres://ann:***@h/d'],
    ['postgres://h/d?user=u&password=hunter2&x=y', 'postgres://h/d?user=u&password=***&x=y'],
    ['postgres://h/d?password=hunter2', 'postgres://h/d?password=***'],
    ['postgres://h:5432/d?application_name=a@b', 'postgres://h:5432/d?application_name=a@b'],
    ['host=h', 'host=h'],
    ['', ''],
  ])('%s is shown as %s', (text, shown) => {
    expect(redactUrl(text)).toBe(shown);
  });

  it('can be made of parts', () => {
    const parts = { host: '::1', port: 5433, user: 'ann', password: 'hunter2', database: 'shop' };
    expect(redactUrl(parts)).toBe('postgres://ann:***@[::1]:5433/shop');
    expect(redactUrl({ ...parts, password: '' })).toBe('postgres://ann@[::1]:5433/shop');
  });

  it('never holds the password of a valid URL', () => {
    const password = fc.stringMatching(/^[A-Z0-9]{8}$/);
    fc.assert(
      fc.property(password, fc.stringMatching(/^[a-z@:%/?&=#]{0,10}$/), (secret, around) => {
        const parts = { host: 'h', port: 1, user: around, password: `${around}${secret}`, database: 'd' };
        expect(redactUrl(formatDatabaseUrl(parts))).not.toContain(secret);
        expect(redactUrl(`postgres://h/d?password=${secret}`)).not.toContain(secret);
      }),
    );
  });
});
