/** What goes wrong in the field: clients that vanish, servers that restart, die or hang. Nobody gets a wrong result. */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cancelRequest, copyData, parse, query, sync, terminate } from '@sluice/wire';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { type EmbeddedPostgres, startEmbedded } from '../packages/sluice/src/embedded/postgres.ts';
import { Clients } from './support/clients.ts';
import { until } from './support/place.ts';
import { postgres } from './support/postgres.ts';
import { FaultyProxy } from './support/proxy.ts';
import { cell, errorOf, keyOf, RawClient, types } from './support/raw.ts';
import { type Sluice, startSluice } from './support/sluice.ts';

const server = postgres();

describe('a client whose answer is cut short', () => {
  let sluice: Sluice;
  let clients: Clients;
  beforeAll(async () => {
    sluice = await startSluice(server, { settings: `default_pool_size = 3\nadmin_users = ${server.user}` });
    clients = new Clients({ ...server, port: sluice.port });
  });
  afterAll(async () => {
    await clients.end();
    await sluice.stop();
  });

  /** Where in a message the cut falls is chance. */
  test.each([
    ['its client is killed', 'kill_client'],
    ['its server is terminated', 'terminate'],
  ])('is told nothing that it would take for the rest of a row: %s', async (_what, how) => {
    const [operator, admin] = [await clients.pg({ database: 'pgbouncer' }), await clients.pg()];
    for (let i = 0; i < 12; i++) {
      const { raw } = await RawClient.login({ ...server, port: sluice.port }, { application_name: 'victim' });
      const row = `row-${'abcdefghij'.repeat(9 + i)}-end`;
      raw.send(query(`select '${row}' from generate_series(1, 300000)`));
      await raw.until('D');
      raw.socket.pause();
      if (how === 'terminate')
        await admin.query("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'victim'");
      else {
        const { rows } = await operator.query('show clients');
        await operator.query(`kill_client ${rows.find((one) => one.application_name === 'victim').id}`);
      }
      raw.socket.resume();
      const messages = await raw.until('nothing');
      const rows = messages.filter(({ type }) => type === 'D');
      expect(new Set(rows.map(({ body }) => body.toString('latin1', 6)))).toEqual(new Set([row]));
      expect(types(messages)).toMatch(/^D*E?$/);
    }
  });
});

test('a client whose server ends before it has sent a whole message is told so, and that is its end', async () => {
  const sluice = await startSluice(server, { settings: `default_pool_size = 1\nadmin_users = ${server.user}` });
  const admin = new Clients(server);
  try {
    const operator = await admin.pg({ port: sluice.port, database: 'pgbouncer' });
    const { raw } = await RawClient.login({ ...server, port: sluice.port });
    const [message, rest] = [parse('', 'select 7'), query('select 8')];
    raw.send(message.subarray(0, 9));
    const active = async () => (await operator.query('show servers')).rows.find(({ state }) => state === 'active');
    await until(async () => (await active()) !== undefined);
    await (await admin.pg()).query('select pg_terminate_backend($1)', [(await active()).remote_pid]);
    expect(errorOf(await raw.until('nothing'))).toMatchObject({ severity: 'FATAL', code: '57P01' });
    raw.send(message.subarray(9), rest);
    expect(await raw.next()).toBeNull();
  } finally {
    await admin.end();
    await sluice.stop();
  }
});

describe('a client that vanishes', () => {
  let sluice: Sluice;
  let clients: Clients;
  beforeAll(async () => {
    sluice = await startSluice(server, { settings: 'default_pool_size = 1' });
    clients = new Clients({ ...server, port: sluice.port });
    const admin = await clients.pg();
    await admin.query('create table if not exists vanish (n int)');
    await admin.query('truncate vanish');
    await clients.end();
  });
  afterEach(() => clients.end());
  afterAll(() => sluice.stop());

  const at = () => ({ ...server, port: sluice.port });
  const rows = async () => {
    const next = await clients.pg();
    const { rows: found } = await next.query(
      "select count(*)::int as n, current_setting('transaction_isolation') as i from vanish",
    );
    return found[0];
  };

  test('in an open transaction: it is rolled back', async () => {
    const { raw } = await RawClient.login(at());
    raw.send(query('begin isolation level serializable; insert into vanish values (1)'));
    await raw.until('Z');
    raw.end();
    expect(await rows()).toEqual({ n: 0, i: 'read committed' });
  });

  test.each([
    ['by a Terminate', (raw: RawClient) => raw.send(terminate())],
    ['by its socket', (raw: RawClient) => raw.end()],
  ])('in a transaction, %s: what a ROLLBACK leaves in the session is gone, too', async (_how, leave) => {
    const { raw } = await RawClient.login(at());
    raw.send(query("begin; select pg_advisory_lock(4711); prepare left_over as select 1; set application_name = 'x'"));
    await raw.until('Z');
    leave(raw);
    const next = await clients.pg();
    const locks = "select count(*)::int as n from pg_locks where locktype = 'advisory' and objid = 4711";
    expect((await next.query(locks)).rows).toEqual([{ n: 0 }]);
    await next.query('prepare left_over as select 2');
    await next.query('deallocate left_over');
  });

  test.each([
    '',
    'session_state = follow',
    'server_reset_query_always = 1\nserver_reset_query = RESET ALL',
    'pool_mode = session\nserver_reset_query =',
  ])('in a transaction: what connect_query has set holds for the next one (%s)', async (settings) => {
    const own = await startSluice(server, {
      databases: `* = host=${server.host} port=${server.port} pool_size=1 connect_query='set role pg_monitor; set enable_sort = off'`,
      settings,
    });
    const others = new Clients({ ...server, port: own.port });
    const seen = "select current_user::text as who, current_setting('enable_sort') as sort";
    const set = [{ who: 'pg_monitor', sort: 'off' }];
    const first = await others.pg();
    expect((await first.query(seen)).rows).toEqual(set);
    await first.end();
    const { raw } = await RawClient.login({ ...server, port: own.port });
    raw.send(query('begin; select pg_advisory_lock(4712)'));
    await raw.until('Z');
    raw.end();
    expect((await (await others.pg()).query(seen)).rows).toEqual(set);
    await others.end();
    await own.stop();
  });

  test('in a failed transaction', async () => {
    const { raw } = await RawClient.login(at());
    raw.send(query('begin; select 1/0'));
    await raw.until('Z');
    raw.end();
    expect(await rows()).toMatchObject({ n: 0 });
  });

  test('in the middle of a COPY', async () => {
    const { raw } = await RawClient.login(at());
    raw.send(query('copy vanish from stdin'));
    await raw.until('G');
    raw.send(copyData(new TextEncoder().encode('1\n2\n')));
    raw.end();
    expect(await rows()).toMatchObject({ n: 0 });
  });

  test('half-way through a message', async () => {
    const { raw } = await RawClient.login(at());
    raw.send(query(`insert into vanish select ${'1 + '.repeat(20_000)} 1`).subarray(0, 50_000));
    await new Promise<void>((resolve) => raw.socket.end(() => resolve()));
    expect(await rows()).toMatchObject({ n: 0 });
  });

  test('with an extended exchange that has no Sync yet', async () => {
    const { raw } = await RawClient.login(at());
    raw.send(parse('', 'insert into vanish values (1)'));
    raw.end();
    expect(await rows()).toMatchObject({ n: 0 });
  });

  test('while its query runs: the query is stopped', async () => {
    const { raw } = await RawClient.login(at());
    raw.send(query('begin; insert into vanish values (1); select pg_sleep(600); commit'));
    await new Promise<void>((resolve) => raw.socket.end(() => resolve()));
    expect(await rows()).toMatchObject({ n: 0 });
    const watch = await clients.pg();
    await expect
      .poll(
        async () =>
          (
            await watch.query(
              "select count(*)::int as n from pg_stat_activity where query like '%pg_sleep(600)%' and pid <> pg_backend_pid()",
            )
          ).rows[0].n,
      )
      .toBe(0);
  });

  test('while statements run that outlive a cancel: it is repeated until the server has ended', async () => {
    const { raw } = await RawClient.login(at());
    const deaf = 'begin perform pg_sleep(600); exception when query_canceled then null; end';
    raw.send(query(`do $$ begin for i in 1..4 loop ${deaf}; end loop; end $$`));
    const direct = new Clients(server);
    const watch = await direct.pg();
    const deafOnes = "select count(*)::int as n from pg_stat_activity where query like 'do $$%perform pg_sleep(600)%'";
    const running = async () => (await watch.query(deafOnes)).rows[0].n;
    await expect.poll(running, { timeout: 10_000 }).toBe(1);
    raw.end();
    await expect.poll(running, { timeout: 10_000 }).toBe(0);
    await direct.end();
  });

  test.each([
    ['an error', [query('select 1/0')]],
    ['an error in a pipeline', [parse('', 'select 1/0'), sync(), parse('', 'select 1'), sync()]],
    ['a transaction that is left open', [query("begin; set local work_mem = '1MB'; insert into vanish values (6)")]],
    [
      'a setting, a lock and a name',
      [query('set work_mem = 77; select pg_advisory_lock(4712)'), parse('n', 'select 1'), sync()],
    ],
    ['a query', [query('select pg_sleep(0.2)')]],
  ])('after %s and Terminate in one breath: the server is finished with, cleaned and kept', async (_what, messages) => {
    const pid = async () => {
      const next = await clients.pg();
      const state = `select pg_backend_pid() as pid, current_setting('work_mem') as mem, current_setting('transaction_isolation') as i,
        (select count(*)::int from vanish where n = 6) as n, (select count(*)::int from pg_prepared_statements) as names,
        (select count(*)::int from pg_locks where locktype = 'advisory') as locks, now() = statement_timestamp() as fresh`;
      return (await next.query(state)).rows[0];
    };
    const before = await pid();
    for (let round = 0; round < 5; round++) {
      const { raw } = await RawClient.login(at());
      raw.send(...messages, terminate());
      expect(await pid()).toEqual(before);
    }
  });

  test('after a query that takes long and Terminate: the server is closed, and not waited for', async () => {
    const [watch, direct] = [await clients.pg(), new Clients(server)];
    const before = (await watch.query('select pg_backend_pid() as pid')).rows[0].pid;
    const { raw } = await RawClient.login(at());
    raw.send(query('select pg_sleep(600)'), terminate());
    expect((await watch.query('select pg_backend_pid() as pid')).rows[0].pid).not.toBe(before);
    await (await direct.pg()).query('select pg_terminate_backend($1)', [before]);
    await direct.end();
  });

  test('after a query and Terminate in one breath: the query runs to its end', async () => {
    const { raw } = await RawClient.login(at());
    raw.send(query('insert into vanish select 5 from pg_sleep(0.1)'), terminate());
    const watch = await clients.pg();
    await expect
      .poll(async () => (await watch.query('select count(*)::int as n from vanish where n = 5')).rows[0].n, {
        timeout: 10_000,
      })
      .toBe(1);
  });
});

describe('the connection of a server that a client holds', () => {
  test('ends with PostgreSQL’s own FATAL error', async () => {
    const sluice = await startSluice(server);
    const direct = new Clients(server);
    const { raw } = await RawClient.login({ ...server, port: sluice.port });
    raw.send(query("begin; select 'victim', pg_backend_pid()"));
    await raw.until('Z');
    const admin = await direct.pg();
    await admin.query(
      "select pg_terminate_backend(pid) from pg_stat_activity where query like '%victim%' and pid <> pg_backend_pid()",
    );
    expect(errorOf(await raw.until('E'))).toMatchObject({ severity: 'FATAL', code: '57P01' });
    expect(await raw.next()).toBeNull();
    await direct.end();
    await sluice.stop();
  });

  test('idle_in_transaction_session_timeout says 25P03', async () => {
    const sluice = await startSluice(server);
    const { raw } = await RawClient.login({ ...server, port: sluice.port });
    raw.send(query("begin; set local idle_in_transaction_session_timeout = '50ms'"));
    await raw.until('Z');
    expect(errorOf(await raw.until('E'))).toMatchObject({ severity: 'FATAL', code: '25P03' });
    await sluice.stop();
  });
});

describe('a server', () => {
  let dir: string;
  let postgres: EmbeddedPostgres;
  let sluice: Sluice;
  let clients: Clients;

  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'sluice-fault-'));
    chmodSync(dir, 0o755);
    postgres = await startEmbedded({ dataDir: join(dir, 'pg'), throwaway: true });
    sluice = await startSluice(postgres, {
      settings: 'default_pool_size = 5\nserver_login_retry = 1\nserver_check_delay = 0',
    });
    clients = new Clients({ ...coordinates(), port: sluice.port });
  });
  afterEach(() => clients.end());
  afterAll(async () => {
    await sluice.stop();
    await postgres.stop('immediate');
    rmSync(dir, { recursive: true, force: true });
  });

  const coordinates = () => {
    const { host, port, user, password, database } = postgres;
    return { host, port, user, password, database };
  };

  test.each(['fast', 'immediate'] as const)(
    'restarted (%s) under load: no wrong result, idle clients notice nothing, waiting ones wait',
    async (mode) => {
      const idle = await clients.pg();
      await idle.query('select 1');
      let stop = false;
      let wrong = 0;
      let failures = 0;
      let answers = 0;
      const worker = async (id: number) => {
        let client = await clients.pg();
        for (let i = 0; !stop; i++) {
          const expected = `${id}-${i}`;
          try {
            const { rows } = await client.query('select $1::text as mine', [expected]);
            answers++;
            if (rows.length !== 1 || rows[0].mine !== expected) wrong++;
          } catch {
            failures++;
            client = await clients.pg().catch(() => client);
          }
        }
      };
      const workers = Array.from({ length: 20 }, (_, id) => worker(id));
      await expect.poll(() => answers).toBeGreaterThan(200);
      await postgres.stop(mode);
      const during = clients.pg().then((client) => client.query('select 5 as n'));
      await postgres.start();
      const before = answers;
      await expect.poll(() => answers, { timeout: 20_000 }).toBeGreaterThan(before + 200);
      stop = true;
      await Promise.all(workers);
      expect(wrong).toBe(0);
      // Only those whose query was under way may have been told; nobody else.
      expect(failures).toBeLessThanOrEqual(2 * 5);
      expect((await during).rows).toEqual([{ n: 5 }]);
      expect((await idle.query('select 6 as n')).rows).toEqual([{ n: 6 }]);
    },
  );
});

describe('a network that fails', () => {
  let proxy: FaultyProxy;
  let sluice: Sluice;
  let clients: Clients;
  beforeAll(async () => {
    proxy = await FaultyProxy.start(server);
    sluice = await startSluice(
      { ...server, port: proxy.port },
      {
        settings:
          'default_pool_size = 2\nquery_timeout = 1\nserver_connect_timeout = 1\nserver_login_retry = 1\nquery_wait_timeout = 2',
      },
    );
    clients = new Clients({ ...server, port: sluice.port });
  });
  afterEach(() => clients.end());
  afterAll(async () => {
    await sluice.stop();
    await proxy.stop();
  });

  test('a server that hangs: queries end by query_timeout, waiting by query_wait_timeout, and all is well when it heals', async () => {
    const [a, b] = [await clients.pg(), await clients.pg()];
    await a.query('select 1');
    proxy.hang();
    await expect(a.query('select 2')).rejects.toMatchObject({ message: 'query timeout' });
    await expect(b.query('select 3')).rejects.toMatchObject({
      message: expect.stringMatching(/query(_wait)?[_ ]timeout/),
    });
    proxy.heal();
    const after = await clients.pg();
    expect((await after.query('select 4 as n')).rows).toEqual([{ n: 4 }]);
  });

  test('a cancel request that is given up and lands all the same finds nobody else’s query', async () => {
    const own = await startSluice(
      { ...server, port: proxy.port },
      { settings: 'default_pool_size = 1\ncancel_wait_timeout = 1\nlog_disconnections = 1' },
    );
    try {
      const login = () => RawClient.login({ ...server, port: own.port });
      const backend = async (raw: RawClient) => {
        raw.send(query('select pg_backend_pid()'));
        return cell(await raw.until('Z'));
      };
      const { raw, greeting } = await login();
      const cancelled = await backend(raw);
      raw.send(query("do $$ begin raise notice 'runs'; perform pg_sleep(0.3); end $$"));
      await raw.until('N');
      proxy.hanging = true; // who connects from now on
      const { pid, key } = keyOf(greeting);
      const canceller = await RawClient.connect('127.0.0.1', own.port);
      canceller.send(cancelRequest(pid, key));
      expect(types(await raw.until('Z'))).toBe('CZ');
      expect(await canceller.next()).toBeNull();
      proxy.hanging = false;
      const { raw: other } = await login();
      expect(await backend(other)).not.toBe(cancelled);
      other.send(query('select pg_sleep(0.5)'));
      proxy.heal();
      expect(types(await other.until('Z'))).toBe('TDCZ');
      await own.waitFor(/ C-0x\w+: \(nodb\)\/\(nouser\)@.* closing because: cancel_wait_timeout \(age=1s\)/);
      raw.end();
      other.end();
    } finally {
      await own.stop();
    }
  });

  test('connections cut in mid query: that client is told, the next is served', async () => {
    const { raw } = await RawClient.login({ ...server, port: sluice.port });
    raw.send(query('begin'));
    await raw.until('Z');
    proxy.cut();
    const end = await raw.until('E');
    expect(types(end)).toBe('E');
    expect(errorOf(end)).toMatchObject({ severity: 'FATAL' });
    const next = await clients.pg();
    expect((await next.query('select 7 as n')).rows).toEqual([{ n: 7 }]);
  });
});
