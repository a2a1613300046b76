/** Real clients doing real work: psql, pgbench, node-postgres, postgres.js. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { Clients } from './support/clients.ts';
import { postgres } from './support/postgres.ts';
import { PGBENCH, PSQL, runProgram } from './support/programs.ts';
import { type Sluice, startSluice } from './support/sluice.ts';

const server = postgres();
let sluice: Sluice;
let clients: Clients;

beforeAll(async () => {
  sluice = await startSluice(server, {
    settings: 'default_pool_size = 5\nignore_startup_parameters = extra_float_digits',
  });
  clients = new Clients({ ...server, port: sluice.port });
});

afterEach(() => clients.end());
afterAll(() => sluice.stop());

const pooled = () => ({ ...server, port: sluice.port });

describe.runIf(PSQL !== null)('psql', () => {
  test('runs a script with several statements, errors and \\copy', async () => {
    const script = `
      create table if not exists psql_t (a int primary key, b text);
      truncate psql_t;
      \\copy psql_t from stdin
1\tone
2\ttwo
\\.
      select b from psql_t order by a;
      select 1/0;
      begin; insert into psql_t values (1, 'again'); commit;
      select count(*) as n from psql_t;
      select 1 as x \\; select 2 as y;
      \\copy psql_t to stdout
`;
    const { stdout, stderr } = await runProgram(PSQL!, ['-X', '-q', '-A', '-t', '-f', '-'], pooled(), script);
    expect(stdout).toBe('one\ntwo\n2\n1\n2\n1\tone\n2\ttwo\n');
    expect(stderr).toMatch(/division by zero/);
    expect(stderr).toMatch(/duplicate key/);
  });

  test('reports an unknown database and a wrong password as PostgreSQL would', async () => {
    const wrong = await runProgram(PSQL!, ['-c', 'select 1'], { ...pooled(), password: 'wrong' });
    expect(wrong.code).not.toBe(0);
    expect(wrong.stderr).toMatch(/SASL authentication failed/);
    const missing = await runProgram(PSQL!, ['-c', 'select 1'], { ...pooled(), database: 'nowhere' });
    expect(missing.stderr).toMatch(/database "nowhere" does not exist/);
  });
});

describe.runIf(PGBENCH !== null)('pgbench', () => {
  beforeAll(async () => {
    const made = await runProgram(PGBENCH!, ['-i', '-q', '-s', '1'], pooled());
    expect(made.stderr).toMatch(/done in/);
  });

  // A thread a client: pgbench prepares with a blocking call, which would wait for its own other clients' transactions.
  test.each(['simple', 'extended', 'prepared'])(
    'runs its own transactions in %s mode with more clients than servers',
    async (mode) => {
      const { code, stdout, stderr } = await runProgram(
        PGBENCH!,
        ['-M', mode, '-c', '20', '-j', '20', '-t', '50', '-n'],
        pooled(),
      );
      expect(stderr).not.toMatch(/error|aborted/i);
      expect(code).toBe(0);
      expect(stdout).toMatch(/number of transactions actually processed: 1000\/1000/);
    },
  );

  test('leaves the books balanced', async () => {
    const client = await clients.pg();
    const { rows } = await client.query(
      'select (select sum(abalance) from pgbench_accounts)::int a, (select sum(bbalance) from pgbench_branches)::int b, (select sum(tbalance) from pgbench_tellers)::int t, (select sum(delta) from pgbench_history)::int h',
    );
    expect(new Set(Object.values(rows[0])).size).toBe(1);
  });
});

describe('node-postgres', () => {
  test('sends and receives large values', async () => {
    const client = await clients.pg();
    const text = 'x'.repeat(5_000_000);
    const { rows } = await client.query('select length($1) as sent, repeat($2, 3000000) as got', [text, 'ab']);
    expect([rows[0].sent, rows[0].got.length]).toEqual([5_000_000, 6_000_000]);
  });

  test('gets a hundred thousand rows', async () => {
    const client = await clients.pg();
    const { rows } = await client.query('select g from generate_series(1, 100000) g');
    expect([rows.length, rows.at(-1).g]).toEqual([100_000, 100_000]);
  });

  test('hears notices', async () => {
    const client = await clients.pg();
    const heard = new Promise((resolve) => client.once('notice', (notice) => resolve(notice.message)));
    await client.query("do $$ begin raise notice 'mind the gap'; end $$");
    expect(await heard).toBe('mind the gap');
  });

  test('its Pool runs many transactions at once, each on one server', async () => {
    const sql = clients.sql({ max: 30 });
    const results = await Promise.all(
      Array.from({ length: 200 }, () =>
        sql.begin(async (tx) => {
          const [a] = await tx`select pg_backend_pid() as pid, txid_current() as tx`;
          const [b] = await tx`select pg_backend_pid() as pid, txid_current() as tx`;
          return a!.pid === b!.pid && a!.tx === b!.tx;
        }),
      ),
    );
    expect(results.every(Boolean)).toBe(true);
  });
});

describe('postgres.js', () => {
  test('pipelines hundreds of queries over few connections, answers in order', async () => {
    const sql = clients.sql({ max: 3 });
    const rows = await Promise.all(Array.from({ length: 600 }, (_, i) => sql`select ${i}::int as n`));
    expect(rows.map((row) => row[0]!.n)).toEqual(Array.from({ length: 600 }, (_, i) => i));
  });

  test('an error in the middle of a pipeline hits its own query only', async () => {
    const sql = clients.sql({ max: 1 });
    const results = await Promise.allSettled(
      Array.from({ length: 40 }, (_, i) => (i % 4 === 3 ? sql`select ${i}::int / 0 as n` : sql`select ${i}::int as n`)),
    );
    results.forEach((result, i) => {
      if (i % 4 === 3) expect(result).toMatchObject({ status: 'rejected', reason: { code: '22012' } });
      else expect(result).toMatchObject({ status: 'fulfilled', value: [{ n: i }] });
    });
  });

  test('copies in and out', async () => {
    const sql = clients.sql({ max: 2 });
    await sql`create table if not exists copied (a int, b text)`;
    await sql`truncate copied`;
    const sink = await sql`copy copied from stdin`.writable();
    await new Promise<void>((resolve, reject) => {
      sink.on('finish', () => resolve());
      sink.on('error', reject);
      for (let i = 0; i < 50_000; i++) sink.write(`${i}\tline number ${i}\n`);
      sink.end();
    });
    expect((await sql`select count(*)::int as n, sum(a)::bigint as s from copied`)[0]).toMatchObject({
      n: 50_000,
      s: '1249975000',
    });
    let bytes = 0;
    for await (const chunk of await sql`copy copied to stdout`.readable()) bytes += chunk.length;
    expect(bytes).toBe(1_177_780);
  });
});
