/** session_state = follow: a database that its last client has left can be dropped, renamed and copied, as without a pooler. */
import type pg from 'pg';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Clients } from './support/clients.ts';
import { postgres } from './support/postgres.ts';
import { type Sluice, startSluice } from './support/sluice.ts';

const server = postgres();
let sluice: Sluice;
let clients: Clients;
let maintenance: pg.Client;

async function begin(settings: string): Promise<void> {
  sluice = await startSluice(server, { settings: `admin_users = ${server.user}\n${settings}` });
  clients = new Clients({ ...server, port: sluice.port });
  maintenance = await clients.pg();
  await maintenance.query('drop database if exists emptied');
  await maintenance.query('drop database if exists emptied_copy');
  await maintenance.query('create database emptied');
}

beforeEach(() => begin('session_state = follow'));
afterEach(async () => {
  await clients.end();
  const direct = new Clients(server);
  const client = await direct.pg();
  for (const name of ['emptied', 'emptied_copy']) await client.query(`drop database if exists ${name} with (force)`);
  await direct.end();
  await sluice.stop();
});

async function used(then: (client: pg.Client) => Promise<unknown> = async () => {}): Promise<void> {
  const client = await clients.pg({ database: 'emptied' });
  await client.query('create temp table t (a int)');
  await client.query('select 1');
  await then(client);
  await client.end();
}

test.each([
  'DROP DATABASE emptied',
  'alter database "emptied" rename to emptied_copy',
  'create database emptied_copy template emptied',
  "create database emptied_copy with owner default template = 'emptied'",
])('%s', async (statement) => {
  await used();
  await maintenance.query(statement);
});

test('a prepared statement does it, too, when it is prepared and each time that it is run', async () => {
  const drop = () => maintenance.query({ name: 'x', text: 'drop database emptied' });
  await used();
  await drop();
  await maintenance.query('create database emptied');
  await used();
  await drop();
});

test('who says goodbye while it is under way is not in its way', async () => {
  let dropped: Promise<unknown> = Promise.resolve();
  await used(async () => {
    dropped = maintenance.query('drop database emptied');
    dropped.catch(() => {});
    const direct = await new Clients(server).pg();
    // PostgreSQL has it and waits for the other session.
    const waits = "select 1 from pg_stat_activity where query = 'drop database emptied' and state = 'active'";
    while ((await direct.query(waits)).rowCount === 0);
    await direct.end();
  });
  await dropped;
});

test('who is there still is not sent away: PostgreSQL refuses, and what he does goes on', async () => {
  const client = await clients.pg({ database: 'emptied' });
  await client.query('create temp table t as select 7 as a');
  await expect(maintenance.query('drop database emptied')).rejects.toMatchObject({ code: '55006' });
  expect((await client.query('select a from t')).rows).toEqual([{ a: 7 }]);
});

test('who may not do it closes nobody’s servers', async () => {
  await maintenance.query('drop role if exists no_owner');
  await maintenance.query("create role no_owner login password 'x'");
  await used();
  const pids = async () => {
    const { rows } = await maintenance.query("select pid from pg_stat_activity where datname = 'emptied'");
    return rows;
  };
  const before = await pids();
  expect(before).toHaveLength(1);
  await maintenance.query('begin');
  for (const statement of ['select 1/0', 'drop database emptied']) await maintenance.query(statement).catch(() => {});
  await maintenance.query('rollback');
  await expect(maintenance.query('set role no_owner; drop database emptied')).rejects.toThrow();
  await maintenance.query('reset role');
  // Longer than it takes until it is looked whose statement waits.
  await maintenance.query('select pg_sleep(0.8)');
  expect(await pids()).toEqual(before);
  await maintenance.query('drop role no_owner');
});

test('servers of databases that nobody has named stay', async () => {
  await used();
  await maintenance.query('create database emptied_copy');
  const client = await clients.pg({ database: 'emptied_copy' });
  const pid = 'select pg_backend_pid() as pid';
  const before = (await client.query(pid)).rows;
  await client.end();
  await maintenance.query('drop database emptied');
  const again = await clients.pg({ database: 'emptied_copy' });
  expect((await again.query(pid)).rows).toEqual(before);
});

test('with session_state = pgbouncer servers stay, as with PgBouncer', async () => {
  await clients.end();
  await sluice.stop();
  await begin('');
  await used();
  await expect(maintenance.query('drop database emptied')).rejects.toMatchObject({ code: '55006' });
});
