/**
 * Everything at once, for as long as one likes: applications of all kinds in transaction and session mode, while servers are terminated,
 * PostgreSQL is restarted, new processes take over and an operator reloads, pauses, reconnects and kills. Each application checks its own answers; at the end nothing
 * may be left. SLUICE_SOAK_SECONDS=n runs for longer (`npm run soak`), SLUICE_SOAK_SEED=n begins with that seed.
 */
import { chmodSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type EmbeddedPostgres, startEmbedded } from '../packages/sluice/src/embedded/postgres.ts';
import { APPLICATIONS, isExplained, type Worker } from './support/applications.ts';
import { Authority, OPENSSL } from './support/certificates.ts';
import { Place, until } from './support/place.ts';
import { Random } from './support/random.ts';
import { ON_BUN, startSluice } from './support/sluice.ts';

const SECONDS = Number(process.env.SLUICE_SOAK_SECONDS ?? 8);
const SEED = Number(process.env.SLUICE_SOAK_SEED ?? 1);
const WORKERS = 24;
/** The order of the first ones. */
const FAULTS = [8, 1, 4, 7, 3, 6, 8, 2, 5];
/** Longer than anything that is waited for. */
const HANG_MS = 60_000;

const dir = mkdtempSync(join(tmpdir(), 'sluice-soak-'));
let server: EmbeddedPostgres;
let pooler: Pooler;

/** A daemon, or the one that has taken its place. */
interface Pooler {
  readonly port: number;
  pid(): number;
  log(): string;
  /** Resolves when the one before it has ended; null: processes are not taken over here. */
  takeOver: (() => Promise<unknown>) | null;
  stop(): Promise<void>;
}

async function begin(): Promise<Pooler> {
  const at = `host=${server.host} port=${server.port} dbname=postgres`;
  const databases = `transactions = ${at}\nsessions = ${at} pool_mode=session pool_size=6`;
  const settings = `admin_users = ${server.user}\nsession_state = follow\ndefault_pool_size = 5\nreserve_pool_size = 1\nreserve_pool_timeout = 1
query_wait_timeout = 25\nmax_prepared_statements = 8\nprepare_threshold = 3\nserver_lifetime = 3\nserver_idle_timeout = 2
server_check_delay = 0.2\nserver_login_retry = 0.3\nlog_connections = 0\nlog_disconnections = 0\n${tls()}`;
  if (ON_BUN || process.platform !== 'linux') {
    const sluice = await startSluice(server, { databases, settings });
    const { port, pid } = sluice;
    return { port, pid: () => pid, log: () => sluice.output(), takeOver: null, stop: () => sluice.stop() };
  }
  const place = new Place(coordinates(server.port));
  await place.begin(`${settings}\n[databases]\n${databases}\n`);
  let newest = 0;
  return {
    port: place.port,
    pid: () => place.pid(newest),
    log: () => place.log(),
    takeOver: async () => {
      await place.takeOver();
      await place.ended(newest++);
    },
    stop: () => place.stop(),
  };
}

function tls(): string {
  if (!OPENSSL) return '';
  const { key, cert } = new Authority(dir, 'ours').issue('localhost');
  chmodSync(key, 0o644);
  return `client_tls_sslmode = allow\nclient_tls_key_file = ${key}\nclient_tls_cert_file = ${cert}`;
}

beforeAll(async () => {
  chmodSync(dir, 0o755);
  server = await startEmbedded({ dataDir: join(dir, 'pg'), throwaway: true });
  pooler = await begin();
  const direct = new pg.Client(coordinates(server.port));
  await direct.connect();
  await direct.query(`create table soak_counts (id int primary key, n int not null); create table soak_in (id int, i int);
    insert into soak_counts select g, 0 from generate_series(-9, ${WORKERS}) g`);
  await direct.end();
});
afterAll(async () => {
  await pooler?.stop();
  await server?.stop('immediate');
  rmSync(dir, { recursive: true, force: true });
});

function coordinates(port: number, database = 'postgres') {
  const { host, user, password } = server;
  return { host, port, user, password, database };
}

async function onConsole<T>(use: (console: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client(coordinates(pooler.port, 'pgbouncer'));
  client.on('error', () => {});
  await client.connect();
  try {
    return await use(client);
  } finally {
    await client.end();
  }
}

const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** What is opened with the first of its kind is no leak. */
async function once(database: string): Promise<void> {
  const client = new pg.Client(coordinates(pooler.port, database));
  await client.connect();
  await client.query('select 1');
  await client.end();
}

async function fault(random: Random, which: number): Promise<string> {
  const command = (text: string) => onConsole((console) => console.query(text)).then(() => text);
  switch (which) {
    case 0:
    case 1: {
      const direct = new pg.Client(coordinates(server.port));
      await direct.connect();
      await direct.query(
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'soak%' order by random() limit 2",
      );
      await direct.end();
      return 'pg_terminate_backend';
    }
    case 2:
      return command('RELOAD');
    case 3:
      return command('RECONNECT');
    case 4:
      await onConsole(async (console) => {
        const paused = console.query('PAUSE').catch(() => {});
        await wait(random.below(300));
        await onConsole((other) => other.query('RESUME')).catch(() => {});
        await paused;
      });
      return 'PAUSE, RESUME';
    case 5:
      return onConsole(async (console) => {
        const { rows } = await console.query('show clients');
        const one = rows.find(({ database }) => database !== 'pgbouncer');
        if (one !== undefined) await console.query(`kill_client ${one.id}`).catch(() => {});
        return 'KILL_CLIENT';
      });
    case 6:
      await onConsole(async (console) => {
        await console.query('KILL sessions');
        await console.query('RESUME sessions');
      });
      return 'KILL';
    case 7:
      await server.stop('fast');
      await wait(random.below(300));
      await server.start();
      return 'restart of PostgreSQL';
    case 8:
      await pooler.takeOver?.();
      return 'take-over';
    default:
      return 'nothing';
  }
}

const descriptors = () => (process.platform === 'linux' ? readdirSync(`/proc/${pooler.pid()}/fd`).length : 0);

test(
  'everything at once: nobody gets a wrong answer, and nothing is left behind',
  async () => {
    await Promise.all(['transactions', 'sessions'].map((database) => once(database)));
    const before = descriptors();
    const end = Date.now() + SECONDS * 1000;
    const counts: Record<string, { done: number; explained: number }> = {};
    let broken: Error | null = null;
    const fail = (what: string, error: unknown) => {
      broken ??= new Error(`seed ${SEED}: ${what}: ${(error as Error)?.stack ?? error}`);
    };
    const over = () => broken !== null || Date.now() > end;

    const work = async (id: number) => {
      const random = new Random(SEED * 1_000 + id);
      const at = (database: string) => coordinates(pooler.port, database);
      const worker = { id, random, count: 0, unsure: 0, at: at('transactions'), ssl: false } as {
        -readonly [K in keyof Worker]: Worker[K];
      };
      while (!over()) {
        const name = random.pick(Object.keys(APPLICATIONS));
        worker.at = at(random.below(4) === 0 ? 'sessions' : 'transactions');
        worker.ssl = OPENSSL && random.below(3) === 0 ? { rejectUnauthorized: false } : false;
        const count = (counts[name] ??= { done: 0, explained: 0 });
        const timer = setTimeout(() => fail(`${name} in ${worker.at.database} hangs`, null), HANG_MS);
        try {
          await APPLICATIONS[name]!(worker);
          count.done++;
        } catch (error) {
          if (isExplained(error)) count.explained++;
          else fail(`${name} in ${worker.at.database}`, error);
        } finally {
          clearTimeout(timer);
        }
      }
    };
    const disturb = async () => {
      const random = new Random(SEED);
      // Each once, and then as it comes.
      for (let i = 0; !over(); i++) {
        await wait(100 + random.below(i < FAULTS.length ? 300 : 900));
        await fault(random, FAULTS[i] ?? random.below(10)).catch((error) => fail('a fault', error));
      }
    };
    await Promise.all([...Array.from({ length: WORKERS }, (_, id) => work(id)), disturb()]);
    if (SECONDS > 60) process.stdout.write(`${JSON.stringify(counts)}\n`);
    if (broken !== null) throw broken;

    for (const [name, { done, explained }] of Object.entries(counts)) expect(done + explained, name).toBeGreaterThan(0);
    // Whoever vanished last is rolled back, and the servers go when they are idle long enough.
    await onConsole((console) =>
      until(async () => {
        const { rows } = await console.query('show lists');
        const items = Object.fromEntries(rows.map(({ list, items }) => [list, items]));
        return (
          items.used_clients === 1 && items.login_clients === 0 && items.used_servers === 0 && items.free_servers === 0
        );
      }),
    );
    await until(() => descriptors() <= before + 2);
    expect(pooler.log()).not.toMatch(/bug:|internal error|unknown pkt/);
  },
  SECONDS * 1_000 + 3 * HANG_MS,
);
