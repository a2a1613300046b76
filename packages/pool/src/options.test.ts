/** Bad options are refused when the pool is made, by name, with what is allowed: every row of the table, and what contradicts. */
import { describe, expect, test } from 'vitest';
import { BadOption } from './errors.ts';
import * as express from './express.ts';
import * as fastify from './fastify.ts';
import { type OptionRow, POOL_OPTIONS } from './option-table.ts';
import { Pool } from './pool.ts';

const ROWS = Object.entries(POOL_OPTIONS);
const isNumber = ({ kind }: OptionRow) =>
  kind === 'milliseconds' || kind === 'seconds' || kind === 'count' || kind === 'share';

/** What an option needs beside it to be no contradiction. */
const COMPANIONS: Record<string, object> = {
  retryMinMillis: { retryMaxMillis: 2_147_483_647 },
  retryMaxMillis: { retryMinMillis: 0 },
  leakAction: { leakDetectionMillis: 1 },
};

/** Values that the row does not allow, and the words in which it has to say so. */
function badValues(row: OptionRow): { value: unknown; allowed: string }[] {
  const of = (allowed: string, values: unknown[]) => values.map((value) => ({ value, allowed }));
  if (!isNumber(row)) return of(wordsOf(row), othersThan(row));
  const { min, max } = row;
  const allowed = `${min} ${max === undefined ? 'or more' : `to ${max}`}`;
  const bad = of(allowed, [Number.NaN, min! - 1, Number.NEGATIVE_INFINITY, '7', {}, true]);
  if (row.infinite !== true) bad.push(...of(allowed, [Number.POSITIVE_INFINITY]));
  else for (const each of bad) each.allowed += ', or Infinity';
  if (max !== undefined) bad.push(...of(allowed, [max + 1]));
  if (row.kind === 'count') bad.push(...of('a whole number', [min! + 0.5]));
  return bad;
}

function wordsOf({ kind, choices }: OptionRow): string {
  if (kind === 'boolean') return 'true or false';
  if (kind === 'text') return choices === undefined ? 'a string' : 'it must be';
  return {
    function: 'a function',
    class: 'a class',
    promises: 'a class of promises',
    object: 'an object',
    array: 'an array',
  }[kind as string]!;
}

function othersThan({ kind, choices }: OptionRow): unknown[] {
  const all: unknown[] = [Number.NaN, -1, [], Symbol.iterator];
  if (kind !== 'object') all.push({});
  if (kind !== 'boolean') all.push(true);
  if (kind !== 'text') all.push('perhaps');
  if (choices !== undefined) all.push('perhaps');
  if (kind !== 'function') all.push(() => {});
  return all;
}

function goodValues(name: string, row: OptionRow): unknown[] {
  if (isNumber(row)) {
    const good: unknown[] = [row.min === 0 && name !== 'min' ? row.min : Math.max(row.min!, 0), undefined];
    if (row.max !== undefined) good.push(row.max);
    if (row.infinite === true) good.push(Number.POSITIVE_INFINITY);
    good.push(null);
    return good;
  }
  if (row.kind === 'boolean') return [true, false, ...(row.choices ?? [])];
  if (row.kind === 'text') return row.choices === undefined ? ['text'] : [...row.choices];
  return [
    {
      function: () => {},
      class: class {},
      promises: class extends Promise<unknown> {},
      object: { gold: 4 },
      array: ['a:5432', { host: 'b' }],
    }[row.kind as string],
  ];
}

function refusal(options: object): BadOption {
  try {
    new Pool(options);
  } catch (error) {
    expect(error).toBeInstanceOf(BadOption);
    return error as BadOption;
  }
  throw new Error('the pool was made');
}

describe.each(ROWS)('option %s', (name, row) => {
  test('refuses what it may not be, with its name and what is allowed', () => {
    const bad = badValues(row);
    expect(bad.length).toBeGreaterThan(4);
    for (const { value, allowed } of bad) {
      const error = refusal({ ...COMPANIONS[name], [name]: value });
      expect(error.option).toBe(name);
      expect(error.message).toContain(`pool option ${name} is `);
      expect(error.message).toContain(allowed);
      for (const choice of row.kind === 'text' && typeof value === 'string' ? row.choices! : [])
        expect(error.message).toContain(`'${choice}'`);
    }
  });

  test('takes what it may be, its bounds included', () => {
    for (const value of goodValues(name, row)) new Pool({ ...COMPANIONS[name], [name]: value });
  });

  test('is named when it is misspelt', () => {
    const error = refusal({ [`${name}x`]: 1 });
    expect([error.option, error.message]).toEqual([`${name}x`, expect.stringContaining(`did you mean ${name}?`)]);
  });
});

test.each([
  [{ min: 11 }, 'min', 'at most max, which is 10'],
  [{ min: 4, max: 3 }, 'min', 'at most max, which is 3'],
  [{ min: 4, poolSize: 3 }, 'min', 'at most max, which is 3'],
  [{ max: 3, poolSize: 4 }, 'poolSize', 'max is 3'],
  [{ max: 3, minIdle: 4 }, 'minIdle', 'at most max, which is 3'],
  [{ nullPool: true, minIdle: 1 }, 'minIdle', 'left out'],
  [{ compat: 'pg-pool', minIdle: 1 }, 'minIdle', 'left out'],
  [{ reservedSlots: 10 }, 'reservedSlots', 'below max plus maxOverflow, which is 10'],
  [{ max: 2, maxOverflow: 1, reservedSlots: 3 }, 'reservedSlots', 'below max plus maxOverflow, which is 3'],
  [{ retryMinMillis: 2_000 }, 'retryMinMillis', 'at most retryMaxMillis, which is 1000'],
  [{ retryMaxMillis: 50 }, 'retryMinMillis', 'at most retryMaxMillis, which is 50'],
  [{ nullPool: true, min: 1 }, 'nullPool', 'min must be 0, but is 1'],
  [{ leakAction: 'reclaim' }, 'leakAction', 'leakDetectionMillis above 0'],
  [{ leakAction: 'reclaim', leakDetectionMillis: 0 }, 'leakAction', 'leakDetectionMillis above 0'],
  [{ tenantWeights: { gold: 0 } }, 'tenantWeights', 'a number above 0'],
  [{ tenantWeights: { gold: -1 } }, 'tenantWeights', 'a number above 0'],
  [{ tenantWeights: { gold: Number.NaN } }, 'tenantWeights', 'a number above 0'],
  [{ tenantWeights: { gold: Number.POSITIVE_INFINITY } }, 'tenantWeights', 'a number above 0'],
  [{ tenantWeights: { gold: '4' } }, 'tenantWeights', 'a number above 0'],
  [{ nullPool: true, keepaliveMillis: 5_000 }, 'keepaliveMillis', 'with nullPool nothing stays open'],
  [{ maxLifetimeSeconds: 5, keepaliveMillis: 5_000 }, 'keepaliveMillis', 'below maxLifetimeSeconds, which is 5'],
  [{ compat: 'pg-pool', deadlockDetection: 'all' }, 'deadlockDetection', "with compat: 'pg-pool' there is none"],
  [
    { connectionString: 'postgres://a,b/db?target_session_attrs=master' },
    'targetSessionAttrs',
    '"master": it must be one of any, primary',
  ],
  [{ hosts: [] }, 'hosts', 'at least one'],
  [{ hosts: [''] }, 'hosts', "'name:port'"],
  [{ hosts: ['a:b:c'] }, 'hosts', "'name:port'"],
  [{ hosts: [{ port: 5432 }] }, 'hosts', '{ host, port }'],
  [{ hosts: [null] }, 'hosts', '{ host, port }'],
  [{ hosts: [{ host: 'a', prot: 5432 }] }, 'hosts', 'with prot, which is not known'],
  [{ Promise: class {} }, 'Promise', 'a class of promises'],
  [{ hosts: ['a:0'] }, 'hosts', '1 to 65535'],
  [{ hosts: ['a:65536'] }, 'hosts', '1 to 65535'],
  [{ hosts: [{ host: 'a', port: Number.NaN }] }, 'hosts', '1 to 65535'],
  [{ hosts: [{ host: 'a', port: -1 }] }, 'hosts', '1 to 65535'],
] as [object, string, string][])('%o is refused as %s: %s', (options, name, allowed) => {
  const error = refusal(options);
  expect([error.option, error.message]).toEqual([name, expect.stringContaining(allowed)]);
});

test('what is null is as good as not given, in options that nobody may change, too', () => {
  const options = Object.freeze({ max: null, min: null, log: null, application_name: 'mine' }) as object;
  const { max, application_name } = new Pool(options).options;
  expect([max, application_name]).toEqual([10, 'mine']);
});

test('a name that is near to none is refused too, unless the class of the clients may have options of its own', () => {
  const options = { quiteSomethingElse: 1 };
  expect(refusal(options)).toMatchObject({
    option: 'quiteSomethingElse',
    message: expect.stringContaining('not known'),
  });
  new Pool({ ...options, Client: class {} } as object);
  expect(refusal({ maks: 1, Client: class {} }).option).toBe('maks');
});

describe("with compat: 'pg-pool'", () => {
  test("pg-pool's own options are taken as it takes them", () => {
    for (const options of [
      { min: 4, max: 3 },
      { max: 0 },
      { max: Number.NaN },
      { idleTimeoutMillis: null },
      { whatever: 1 },
    ])
      new Pool({ compat: 'pg-pool', ...options } as object);
  });

  test.each([
    [{ max: '5' }, 5],
    [{ max: 2.5 }, 3],
    [{ max: Number.POSITIVE_INFINITY }, Number.MAX_SAFE_INTEGER],
    [{ max: '' }, 10],
    [{ poolSize: '4', max: false }, 4],
    [{ min: '2' }, 2],
    [{ min: -1 }, 0],
    [{ maxUses: '7' }, 7],
    [{ maxUses: 0 }, Number.POSITIVE_INFINITY],
    [{ maxUses: Number.POSITIVE_INFINITY }, Number.POSITIVE_INFINITY],
    [{ maxUses: -1 }, 1],
    [{ maxLifetimeSeconds: '60' }, 60],
    [{ maxLifetimeSeconds: Number.POSITIVE_INFINITY }, 0.001],
    [{ idleTimeoutMillis: '100' }, 100],
    [{ idleTimeoutMillis: '' }, 0],
    [{ idleTimeoutMillis: -1 }, 1],
    [{ connectionTimeoutMillis: '100' }, 100],
    [{ connectionTimeoutMillis: 2 ** 31 }, 1],
    [{ allowExitOnIdle: 1 }, true],
    [{ allowExitOnIdle: '0' }, true],
  ] as [object, unknown][])('%o means what it means there: %s', (options, meant) => {
    const given = { ...options };
    const [name] = Object.keys(options);
    const pool = new Pool({ compat: 'pg-pool', ...options } as object);
    expect((pool.options as unknown as Record<string, unknown>)[name === 'poolSize' ? 'max' : name!]).toBe(meant);
    expect(options).toEqual(given);
    // Otherwise a slip of the pen: nothing is made to fit in silence.
    if (!Object.values(options).includes(Number.POSITIVE_INFINITY)) expect(() => new Pool(options)).toThrow(BadOption);
  });

  test('what makes no pool there is refused: it would wait for ever, have no bound, or throw later', () => {
    for (const options of [
      { max: -1 },
      { max: 'x' },
      { max: {} },
      { min: 'x' },
      { idleTimeoutMillis: '10s' },
      { log: 'x' },
    ])
      expect(refusal({ compat: 'pg-pool', ...options }).option).toBe(Object.keys(options)[0]);
  });

  test('those that it does not have are checked as ever', () => {
    expect(refusal({ compat: 'pg-pool', tenantWeights: { gold: -1 } }).option).toBe('tenantWeights');
    expect(refusal({ compat: 'pg-pool', maxDials: -1 }).option).toBe('maxDials');
    expect(refusal({ compat: 'pg-pool', leakAction: 'reclaim' }).option).toBe('leakAction');
  });
});

test.each([5, 'postgres://localhost', ['a'], true, () => {}])('%o is not taken for options of a pool', (options) => {
  expect(refusal(options as object)).toMatchObject({
    option: 'options',
    message: expect.stringContaining("{ connectionString: 'postgres://…' }"),
  });
});

const refused = async (call: () => unknown): Promise<BadOption> => {
  try {
    await call();
  } catch (error) {
    expect(error).toBeInstanceOf(BadOption);
    return error as BadOption;
  }
  throw new Error('it was taken');
};

test.each([
  [{ timeoutMillis: -1 }, 'wait', 'timeoutMillis', '0 or more, or Infinity'],
  [{ timeoutMillis: Number.NaN }, 'wait', 'timeoutMillis', 'a number of milliseconds'],
  [{ timeoutMillis: 'abc' }, 'wait', 'timeoutMillis', 'is "abc"'],
  [{ timeout: 5 }, 'wait', 'timeout', 'there are timeoutMillis'],
  [5, 'wait', 'options', '{ timeoutMillis: 5000 }'],
  [{ timeoutMillis: -1 }, 'drain', 'timeoutMillis', '0 or more, or Infinity'],
  [{ timeoutMillis: Number.NaN }, 'drain', 'timeoutMillis', 'a number of milliseconds'],
  [{ timeoutMillis: 'x' }, 'drain', 'timeoutMillis', 'is "x"'],
  [{ timeoutMilis: 5 }, 'drain', 'timeoutMilis', 'did you mean timeoutMillis?'],
  [5000, 'drain', 'options', '{ timeoutMillis: 5000 }'],
  [{ mx: 3 }, 'resize', 'mx', 'did you mean max?'],
  [{ max: '4' }, 'resize', 'max', 'max is "4": it must be a whole number, 1 or more'],
  [3, 'resize', 'options', '{ max: 20 }'],
  [{ closeIdle: 'yes' }, 'suspend', 'closeIdle', 'true or false'],
  [{ closeidle: true }, 'suspend', 'closeidle', 'did you mean closeIdle?'],
  [{ usr: 'x' }, 'setCredentials', 'usr', 'did you mean user?'],
  [{ user: 5 }, 'setCredentials', 'user', 'it must be a string'],
  [{ password: 271828 }, 'setCredentials', 'password', 'password is a number: it must be a string, or a function'],
  ['secret', 'setCredentials', 'options', '{ password }'],
])('%o is refused by the pool when it is told to %s: %s', async (options, method, name, message) => {
  const pool = new Pool() as any;
  const error = await refused(() => pool[method](options));
  expect([error.option, error.message]).toEqual([name, expect.stringContaining(message)]);
  expect(error.message).not.toMatch(/secret|271828/);
  expect([pool.ending, pool.options.max]).toEqual([false, 10]);
});

test.each([
  [{ healthPth: '/x' }, 'healthPth', 'did you mean healthPath?'],
  [{ healthPath: 'health' }, 'healthPath', 'begins with "/"'],
  [{ healthTimeoutMillis: 0 }, 'healthTimeoutMillis', '1 to 2147483647'],
  [{ drainTimeoutMillis: -1 }, 'drainTimeoutMillis', '0 or more'],
  [{ drainTimeoutMillis: '5s' }, 'drainTimeoutMillis', 'is "5s"'],
])('%o is refused by the helpers of Express and Fastify: %s', async (options, name, message) => {
  const pool = new Pool();
  const calls = [
    () => express.sluicePool(pool, options as object),
    () => express.stop(null as never, pool, options as object),
    () => fastify.sluicePool({}, { pool, ...(options as object) }),
  ];
  for (const call of calls) {
    const error = await refused(call);
    expect([error.option, error.message]).toEqual([name, expect.stringContaining(message)]);
  }
});

test('new sizes are checked as the first ones were, and a refused one changes nothing', () => {
  const pool = new Pool({ max: 3 });
  for (const bounds of [{ min: 4 }, { max: 0 }, { max: Number.NaN }, { min: -1 }, { max: 2.5 }, { min: 3, max: 2 }])
    expect(() => pool.resize(bounds)).toThrow(BadOption);
  expect([pool.options.min, pool.options.max]).toEqual([0, 3]);
  expect(() => new Pool({ max: 3, reservedSlots: 2 }).resize({ max: 2 })).toThrow(
    'below max plus maxOverflow, which is 2',
  );
  expect(() => new Pool({ nullPool: true }).resize({ min: 1 })).toThrow('min must be 0, but is 1');
});

test.each([
  [{ timeout: 5 }, 'acquire', 'timeout', 'there are signal, deadline, timeoutMillis'],
  [{ tenants: 'a' }, 'acquire', 'tenants', 'did you mean tenant?'],
  [{ tenant: 5 }, 'acquire', 'tenant', 'it must be a string'],
  [{ timeoutMilis: 5 }, 'use', 'timeoutMilis', 'did you mean timeoutMillis?'],
  [new AbortController().signal, 'acquire', 'options', 'such as { signal }'],
  [['a'], 'use', 'options', 'such as { signal }'],
  [{ readonly: true }, 'transaction', 'readonly', 'did you mean readOnly?'],
  [{ isolationLevel: 'serializable' }, 'transaction', 'isolationLevel', 'there are'],
  [{ timeoutMillis: '5' }, 'acquire', 'timeoutMillis', '0 (no bound) or more'],
  [5, 'transaction', 'options', 'such as { signal }'],
  [{ readOnly: 'yes' }, 'transaction', 'readOnly', 'readOnly is "yes": it must be true or false'],
  [{ deferrable: 1 }, 'transaction', 'deferrable', 'deferrable is 1: it must be true or false'],
  [{ isolation: 'bogus' }, 'transaction', 'isolation', "'read committed', 'repeatable read', 'serializable'"],
  [{ propagation: 'required' }, 'transaction', 'propagation', "'nested', 'new'"],
  [{ deadline: 'soon' }, 'transaction', 'deadline', 'no point in time'],
  [{ retry: 'yes' }, 'transaction', 'retry', 'retry is "yes": it must be true, false, or an object'],
  [{ retry: 3 }, 'transaction', 'retry', 'such as { attempts: 3 }'],
  [{ retry: [3] }, 'transaction', 'retry', 'such as { attempts: 3 }'],
  [{ retry: { attempt: 2 } }, 'transaction', 'attempt', 'did you mean attempts?'],
  [{ retry: { attempts: 0 } }, 'transaction', 'attempts', 'a whole number, 1 or more'],
  [{ retry: { attempts: 2.5 } }, 'transaction', 'attempts', 'a whole number, 1 or more'],
  [{ retry: { minDelayMillis: Number.NaN } }, 'transaction', 'minDelayMillis', 'minDelayMillis is NaN'],
  [{ retry: { minDelayMillis: -5 } }, 'transaction', 'minDelayMillis', 'a number of milliseconds, 0 or more'],
  [{ retry: { maxDelayMillis: '9' } }, 'transaction', 'maxDelayMillis', '0 or more, or Infinity'],
  [
    { retry: { minDelayMillis: 9, maxDelayMillis: 5 } },
    'transaction',
    'minDelayMillis',
    'at most maxDelayMillis, which is 5',
  ],
  [{ retry: { codes: '40001' } }, 'transaction', 'codes', 'an array of strings'],
  [{ retry: { codes: [40001] } }, 'transaction', 'codes', 'an array of strings'],
])('%o is refused by %s as %s: %s', async (options, method, name, message) => {
  const pool = new Pool() as any;
  const asked = method === 'acquire' ? pool.acquire(options) : pool[method](async () => {}, options);
  const error = await asked.catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(BadOption);
  expect([error.option, error.message]).toEqual([name, expect.stringContaining(message)]);
  expect(pool.totalCount + pool.waitingCount).toBe(0);
});
