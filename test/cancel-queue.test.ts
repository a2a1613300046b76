/** Cancel requests are bounded in number, and seen while they are on their way; so is who waits for a pool's first server. */
import { cancelRequest, query, startupMessage } from '@sluice/wire';
import type pg from 'pg';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { nodeCrypto } from '../packages/sluice/src/auth/crypto.ts';
import { peerProcessId } from '../packages/sluice/src/pooling/peers.ts';
import { Clients } from './support/clients.ts';
import { until } from './support/place.ts';
import { postgres } from './support/postgres.ts';
import { FaultyProxy } from './support/proxy.ts';
import { keyOf, RawClient, types } from './support/raw.ts';
import { type Sluice, startSluice } from './support/sluice.ts';

const server = postgres();
/** An advisory lock: queries wait for it until it is let go. */
const LOCK = 471108;

let proxy: FaultyProxy;
const started: Sluice[] = [];
let direct: Clients;

beforeEach(async () => {
  proxy = await FaultyProxy.start(server);
  direct = new Clients(server);
});

afterEach(async () => {
  await direct.end();
  await Promise.all(started.splice(0).map((sluice) => sluice.stop()));
  await proxy.stop();
});

async function start(settings: string): Promise<Sluice> {
  const common = `default_pool_size = 1\nlog_disconnections = 1\nadmin_users = ${server.user}\n`;
  const sluice = await startSluice({ ...server, port: proxy.port }, { settings: `${common}${settings}` });
  started.push(sluice);
  return sluice;
}

async function console(sluice: Sluice): Promise<pg.Client> {
  return await direct.pg({ port: sluice.port, database: 'pgbouncer' });
}

/** A client whose query waits for the lock that somebody else has. */
async function stuck(sluice: Sluice): Promise<{ raw: RawClient; key: Uint8Array; letGo: () => Promise<unknown> }> {
  const holder = await direct.pg();
  await holder.query(`select pg_advisory_lock(${LOCK})`);
  const { raw, greeting } = await RawClient.login({ ...server, port: sluice.port });
  raw.send(query(`select pg_advisory_lock(${LOCK}); select pg_advisory_unlock(${LOCK})`));
  const waits = `select 1 from pg_locks where locktype = 'advisory' and objid = ${LOCK} and not granted`;
  await until(async () => (await holder.query(waits)).rowCount === 1);
  const { pid, key } = keyOf(greeting);
  return { raw, key: cancelRequest(pid, key), letGo: () => holder.query(`select pg_advisory_unlock(${LOCK})`) };
}

async function ask(sluice: Sluice, key: Uint8Array): Promise<RawClient> {
  const raw = await RawClient.connect('127.0.0.1', sluice.port);
  raw.send(key);
  return raw;
}

async function states(admin: pg.Client, view: 'clients' | 'servers' | 'sockets'): Promise<string> {
  const { rows } = await admin.query(`show ${view}`);
  return rows
    .filter(({ database }) => database !== 'pgbouncer')
    .map(({ state }) => state)
    .sort()
    .join(' ');
}

const COUNTED = ['cl_active', 'cl_active_cancel_req', 'cl_waiting_cancel_req', 'sv_active_cancel', 'sv_being_canceled'];

async function counted(admin: pg.Client): Promise<string> {
  const { rows } = await admin.query('show pools');
  const row = rows.find(({ database }) => database !== 'pgbouncer');
  return COUNTED.map((name) => row[name]).join(' ');
}

test('of cancel requests there are as many under way as twice pool_size leaves room for; the others wait, and those that come too late are not sent', async () => {
  const sluice = await start('');
  const admin = await console(sluice);
  const { raw, key, letGo } = await stuck(sluice);
  proxy.hanging = true; // who connects from now on
  const before = proxy.accepted;
  const askers = [await ask(sluice, key), await ask(sluice, key), await ask(sluice, key)];
  await until(async () => (await counted(admin)) === '1 1 2 1 0');
  expect(proxy.accepted).toBe(before + 1);
  expect(await states(admin, 'clients')).toBe('active active_cancel_req waiting_cancel_req waiting_cancel_req');
  expect(await states(admin, 'servers')).toBe('active active_cancel');
  expect(await states(admin, 'sockets')).toBe('cl_active sv_active');

  await letGo();
  expect(types(await raw.until('Z'))).toBe('TDCTDCZ');
  await until(async () => (await counted(admin)) === '1 1 2 1 1');
  proxy.heal();
  for (const asker of askers) expect(await asker.next()).toBeNull();
  raw.send(query('select 1'));
  expect(types(await raw.until('Z'))).toBe('TDCZ');
  expect(await counted(admin)).toBe('1 0 0 0 0');
  expect(proxy.accepted).toBe(before + 1);
  const outcomes = await sluice.waitForMany(/C-0x\w+: \(nodb\)\/\(nouser\)@\S+ closing because: .* \(age=/, 3);
  expect(outcomes.map((line) => line.replace(/^.*because: | \(age=$/g, '')).sort()).toEqual([
    'not sending cancel request for client that is now idle',
    'not sending cancel request for client that is now idle',
    'successfully sent cancel request',
  ]);
});

test('who waits longer than cancel_wait_timeout to be sent is let go', async () => {
  const sluice = await start('cancel_wait_timeout = 1');
  const { raw, key, letGo } = await stuck(sluice);
  proxy.hanging = true;
  const askers = [await ask(sluice, key), await ask(sluice, key)];
  for (const asker of askers) expect(await asker.next()).toBeNull();
  expect(await sluice.waitForMany(/closing because: cancel_wait_timeout \(age=\d+s\)/, 2)).toHaveLength(2);
  await letGo();
  expect(types(await raw.until('Z'))).toBe('TDCTDCZ');
});

test('when a pool gets more room those in line go, and those whose query has ended leave, whatever hangs', async () => {
  const sluice = await start('');
  const admin = await console(sluice);
  const { raw, key, letGo } = await stuck(sluice);
  proxy.hanging = true;
  const askers = [await ask(sluice, key), await ask(sluice, key), await ask(sluice, key), await ask(sluice, key)];
  await until(async () => (await counted(admin)) === '1 1 3 1 0');
  await admin.query('set default_pool_size = 2');
  await until(async () => (await counted(admin)) === '1 3 1 3 0');
  await letGo();
  expect(types(await raw.until('Z'))).toBe('TDCTDCZ');
  await until(async () => (await counted(admin)) === '1 3 0 3 1');
  expect(await askers[3]!.next()).toBeNull();
});

test('where one connection after the other can be had, every request is carried', async () => {
  const sluice = await start('');
  const { raw, key } = await stuck(sluice);
  const askers = await Promise.all(Array.from({ length: 8 }, () => ask(sluice, key)));
  expect(types(await raw.until('Z'))).toBe('TEZ');
  for (const asker of askers) expect(await asker.next()).toBeNull();
  raw.send(query('select 1'));
  expect(types(await raw.until('Z'))).toBe('TDCZ');
});

test('a peer gets as many connections as its pool_size', async () => {
  const sluice = await start(`peer_id = 1\n[peers]\n2 = host=127.0.0.1 port=${proxy.port} pool_size=2`);
  const admin = await console(sluice);
  proxy.hanging = true;
  const key = cancelRequest(peerProcessId(2, 0), Uint8Array.of(0, 0, 0, 3));
  const askers = [await ask(sluice, key), await ask(sluice, key), await ask(sluice, key)];
  const row = { peer_id: 2, cl_active_cancel_req: 2, cl_waiting_cancel_req: 1, sv_active_cancel: 2, sv_login: 0 };
  await until(async () => (await admin.query('show peer_pools')).rows[0].cl_active_cancel_req === 2);
  await until(async () => (await admin.query('show peer_pools')).rows[0].cl_waiting_cancel_req === 1);
  expect((await admin.query('show peer_pools')).rows).toEqual([row]);
  proxy.cut();
  for (const asker of askers.slice(0, 2)) expect(await asker.next()).toBeNull();
});

/** A client that waits at its login, since nothing that reaches the server is answered; and that it will be refused for this reason. */
async function early(reason: string): Promise<{ sluice: Sluice; admin: pg.Client; refused: Promise<void> }> {
  const sluice = await start('');
  const admin = await console(sluice);
  proxy.hanging = true;
  const raw = await RawClient.connect('127.0.0.1', sluice.port);
  const { user, database } = server;
  raw.send(startupMessage({ major: 3, minor: 0, params: { user, database, application_name: 'early' } }));
  const refused = expect(raw.authenticate(server.password, nodeCrypto, user)).rejects.toThrow(reason);
  await until(async () => (await states(admin, 'clients')) === 'waiting');
  return { sluice, admin, refused };
}

test('who waits for a pool’s first server is among the clients, and waits by limits that change meanwhile', async () => {
  const { admin, refused } = await early('query_wait_timeout');
  const { rows } = await admin.query('show clients');
  const { user, database } = server;
  expect(rows.find(({ state }) => state === 'waiting')).toMatchObject({ user, database, application_name: 'early' });
  const lists = new Map((await admin.query('show lists')).rows.map(({ list, items }) => [list, items]));
  expect([lists.get('used_clients'), lists.get('login_clients')]).toEqual([2, 0]);
  await admin.query('set query_wait_timeout = 1');
  await refused;
  expect(await states(admin, 'clients')).toBe('');
});

test('client_login_timeout holds for who waits, when it is changed, too', async () => {
  const { admin, refused } = await early('client_login_timeout');
  await admin.query('set client_login_timeout = 1');
  await refused;
  expect(await counted(admin)).toBe('0 0 0 0 0');
});

test('who waits for a pool’s first server can be dropped by KILL_CLIENT', async () => {
  const { sluice, admin, refused } = await early('admin forced disconnect');
  const { rows } = await admin.query('show clients');
  await admin.query(`kill_client ${rows.find(({ state }) => state === 'waiting').id}`);
  await refused;
  expect(await counted(admin)).toBe('0 0 0 0 0');
  await sluice.waitFor(/ C-0x\w+: \S+ closing because: admin forced disconnect \(age=/);
});

test('who logs in is among the sockets only', async () => {
  const sluice = await start('auth_type = scram-sha-256');
  const admin = await console(sluice);
  const raw = await RawClient.connect('127.0.0.1', sluice.port);
  raw.send(startupMessage({ major: 3, minor: 0, params: { user: server.user, database: server.database } }));
  await raw.until('R');
  expect(await states(admin, 'clients')).toBe('');
  expect(await states(admin, 'sockets')).toBe('cl_login');
});
