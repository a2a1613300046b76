/** Named prepared statements in transaction and statement mode, byte by byte and with drivers. */
import * as wire from '@sluice/wire';
import pg from 'pg';
import { afterEach, describe, expect, test } from 'vitest';
import { Clients } from './support/clients.ts';
import { postgres } from './support/postgres.ts';
import { cell, errorOf, RawClient, types } from './support/raw.ts';
import { type Sluice, startSluice } from './support/sluice.ts';

const server = postgres();
let sluice: Sluice;
let clients: Clients;

async function begin(settings: string): Promise<void> {
  sluice = await startSluice(server, { settings });
  clients = new Clients({ ...server, port: sluice.port });
}
afterEach(async () => {
  await clients.end();
  await sluice.stop();
});

const raw = async () => (await RawClient.login({ ...server, port: sluice.port })).raw;
const use = (name: string) => [wire.bind('', name), wire.execute(''), wire.sync()];

describe.each(['transaction', 'statement'])('in %s mode', (mode) => {
  test('messages that end before they have begun harm nobody else', async () => {
    await begin(`pool_mode = ${mode}\ndefault_pool_size = 2`);
    const other = await raw();
    for (const type of 'QPBDECFHSdcf')
      for (const body of ['', '\0', 'S']) {
        const a = await raw();
        const size = Buffer.from([0, 0, 0, 4 + body.length]);
        a.send(Buffer.concat([Buffer.from(type), size, Buffer.from(body)]), wire.sync());
        a.send(wire.sync());
        other.send(wire.query("select 'served'"));
        expect(cell(await other.until('Z')), `${type} ${JSON.stringify(body)}`).toBe('served');
        a.end();
      }
  });

  test('a statement is there on whichever server serves the client', async () => {
    await begin(`pool_mode = ${mode}\ndefault_pool_size = 2\nserver_round_robin = 1`);
    const [a, b] = [await raw(), await raw()];
    a.send(wire.parse('s', "select 'of a'"), wire.sync());
    expect(types(await a.until('Z'))).toBe('1Z');
    b.send(wire.parse('s', "select 'of b'"), wire.sync());
    expect(types(await b.until('Z'))).toBe('1Z');
    for (let i = 0; i < 6; i++) {
      a.send(...use('s'));
      b.send(...use('s'));
      expect(cell(await a.until('Z'))).toBe('of a');
      expect(cell(await b.until('Z'))).toBe('of b');
    }
  });

  test('beyond max_prepared_statements the one unused longest goes, in the middle of a pipeline too', async () => {
    await begin(`pool_mode = ${mode}\ndefault_pool_size = 1\nmax_prepared_statements = 2`);
    const a = await raw();
    for (let round = 0; round < 3; round++) {
      const pipeline = [0, 1, 2, 3, 4].flatMap((i) => [
        ...(round === 0 ? [wire.parse(`s${i}`, `select '${i}'`)] : []),
        ...use(`s${i}`),
      ]);
      a.send(...pipeline);
      for (let i = 0; i < 5; i++) {
        const answer = await a.until('Z');
        expect(types(answer)).toBe(round === 0 ? '12DCZ' : '2DCZ');
        expect(cell(answer)).toBe(String(i));
      }
    }
    a.send(wire.query('select count(*) from pg_prepared_statements'));
    expect(cell(await a.until('Z'))).toBe('2');
  });

  test('a long random pipeline of more statements than fit answers every question with its own answer', async () => {
    await begin(`pool_mode = ${mode}\ndefault_pool_size = 3\nmax_prepared_statements = 7`);
    let seed = 7;
    const random = (below: number) => {
      seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
      return seed % below;
    };
    const talk = async () => {
      const a = await raw();
      const known = new Set<number>();
      for (let round = 0; round < 40; round++) {
        const asked = Array.from({ length: 1 + random(9) }, () => random(20));
        a.send(
          ...asked.flatMap((n) => {
            const parse = known.has(n) ? [] : [wire.parse(`s${n}`, `select '${n}'`)];
            known.add(n);
            return [...parse, ...use(`s${n}`)];
          }),
        );
        for (const n of asked) expect(cell(await a.until('Z'))).toBe(String(n));
      }
    };
    await Promise.all(Array.from({ length: 8 }, talk));
  });

  test('an error in mid pipeline leaves the books right: what was skipped is unknown, what came before is known', async () => {
    await begin(`pool_mode = ${mode}\ndefault_pool_size = 1`);
    const a = await raw();
    a.send(
      wire.parse('before', 'select 1'),
      wire.parse('wrong', 'select * from no_such_table'),
      wire.parse('after', 'select 2'),
      wire.sync(),
    );
    const answer = await a.until('Z');
    expect(types(answer)).toBe('1EZ');
    expect(errorOf(answer.slice(1)).code).toBe('42P01');
    a.send(...use('after'));
    expect(errorOf(await a.until('Z')).code).toBe('26000');
    a.send(...use('before'));
    const known = await a.until('Z');
    // PostgreSQL forgets what was prepared in a pipeline that failed no more than it forgets other statements.
    expect(cell(known)).toBe('1');
    a.send(wire.parse('after', 'select 3'), ...use('after'));
    expect(cell(await a.until('Z'))).toBe('3');
  });

  test('a name that exists is refused, one that was closed is free, DISCARD ALL and DEALLOCATE ALL forget all', async () => {
    await begin(`pool_mode = ${mode}\ndefault_pool_size = 1`);
    const a = await raw();
    a.send(wire.parse('s', 'select 1'), wire.sync());
    await a.until('Z');
    a.send(wire.parse('s', 'select 2'), wire.sync());
    expect(errorOf(await a.until('Z')).code).toBe('42P05');
    await sluice.waitFor(/prepared statement 's' was already prepared/);
    a.send(wire.close('S', 's'), wire.parse('s', 'select 2'), ...use('s'));
    const answer = await a.until('Z');
    expect([types(answer), cell(answer)]).toEqual(['312DCZ', '2']);
    for (const forget of ['DISCARD ALL', 'DEALLOCATE ALL']) {
      a.send(wire.query(forget));
      await a.until('Z');
      a.send(...use('s'));
      expect(errorOf(await a.until('Z')).code).toBe('26000');
      a.send(wire.parse('s', 'select 3'), ...use('s'));
      expect(cell(await a.until('Z'))).toBe('3');
    }
    a.send(wire.describe('S', 'nobody'), wire.sync());
    expect(errorOf(await a.until('Z')).code).toBe('26000');
  });

  test('max_prepared_statements may change while clients have statements', async () => {
    sluice = await startSluice(server, {
      settings: `pool_mode = ${mode}\ndefault_pool_size = 1\nmax_prepared_statements = 1\nadmin_users = ${server.user}`,
    });
    clients = new Clients({ ...server, port: sluice.port });
    const a = await raw();
    const admin = await clients.pg({ database: 'pgbouncer' });
    for (const [size, known] of [
      [1, 1],
      [5, 5],
      [2, 2],
    ] as const) {
      await admin.query(`SET max_prepared_statements = ${size}`);
      for (let i = 0; i < 6; i++) {
        a.send(wire.parse(`s${size}_${i}`, `select '${size} ${i}'`), ...use(`s${size}_${i}`));
        expect(cell(await a.until('Z'))).toBe(`${size} ${i}`);
      }
      a.send(wire.query('select count(*) from pg_prepared_statements'));
      expect(cell(await a.until('Z'))).toBe(String(known));
    }
    // As in PgBouncer, the servers stay when the names are not followed any more.
    await admin.query('SET max_prepared_statements = 0');
    a.send(wire.query('select count(*) from pg_prepared_statements'));
    expect(cell(await a.until('Z'))).toBe('2');
  });
});

test.each([
  ['DateStyle', 'SQL, DMY', 'SQL, MDY', "select to_char('01/02/2020'::date, 'YYYY-MM-DD')", '2020-02-01', '2020-01-02'],
  [
    'TimeZone',
    'Asia/Tokyo',
    'UTC',
    "select extract(epoch from '2020-01-01'::timestamptz)::int",
    '1577804400',
    '1577836800',
  ],
])('constants are read by the %s of each client', async (name, first, second, sql, one, other) => {
  await begin('default_pool_size = 1');
  const at = { ...server, port: sluice.port };
  const [a, b] = [
    (await RawClient.login(at, { [name]: first })).raw,
    (await RawClient.login(at, { [name]: second })).raw,
  ];
  for (const raw of [a, b]) {
    raw.send(wire.parse('s', sql), wire.sync());
    await raw.until('Z');
  }
  for (let i = 0; i < 2; i++) {
    a.send(...use('s'));
    b.send(...use('s'));
    expect(cell(await a.until('Z'))).toBe(one);
    expect(cell(await b.until('Z'))).toBe(other);
  }
});

describe.each(['pgbouncer', 'follow'])('session_state = %s', (state) => {
  const atOnce = (sql: string) => [wire.parse('', sql), wire.bind('', ''), wire.execute(''), wire.sync()];

  test.each([
    ['a simple query', (sql: string) => [wire.query(sql)]],
    ['the extended protocol', atOnce],
  ])('DEALLOCATE of a name given by Parse, by %s', async (_, run) => {
    await begin(`default_pool_size = 2\nserver_round_robin = 1\nsession_state = ${state}`);
    const [a, b] = [await raw(), await raw()];
    for (const client of [a, b]) {
      client.send(wire.parse('s', "select 'shared'"), wire.parse('T "1"', 'select 2'), ...use('s'));
      expect(cell(await client.until('Z'))).toBe('shared');
    }
    for (const [sql, name] of [
      ['deallocate S', 's'],
      ['DEALLOCATE PREPARE "T ""1""";', 'T "1"'],
    ] as const) {
      a.send(...run(sql));
      const answer = await a.until('Z');
      expect(types(answer)).toMatch(/^(12)?CZ$/);
      expect(answer.find(({ type }) => type === 'C')!.body.toString()).toBe('DEALLOCATE\0');
      a.send(...run(sql));
      expect(errorOf(await a.until('Z')).message).toBe(`prepared statement "${name}" does not exist`);
      a.send(...use(name));
      expect(errorOf(await a.until('Z')).message).toBe(`prepared statement "${name}" does not exist`);
      a.send(wire.parse(name, "select 'again'"), ...use(name));
      expect(cell(await a.until('Z'))).toBe('again');
    }
    for (let i = 0; i < 4; i++) {
      b.send(...use('s'));
      expect(cell(await b.until('Z'))).toBe('shared');
    }
  });

  test('nothing that was answered is run again with a stale statement, whatever is prepared anew behind it', async () => {
    await begin(`default_pool_size = 1\nmax_prepared_statements = 5\nsession_state = ${state}`);
    const direct = new pg.Client(server);
    await direct.connect();
    try {
      await direct.query('drop table if exists stale, written; create table stale(a int); create table written(a int)');
      const a = await raw();
      const names = { b: 'begin', i: 'insert into written values (1)', c: 'commit', n: 'select * from stale' };
      const others = ['x1', 'x2', 'x3'].map((name) => [name, `select '${name}'`] as const);
      for (const [name, text] of [...others, ...Object.entries(names)]) {
        a.send(wire.parse(name, text), wire.sync());
        expect(types(await a.until('Z'))).toBe('1Z');
      }
      a.send(wire.bind('', 'n'), wire.describe('P', ''), wire.execute(''), wire.sync());
      await a.until('Z');
      await direct.query('alter table stale add b int');
      const one = (name: string) => [wire.bind('', name), wire.execute('')];
      a.send(...['b', 'i', 'c'].flatMap(one), wire.bind('', 'n'), wire.describe('P', ''), wire.execute(''));
      a.send(...others.flatMap(([name]) => one(name)), wire.sync());
      expect(types(await a.until('Z'))).toBe('2C2C2CEZ');
      expect((await direct.query('select count(*)::int as n from written')).rows[0].n).toBe(1);
    } finally {
      await direct.query('drop table if exists stale, written');
      await direct.end();
    }
  });

  test('DEALLOCATE ends a name when it is run, and not where it is skipped or refused', async () => {
    await begin(`default_pool_size = 1\nsession_state = ${state}`);
    const a = await raw();
    a.send(wire.parse('s', "select 'here'"), ...use('s'));
    expect(cell(await a.until('Z'))).toBe('here');
    a.send(wire.parse('', 'deallocate s'), wire.bind('', ''), wire.bind('', 'nope'), wire.execute(''), wire.sync());
    expect(errorOf(await a.until('Z')).message).toMatch(/"nope"/);
    a.send(...use('s'));
    expect(cell(await a.until('Z'))).toBe('here');
    const texts = ['begin', 'select 1/0', 'deallocate s', 'rollback'];
    a.send(...texts.map((text) => wire.query(text)));
    const answers = [await a.until('Z'), await a.until('Z'), await a.until('Z'), await a.until('Z')];
    expect(errorOf(answers[2]!).code).toBe('25P02');
    a.send(...use('s'));
    expect(cell(await a.until('Z'))).toBe('here');
    a.send(...[...texts, 'deallocate s'].map((text) => wire.query(text)));
    for (let i = 0; i < 4; i++) await a.until('Z');
    expect(types(await a.until('Z'))).toBe('CZ');
    a.send(wire.parse('s', "select 'new'"), wire.sync());
    expect(types(await a.until('Z'))).toBe('1Z');
    // Closed between its Parse and its Execute: the name is gone once.
    a.send(wire.parse('', 'deallocate s'), wire.bind('', ''), wire.close('S', 's'), wire.execute(''), wire.sync());
    await a.until('Z');
    a.send(wire.parse('s', "select 'newest'"), ...use('s'));
    expect(cell(await a.until('Z'))).toBe('newest');
  });

  test('a statement whose columns were changed from outside is described once', async () => {
    await begin(`default_pool_size = 1\nsession_state = ${state}`);
    const direct = new pg.Client(server);
    await direct.connect();
    try {
      await direct.query(
        'drop table if exists changing; create table changing(a int); insert into changing values (1)',
      );
      const [a, b] = [await raw(), await raw()];
      const text = 'select * from changing where a = $1';
      const run = [wire.bind('', 'n', ['1']), wire.execute(''), wire.sync()];
      for (const client of [a, b]) {
        client.send(wire.parse('n', text), wire.describe('S', 'n'), wire.sync());
        expect(types(await client.until('Z'))).toBe('1tTZ');
        await direct.query(`alter table changing add ${client === a ? 'b' : 'c'} int default 7`);
      }
      a.send(wire.describe('S', 'n'), wire.sync());
      expect(types(await a.until('Z'))).toBe('tTZ');
      await direct.query('alter table changing add d int default 7');
      b.send(wire.describe('S', 'n'), ...run);
      expect(types(await b.until('Z'))).toBe('tT2DCZ');
    } finally {
      await direct.query('drop table if exists changing');
      await direct.end();
    }
  });

  test('in a failed transaction a Parse is refused, whether the server knows the text or not', async () => {
    await begin(`default_pool_size = 1\nsession_state = ${state}`);
    const [a, b] = [await raw(), await raw()];
    b.send(wire.parse('s', "select 'known'"), ...use('s'));
    expect(cell(await b.until('Z'))).toBe('known');
    a.send(wire.query('begin'), wire.query('select 1/0'));
    for (let i = 0; i < 2; i++) await a.until('Z');
    for (const sql of ["select 'known'", "select 'unknown'"]) {
      a.send(wire.parse('s', sql), wire.sync());
      expect(errorOf(await a.until('Z')).code).toBe('25P02');
    }
    a.send(wire.query('rollback'));
    await a.until('Z');
    a.send(...use('s'));
    expect(errorOf(await a.until('Z')).code).toBe('26000');
    b.send(...use('s'));
    expect(cell(await b.until('Z'))).toBe('known');
  });
});

test('node-postgres with named statements, many clients on two servers', async () => {
  await begin('pool_mode = transaction\ndefault_pool_size = 2\nmax_prepared_statements = 3');
  const work = async (k: number) => {
    const client: pg.Client = await clients.pg();
    for (let i = 0; i < 20; i++) {
      const n = (i * 7 + k) % 11;
      const { rows } = await client.query({ name: `q${n}`, text: `select ${n} + $1::int as n`, values: [k] });
      expect(rows).toEqual([{ n: n + k }]);
    }
  };
  await Promise.all([1, 2, 3, 4, 5, 6].map(work));
});

describe('a statement whose columns change', () => {
  const change = (round: number) => `alter table changing add column added_${round} int default ${round}`;

  async function table(): Promise<pg.Client> {
    const admin = await new Clients({ ...server }).pg();
    await admin.query(
      'drop table if exists changing; create table changing (first int); insert into changing values (1)',
    );
    return admin;
  }

  test('is parsed again and run again outside of a transaction: nobody notices', async () => {
    await begin('default_pool_size = 2\nserver_round_robin = 1');
    const admin = await table();
    const clientsOf = [await clients.pg(), await clients.pg()];
    const all = { name: 'all', text: 'select * from changing where first = $1', values: [1] };
    for (let round = 0; round < 4; round++) {
      for (let i = 0; i < 6; i++) {
        const { rows, fields } = await clientsOf[i % 2]!.query(all);
        expect(fields).toHaveLength(1 + round);
        expect(Object.values(rows[0])).toEqual([1, ...Array.from({ length: round }, (_, n) => n)]);
      }
      await admin.query(change(round));
    }
    await admin.end();
  });

  test('in a transaction the error is PostgreSQL’s, and afterwards the statement works again', async () => {
    await begin('default_pool_size = 1');
    const admin = await table();
    const client = await clients.pg();
    const all = { name: 'all', text: 'select * from changing' };
    await client.query(all);
    await admin.query(change(0));
    await client.query('begin');
    await expect(client.query(all)).rejects.toMatchObject({ code: '0A000' });
    await client.query('rollback');
    expect((await client.query(all)).fields).toHaveLength(2);
    await admin.end();
  });

  test('who does not ask for the columns gets the error, and has it parsed again under the next name', async () => {
    await begin('default_pool_size = 1');
    const admin = await table();
    const a = await raw();
    a.send(wire.parse('one', 'select * from changing'), wire.describe('S', 'one'), wire.sync());
    expect(types(await a.until('Z'))).toBe('1tTZ');
    await admin.query(change(0));
    a.send(...use('one'));
    const refused = await a.until('Z');
    expect(types(refused)).toBe('EZ');
    expect(errorOf(refused)!.code).toBe('0A000');
    a.send(wire.parse('two', 'select * from changing'), wire.describe('S', 'two'), wire.sync(), ...use('two'));
    expect(types(await a.until('Z'))).toBe('1tTZ');
    expect(types(await a.until('Z'))).toBe('2DCZ');
    await admin.end();
  });

  test('in a pipeline whose replies have begun nothing is run twice', async () => {
    await begin('default_pool_size = 1');
    const admin = await table();
    await admin.query('drop table if exists runs; create table runs (n int)');
    const a = await raw();
    a.send(
      wire.parse('w', 'insert into runs values (1) returning n'),
      wire.parse('all', 'select * from changing'),
      wire.sync(),
    );
    await a.until('Z');
    const pipeline = [
      wire.bind('', 'w'),
      wire.execute(''),
      wire.bind('', 'all'),
      wire.describe('P', ''),
      wire.execute(''),
      wire.sync(),
    ];
    a.send(...pipeline);
    expect(types(await a.until('Z'))).toBe('2DC2TDCZ');
    await admin.query(change(0));
    a.send(...pipeline);
    expect(types(await a.until('Z'))).toBe('2DCEZ');
    // The first insert stands, the second went back with its transaction.
    expect((await admin.query('select count(*)::int as n from runs')).rows).toEqual([{ n: 1 }]);
    a.send(...pipeline);
    expect(types(await a.until('Z'))).toBe('2DC2TDCZ');
    await admin.end();
  });
});

describe('max_prepared_statement_bytes', () => {
  const text = (i: number) => `select ${i} /* ${'x'.repeat(1000)} */`;

  test('texts that no client has a name for make room, on the servers too', async () => {
    await begin('default_pool_size = 1\nmax_prepared_statement_bytes = 12000');
    const a = await raw();
    for (let i = 0; i < 20; i++) {
      a.send(wire.parse('s', text(i)), ...use('s'));
      expect(types(await a.until('Z'))).toBe('12DCZ');
      a.send(wire.query('select count(*) from pg_prepared_statements'));
      expect(Number(cell(await a.until('Z')))).toBeLessThan(5);
      a.send(wire.close('S', 's'), wire.sync());
      expect(types(await a.until('Z'))).toBe('3Z');
    }
  });

  test('texts with names stay; one more is refused by name of the setting, in its place in the pipeline', async () => {
    await begin('default_pool_size = 1\nmax_prepared_statement_bytes = 12000');
    const [a, b] = [await raw(), await raw()];
    for (let i = 0; i < 4; i++) {
      a.send(wire.parse(`s${i}`, text(i)), wire.sync());
      expect(types(await a.until('Z'))).toBe('1Z');
    }
    b.send(wire.query('select 1'), wire.parse('t', text(9)), ...use('t'), wire.query('select 2'));
    expect(types(await b.until('Z'))).toBe('TDCZ');
    const refused = await b.until('Z');
    expect(types(refused)).toBe('EZ');
    expect(errorOf(refused)).toMatchObject({
      code: '53400',
      message: expect.stringMatching(/max_prepared_statement_bytes/),
    });
    expect(types(await b.until('Z'))).toBe('TDCZ');
    // The same text needs no room of its own.
    b.send(wire.parse('t', text(1)), ...use('t'));
    expect(cell(await b.until('Z'))).toBe('1');
    for (let i = 0; i < 4; i++) {
      a.send(...use(`s${i}`));
      expect(cell(await a.until('Z'))).toBe(String(i));
    }
    a.send(wire.terminate());
    // Its names are gone, and with them the texts.
    for (let done = false; !done; ) {
      b.send(wire.parse('t2', text(9)), ...use('t2'));
      done = types(await b.until('Z')) === '12DCZ';
    }
  });

  test('statements that nobody else may have count as well, until their names are gone', async () => {
    await begin('default_pool_size = 1\nmax_prepared_statement_bytes = 12000');
    const a = await raw();
    const parsed = async (i: number) => {
      a.send(
        wire.query(`set datestyle = '${i % 2 ? 'iso, dmy' : 'iso, mdy'}'`),
        wire.parse(`n${i}`, text(i)),
        wire.sync(),
      );
      await a.until('Z');
      return types(await a.until('Z'));
    };
    let held = 0;
    while ((await parsed(held)) === '1Z') held++;
    expect(held).toBeGreaterThan(2);
    expect(held).toBeLessThan(6);
    for (let i = 0; i < held; i++) a.send(wire.close('S', `n${i}`));
    a.send(wire.sync());
    await a.until('Z');
    expect(await parsed(100)).toBe('1Z');
  });

  test('short ones count with what they take beside their text', async () => {
    await begin('default_pool_size = 1\nmax_prepared_statement_bytes = 12000');
    const a = await raw();
    for (let i = 0; i < 100; i++) a.send(wire.parse(`s${i}`, `select ${i}`));
    a.send(wire.sync());
    expect(types(await a.until('Z'))).toMatch(/^1{10,20}EZ$/);
  });

  test('a text that cannot have room is refused before it is here, and passed over', async () => {
    await begin('default_pool_size = 1\nmax_prepared_statement_bytes = 12000');
    const a = await raw();
    const long = wire.parse('long', `select 1 /* ${'x'.repeat(1_000_000)} */`);
    a.send(long.subarray(0, 100));
    const refused = await a.until('E');
    expect(errorOf(refused)).toMatchObject({ code: '53400' });
    a.send(long.subarray(100), wire.sync(), wire.query('select 7'));
    expect(types(await a.until('Z'))).toBe('Z');
    expect(cell(await a.until('Z'))).toBe('7');
  });

  test.each([0, 1, 5, 6, 7])('a long unnamed one is none of it, in a packet of %i bytes and the rest', async (cut) => {
    await begin('default_pool_size = 1\nmax_prepared_statement_bytes = 12000');
    const a = await raw();
    const long = wire.parse('', `select 1 /* ${'x'.repeat(1_000_000)} */`);
    a.send(long.subarray(0, cut));
    await new Promise((resolve) => setTimeout(resolve, 20));
    a.send(long.subarray(cut), ...use(''));
    expect(types(await a.until('Z'))).toBe('12DCZ');
  });
});

describe('names of prepared statements', () => {
  test('errors that speak of something else are left as they are', async () => {
    await begin('default_pool_size = 1');
    const a = await raw();
    a.send(wire.parse('mine', 'select 1'), ...use('mine'));
    await a.until('Z');
    const raising = `do $$ begin raise exception 'odd "PGBOUNCER_1"' using errcode = '26000', table = 't', column = 'c'; end $$`;
    a.send(wire.parse('', raising), ...use(''));
    const { body } = (await a.until('Z')).find(({ type }) => type === 'E')!;
    const fields = body.toString('latin1');
    for (const field of ['Modd "PGBOUNCER_1"', 'tt', 'cc', 'Rexec_stmt_raise'])
      expect(fields.split('\0')).toContain(field);
  });

  test('names are bytes, and all that else is in an error stays', async () => {
    await begin('default_pool_size = 1');
    const a = await raw();
    const { raw: direct } = await RawClient.login(server);
    const told: string[] = [];
    for (const at of [direct, a]) {
      at.send(wire.parse('\u00e9', 'select 1'), wire.sync(), wire.parse('\u00e9', 'select 1'), wire.sync());
      expect(types(await at.until('Z'))).toBe('1Z');
      const [error] = await at.until('Z');
      told.push(error!.body.toString());
    }
    direct.end();
    expect(told[1]).toBe(told[0]);
  });

  test('a portal whose name is longer than any ends its client', async () => {
    await begin('default_pool_size = 1');
    const [a, b] = [await raw(), await raw()];
    a.send(wire.parse('secret', "select 'of a'"), wire.sync());
    await a.until('Z');
    b.send(wire.bind('p'.repeat(300_000), 'PGBOUNCER_1'), wire.execute('p'.repeat(9000)), wire.sync());
    expect(errorOf(await b.until('E'))).toMatchObject({ severity: 'FATAL', code: '08P01' });
    a.send(...use('secret'));
    expect(cell(await a.until('Z'))).toBe('of a');
  });

  test('errors speak of them as the client does', async () => {
    await begin('default_pool_size = 1');
    const a = await raw();
    a.send(wire.parse('mine', 'select $1::int'), wire.sync());
    await a.until('Z');
    a.send(wire.parse('mine', 'select 2'), wire.sync());
    expect(errorOf(await a.until('Z'))).toMatchObject({
      severity: 'ERROR',
      code: '42P05',
      message: 'prepared statement "mine" already exists',
    });
    a.send(...use('mine'));
    expect(errorOf(await a.until('Z'))).toMatchObject({
      code: '08P01',
      message: expect.stringMatching(/"mine" requires 1/),
    });
  });

  test('those of one client are bounded, and it is told so', async () => {
    await begin('default_pool_size = 1');
    const a = await raw();
    const names = Array.from({ length: 1000 }, (_, i) => String(i).padEnd(9000, 'x'));
    for (const name of names) a.send(wire.parse(name, 'select 1'));
    a.send(wire.sync());
    const answers = await a.until('Z');
    expect(types(answers)).toMatch(/^1{900,930}EZ$/);
    expect(errorOf(answers)).toMatchObject({ code: '53400', message: expect.stringMatching(/names .* exceed 8 MB/) });
    // Room comes back with a name that is closed.
    a.send(wire.close('S', names[0]!), wire.parse(names[999]!, 'select 2'), ...use(names[999]!));
    expect(types(await a.until('Z'))).toBe('312DCZ');
  });

  test('one longer than 64 kB is refused', async () => {
    await begin('default_pool_size = 1');
    const a = await raw();
    a.send(wire.parse('x'.repeat(70_000), 'select 1'), wire.sync());
    const refused = await a.until('Z');
    expect(types(refused)).toBe('EZ');
    expect(errorOf(refused)).toMatchObject({ code: '53400' });
  });

  test('long ones can be described, closed and asked for in vain', async () => {
    await begin('default_pool_size = 1');
    const a = await raw();
    const [known, unknown] = ['x'.repeat(40_000), 'y'.repeat(40_000)];
    a.send(wire.parse(known, 'select 1'), wire.describe('S', known), ...use(known));
    expect(types(await a.until('Z'))).toBe('1tT2DCZ');
    for (const asked of [wire.describe('S', unknown), wire.bind('', unknown)]) {
      a.send(asked, wire.sync());
      expect(errorOf(await a.until('Z'))).toMatchObject({ severity: 'ERROR', code: '26000' });
    }
    a.send(wire.close('S', known), wire.close('S', unknown), wire.sync());
    expect(types(await a.until('Z'))).toBe('33Z');
  });

  test('messages that need not be long end their client, as with PostgreSQL, and cost no server', async () => {
    await begin('default_pool_size = 1');
    const [a, b] = [await raw(), await raw()];
    const pid = async () => {
      b.send(wire.query('select pg_backend_pid()'));
      return cell(await b.until('Z'));
    };
    const before = await pid();
    // The length counts itself, the NUL and the number of rows.
    a.send(wire.execute('x'.repeat(10_000 - 9)), wire.sync());
    expect(errorOf(await a.until('Z'))).toMatchObject({ code: '34000' });
    a.send(wire.execute('x'.repeat(10_000 - 8)), wire.sync());
    expect(errorOf(await a.until('E'))).toMatchObject({ severity: 'FATAL', code: '08P01' });
    expect(await pid()).toBe(before);
  });
});
