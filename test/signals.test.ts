/** session_state = follow: sessions are cancelled and ended by the number that their drivers know. */
import { setTimeout as sleep } from 'node:timers/promises';
import * as wire from '@sluice/wire';
import knex from 'knex';
import type pg from 'pg';
import postgresJs from 'postgres';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { targetsOf } from '../packages/sluice/src/client/numbers.ts';
import { Clients } from './support/clients.ts';
import { postgres } from './support/postgres.ts';
import { keyOf, RawClient } from './support/raw.ts';
import { type Sluice, startSluice } from './support/sluice.ts';

const server = postgres();
let sluice: Sluice;
let clients: Clients;
let asker: pg.Client;

async function begin(settings: string): Promise<void> {
  sluice = await startSluice(server, {
    settings: `pool_mode = transaction\n${settings}`,
    userlist: `"${server.user}" "${server.password}"\n"signaller" "x"\n`,
  });
  clients = new Clients({ ...server, port: sluice.port });
  asker = await clients.pg();
}
beforeEach(() => begin('session_state = follow'));
afterEach(async () => {
  await clients.end();
  await sluice.stop();
});

const numberOf = (client: pg.Client) => (client as unknown as { processID: number }).processID;
const run = (sql: string) => [wire.parse('', sql), wire.bind('', ''), wire.execute('')];
const outcome = (work: Promise<unknown>) =>
  work.then(
    () => 'done',
    ({ code }) => code,
  );

/** PostgreSQL runs it, on one connection. */
async function begun(text: string): Promise<void> {
  const direct = new Clients(server);
  const watch = await direct.pg();
  const running = "select 1 from pg_stat_activity where query = $1 and state = 'active'";
  while ((await watch.query(running, [text])).rowCount === 0);
  await direct.end();
}

describe.each<[string, (kind: string, number: number) => Promise<unknown>]>([
  ['a simple query', (kind, number) => asker.query(`select pg_${kind}_backend(${number})`)],
  ['a parameter', (kind, number) => asker.query(`select pg_${kind}_backend($1)`, [number])],
  [
    'a statement with a name',
    (kind, number) => asker.query({ name: 'k', text: `select pg_catalog.pg_${kind}_backend($1)`, values: [number] }),
  ],
  [
    'a parameter in binary',
    (kind, number) => {
      const value = Buffer.alloc(4);
      value.writeInt32BE(number);
      return asker.query(`select pg_${kind}_backend($1)`, [value]);
    },
  ],
])('by %s', (_how, ask) => {
  test('a query is cancelled, and its session goes on', async () => {
    const busy = await clients.pg();
    const query = outcome(busy.query('select pg_sleep(20)'));
    await begun('select pg_sleep(20)');
    await ask('cancel', numberOf(busy));
    expect(await query).toBe('57014');
    expect((await busy.query('select 1 as n')).rows).toEqual([{ n: 1 }]);
  });

  test('a session is ended, idle or not', async () => {
    const [busy, idle] = [await clients.pg(), await clients.pg()];
    const ended = new Promise((resolve) => idle.once('error', resolve));
    const query = outcome(busy.query('select pg_sleep(20)'));
    await begun('select pg_sleep(20)');
    await ask('terminate', numberOf(busy));
    expect(await query).toBe('57P01');
    await ask('terminate', numberOf(idle));
    expect(await ended).toMatchObject({
      code: '57P01',
      message: 'terminating connection due to administrator command',
    });
  });
});

test('one’s own session, too', async () => {
  asker.on('error', () => {});
  expect(await outcome(asker.query('select pg_terminate_backend($1)', [numberOf(asker)]))).toBe('57P01');
});

test('a statement that is only prepared, fails to begin, or is another’s, harms nobody', async () => {
  const idle = await clients.pg();
  await asker.query('drop role if exists signaller');
  await asker.query("create role signaller login password 'x'");
  const other = await clients.pg({ user: 'signaller', password: 'x' });
  const number = numberOf(idle);
  await asker.query(`prepare p as select pg_terminate_backend(${number})`);
  await asker.query(`explain select pg_terminate_backend(${number})`);
  await asker.query('begin');
  await outcome(asker.query('select 1/0'));
  await outcome(asker.query(`select pg_terminate_backend(${number})`));
  await asker.query('rollback');
  await asker.query(`select 'pg_terminate_backend', ${number}`);
  await asker.query(`select pg_terminate_backend(${number + 1000}), pg_cancel_backend(1)`);
  await other.query(`select pg_terminate_backend(${number})`);
  const elsewhere = await clients.pg({ database: 'template1' });
  await elsewhere.query(`select pg_terminate_backend(${number})`);
  await sleep(50);
  expect((await idle.query('select 1 as n')).rows).toEqual([{ n: 1 }]);
});

test('whom a condition leaves out is let be', async () => {
  const number = numberOf(asker);
  const text = "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'nobody' and pid";
  expect((await asker.query(`${text} <> $1`, [number])).rows).toEqual([]);
  expect((await asker.query(`${text} = ${number}`)).rows).toEqual([]);
  expect((await asker.query(`select pg_terminate_backend(${number}) where false`)).rows).toEqual([]);
  await sleep(50);
  expect((await asker.query('select 1 as n')).rows).toEqual([{ n: 1 }]);
});

test('a cancel that has been answered strikes nothing that begins after it', async () => {
  const busy = await clients.pg();
  let late = 0;
  for (let i = 0; i < 80; i++) {
    await busy.query('begin');
    const first = outcome(busy.query(`select pg_sleep(${0.0005 + (i % 8) * 0.0005})`));
    await sleep(1 + (i % 4));
    const asked = asker.query('select pg_cancel_backend($1)', [numberOf(busy)]);
    const [how] = await Promise.all([first, asked]);
    if (how === 'done' && (await outcome(busy.query('select pg_sleep(0.005)'))) !== 'done') late++;
    await busy.query('rollback');
  }
  expect(late).toBe(0);
});

test('what is prepared or described and not run, or stands behind what fails, harms nobody', async () => {
  const victim = await clients.pg();
  const { raw } = await RawClient.login({ ...server, port: sluice.port });
  const kill = `select pg_terminate_backend(${numberOf(victim)})`;
  const scripts = [
    [wire.parse('', kill), wire.sync()],
    [wire.parse('', kill), wire.describe('S', ''), wire.sync()],
    [wire.parse('n', kill), wire.describe('S', 'n'), wire.sync()],
    [wire.parse('', kill), wire.bind('', ''), wire.describe('P', ''), wire.sync()],
    [wire.parse('', kill), wire.bind('', 'nobody'), wire.execute(''), wire.sync()],
    [...run('select 1/0'), ...run(kill), wire.sync()],
    [...run('select 1/0'), wire.bind('', 'n'), wire.execute(''), wire.sync()],
    [wire.query(`select 1/0; ${kill}`)],
    [wire.query(`${kill}, no_such_column`)],
    [wire.query('set standard_conforming_strings = off')],
    [wire.query(`select '\\'; ${kill}; --'`)],
    [wire.query(kill.replace('select', "select '\\' from t where '; select"))],
    [wire.query('reset standard_conforming_strings')],
  ];
  for (const script of scripts) {
    raw.send(...script);
    await raw.until('Z');
  }
  await sleep(50);
  expect((await victim.query('select 1 as n')).rows).toEqual([{ n: 1 }]);
  victim.on('error', () => {});
  raw.send(wire.bind('', 'n'), wire.execute(''), wire.sync());
  await raw.until('Z');
  expect(await outcome(victim.query('select 1'))).not.toBe('done');
  raw.end();
});

test('two cancels in one packet have both arrived when the last is answered', async () => {
  const [one, two] = [await clients.pg(), await clients.pg()];
  const { raw } = await RawClient.login({ ...server, port: sluice.port });
  let late = 0;
  for (let i = 0; i < 60; i++) {
    await two.query('begin');
    const first = outcome(two.query(`select pg_sleep(${0.0005 + (i % 8) * 0.0005})`));
    await sleep(1 + (i % 4));
    raw.send(...[one, two].map((each) => wire.query(`select pg_cancel_backend(${numberOf(each)})`)));
    await raw.until('Z');
    await raw.until('Z');
    if ((await first) === 'done' && (await outcome(two.query('select pg_sleep(0.005)'))) !== 'done') late++;
    await two.query('rollback');
  }
  expect(late).toBe(0);
  raw.end();
});

test('what a session that is ended still sends is nobody’s', async () => {
  const { raw, greeting } = await RawClient.login({ ...server, port: sluice.port });
  raw.send(wire.query('create temp table t (a text)'), wire.query('copy t from stdin'));
  await raw.until('G');
  raw.send(wire.copyData(Buffer.alloc(100_000, 'x')).subarray(0, 50_000));
  await asker.query('select pg_terminate_backend($1)', [keyOf(greeting).pid]);
  await raw.until('E');
  raw.send(Buffer.alloc(50_000, 'x'), Buffer.alloc(1_000));
  await sleep(50);
  raw.end();
  expect(sluice.output()).not.toMatch(/bug:|unknown pkt/);
});

test('postgres.js, which describes first and then binds', async () => {
  const idle = await clients.pg();
  const ended = new Promise((resolve) => idle.once('error', resolve));
  const { host, user, password } = server;
  const sql = postgresJs({ host, port: sluice.port, user, password, database: 'postgres', max: 1, onnotice: () => {} });
  await sql`select pg_terminate_backend(${numberOf(idle)})`;
  expect(await ended).toMatchObject({ code: '57P01' });
  await sql.end();
});

test('a text that the server knows already sends one request, not two', async () => {
  const busy = await clients.pg();
  const { raw } = await RawClient.login({ ...server, port: sluice.port });
  const kill = `select pg_cancel_backend(${numberOf(busy)})`;
  let late = 0;
  for (let i = 0; i < 40; i++) {
    await busy.query('begin; savepoint s');
    const first = outcome(busy.query('select pg_sleep(5)'));
    await begun('select pg_sleep(5)');
    raw.send(wire.parse(`n${i}`, kill), wire.bind('', `n${i}`), wire.execute(''), wire.sync());
    await raw.until('Z');
    expect(await first).toBe('57014');
    await busy.query('rollback to s');
    if ((await outcome(busy.query('select pg_sleep(0.01)'))) !== 'done') late++;
    await busy.query('rollback');
  }
  expect(late).toBe(0);
  raw.end();
});

test('knex cancels what takes too long', async () => {
  const { host, user, password } = server;
  const db = knex({
    client: 'pg',
    connection: { host, port: sluice.port, user, password, database: 'postgres' },
    pool: { min: 0, max: 2 },
  });
  try {
    await expect(db.select(db.raw('pg_sleep(20)')).timeout(200, { cancel: true })).rejects.toThrow(/timeout/);
    const direct = new Clients(server);
    const look = await direct.pg();
    for (;;) {
      const { rows } = await look.query(
        "select 1 from pg_stat_activity where query ~ 'pg_sleep\\(20\\)' and state = 'active' and pid <> pg_backend_pid()",
      );
      if (rows.length === 0) break;
      await sleep(20);
    }
    await direct.end();
  } finally {
    await db.destroy();
  }
});

test('with session_state = pgbouncer it is as with PgBouncer: the number is nobody’s', async () => {
  await clients.end();
  await sluice.stop();
  await begin('session_state = pgbouncer');
  const idle = await clients.pg();
  expect((await asker.query('select pg_terminate_backend($1) as done', [numberOf(idle)])).rows).toEqual([
    { done: false },
  ]);
  expect((await idle.query('select 1 as n')).rows).toEqual([{ n: 1 }]);
});

describe('numbers in a Bind', () => {
  const signals = [{ kind: 'cancel', numbers: [5_000_000], params: [1, 2] }] as const;
  const bytesOf = (...messages: Uint8Array[]) => Buffer.from(wire.concat(...messages, wire.sync()));
  const PARSED = wire.parse('n', 'select');
  const BOUND = wire.bind('', 'n', ['4194310', '12']);
  const found = (...messages: Uint8Array[]) => {
    const bytes = bytesOf(...messages);
    return targetsOf(signals, bytes, 0, bytes.length).map(({ number }) => number);
  };

  test('are those of what is run, with or without its Describes', () => {
    const all = [5_000_000, 4_194_310, 12];
    expect(found(PARSED, BOUND, wire.execute(''))).toEqual(all);
    expect(found(BOUND, wire.execute(''))).toEqual(all);
    const described = [PARSED, wire.describe('S', 'n'), BOUND, wire.describe('P', ''), wire.execute('', 1)];
    expect(found(...described)).toEqual(all);
    expect(found(wire.parse('n', 'select', [23, 0]), BOUND, wire.execute(''))).toEqual(all);
  });

  test.each([
    ['nothing is executed', [PARSED, BOUND]],
    ['another statement is bound', [PARSED, wire.bind('', 'm', ['4194310', '12']), wire.execute('')]],
    ['another portal is executed', [PARSED, BOUND, wire.execute('p')]],
    ['its portal may be there already', [PARSED, wire.bind('p', 'n', ['4194310', '12']), wire.execute('p')]],
    ['a Describe may fail', [PARSED, wire.describe('S', 'm'), BOUND, wire.execute('')]],
    ['another Describe may fail', [PARSED, BOUND, wire.describe('P', 'p'), wire.execute('')]],
    ['values are missing', [PARSED, wire.bind('', 'n', ['4194310']), wire.execute('')]],
    ['there are too many', [PARSED, wire.bind('', 'n', ['4194310', '12', '13']), wire.execute('')]],
    ['one is no number', [PARSED, wire.bind('', 'n', ['4194310', 'x']), wire.execute('')]],
    ['one is NULL', [PARSED, wire.bind('', 'n', ['4194310', null]), wire.execute('')]],
    ['one is too large', [PARSED, wire.bind('', 'n', ['4194310', '3000000000']), wire.execute('')]],
    ['they are declared to be texts', [wire.parse('n', 'select', [23, 25]), BOUND, wire.execute('')]],
  ])('concern nobody where %s', (_why, messages) => {
    expect(found(...messages)).toEqual([]);
  });

  test('whatever its bytes', () => {
    const whole = bytesOf(PARSED, wire.describe('S', 'n'), BOUND, wire.describe('P', ''), wire.execute(''));
    for (let end = 0; end <= whole.length; end++)
      for (const shift of [0, 1, 2, 3]) targetsOf(signals, whole, shift, end);
    for (let i = 0; i < 20_000; i++) {
      const bytes = Buffer.from(whole);
      for (let k = 0; k < 3; k++) bytes[Math.floor(Math.random() * bytes.length)] = Math.floor(Math.random() * 256);
      expect(() => targetsOf(signals, bytes, 0, bytes.length)).not.toThrow();
    }
  });
});
