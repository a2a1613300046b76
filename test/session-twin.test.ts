/**
 * session_state = follow against the real thing: clients do at random what applications do to their sessions, each one twice, over a
 * pool of two servers that it shares with the others and over a connection of its own. Every result must be the same.
 */
import fc from 'fast-check';
import type pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Clients } from './support/clients.ts';
import { postgres } from './support/postgres.ts';
import { type Sluice, startSluice } from './support/sluice.ts';

const server = postgres();
const SEED = Number(process.env.SLUICE_FUZZ_SEED ?? 20_261_121);
const STEPS = Number(process.env.SLUICE_FUZZ_STEPS ?? 250);
const CLIENTS = 5;
const TWIN = 'session_twin';

let sluice: Sluice;
let pooled: Clients;
let direct: Clients;

beforeAll(async () => {
  sluice = await startSluice(server, {
    databases: `* = host=${server.host} port=${server.port}`,
    settings: 'default_pool_size = 6\nserver_round_robin = 1\nsession_state = follow\nserver_check_delay = 0',
  });
  pooled = new Clients({ ...server, port: sluice.port });
  direct = new Clients({ ...server, database: TWIN });
  const admin = await new Clients({ ...server }).pg();
  await admin.query(`drop database if exists ${TWIN}`);
  await admin.query(`create database ${TWIN}`);
  await admin.end();
});
afterAll(async () => {
  await pooled.end();
  await direct.end();
  await sluice.stop();
});

const pick = <T>(...values: T[]) => fc.constantFrom(...values);
const setting = pick(
  'statement_timeout = 60000',
  "work_mem = '5MB'",
  "work_mem = '6MB'",
  "app.a = 'x'",
  "app.a = 'it''s ''Ω'' \\'",
  "app.b = ''",
  'enable_seqscan = off',
  "search_path = 'pg_catalog'",
  'search_path to default',
  "datestyle = 'SQL, DMY'",
  "timezone = 'Asia/Tokyo'",
  "application_name = 'twin'",
  'client_min_messages = error',
  'no_such_setting = 1',
  'work_mem = nonsense',
);
const statement = fc.oneof(
  setting.map((text) => `set ${text}`),
  setting.map((text) => `set local ${text}`),
  pick('work_mem', 'app.a', 'all', 'search_path', 'timezone').map((name) => `reset ${name}`),
  pick('true', 'false').map((local) => `select set_config('app.b', 'set', ${local})`),
  pick('begin', 'begin', 'commit', 'commit', 'rollback', 'savepoint s', 'rollback to s', 'begin; select 1; commit'),
  pick('set role pg_monitor', 'set role pg_read_all_data', 'reset role', 'set role none', 'set local role pg_monitor'),
  pick(
    'prepare p as select 1',
    "prepare p as select 'two', coalesce(current_setting('app.a', true), '')",
    'prepare q (int) as select $1 + 1',
  ),
  pick('deallocate p', 'deallocate all', 'discard plans', 'discard temp', 'discard all'),
  pick(
    'create temp table t (a int)',
    'create temp table if not exists t (a int) on commit drop',
    'insert into t values (1)',
    'drop table if exists t',
  ),
  pick('declare c cursor with hold for select generate_series(1, 3)', 'fetch 1 from c', 'close c', 'close all'),
  pick('select pg_try_advisory_lock(77)', 'select pg_advisory_unlock(77)', 'select pg_advisory_unlock_all()'),
  pick(
    "do $$ begin perform set_config('app.a', 'by do', false); end $$",
    "set app.a = '1'; select 1/0",
    "select 1; set app.b = 'late'",
  ),
  pick('set session characteristics as transaction read only', 'set session characteristics as transaction read write'),
  pick('select 1', 'update pg_class set relname = relname where false', 'select 1/0'),
);
const PROBES = [
  "select current_setting('work_mem'), current_setting('statement_timeout'), current_setting('enable_seqscan'), current_setting('client_min_messages')",
  "select coalesce(current_setting('app.a', true), ''), coalesce(current_setting('app.b', true), '')",
  "select current_setting('search_path'), current_setting('timezone'), current_setting('datestyle'), current_setting('application_name')",
  "select current_user, session_user, current_setting('role'), current_setting('default_transaction_read_only')",
  'execute p',
  'execute q(41)',
  'select count(*) from t',
  'select name from pg_catalog.pg_prepared_statements where from_sql order by 1',
  "select count(*) from pg_catalog.pg_locks where locktype = 'advisory' and pid = pg_catalog.pg_backend_pid()",
];

/** Rows as text, or the error's code; `null` for what only tells the twins apart. */
async function outcome(client: pg.Client, sql: string): Promise<string> {
  try {
    const result = (await client.query(sql)) as unknown as pg.QueryResult | pg.QueryResult[];
    return JSON.stringify([result].flat().map(({ command, rows }) => [command, rows]));
  } catch (error) {
    return (error as { code?: string }).code ?? (error as Error).message;
  }
}

test(`over a pool everything is as on a connection of one's own (seed ${SEED})`, { timeout: 120_000 }, async () => {
  const pairs = [];
  for (let i = 0; i < CLIENTS; i++) {
    const config = { options: `-c lock_timeout=${1000 + i} -c app.given=${i}` };
    pairs.push({ here: await pooled.pg(config), there: await direct.pg(config) });
  }
  const script = fc.sample(fc.tuple(fc.nat(CLIENTS - 1), statement, fc.nat(PROBES.length - 1)), {
    numRuns: STEPS,
    seed: SEED,
  });
  const done: string[] = [];
  for (const [who, sql, probe] of script) {
    const { here, there } = pairs[who]!;
    for (const text of [sql, PROBES[probe]!]) {
      done.push(`${who}: ${text}`);
      const [mine, theirs] = [await outcome(here, text), await outcome(there, text)];
      expect(
        mine,
        `seed ${SEED}, the last of:\n${done
          .filter((line) => line.startsWith(`${who}:`))
          .slice(-30)
          .join('\n')}`,
      ).toBe(theirs);
    }
  }
});
