/** Host names of servers: how long their addresses are kept, and what becomes of a pool whose name moves. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cancelRequest } from '@sluice/wire';
import pg from 'pg';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Clients } from './support/clients.ts';
import { DnsServer } from './support/dns.ts';
import { postgres } from './support/postgres.ts';
import { FaultyProxy } from './support/proxy.ts';
import { RawClient } from './support/raw.ts';
import { type Sluice, startSluice } from './support/sluice.ts';

const server = postgres();
const NAME = 'db.sluice.test';
const [A, B] = ['127.0.0.2', '127.0.0.3'];

let dir: string;
let dns: DnsServer;
let sluice: Sluice;
let clients: Clients;
/** The same PostgreSQL at two addresses. */
let first: FaultyProxy;
let second: FaultyProxy;

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'sluice-dns-'));
  dns = await DnsServer.start();
  first = await FaultyProxy.start(server, A);
  second = await FaultyProxy.start(server, B, first.port);
});

afterEach(async () => {
  await clients.end();
  await sluice.stop();
  await Promise.all([first.stop(), second.stop(), dns.stop()]);
  rmSync(dir, { recursive: true });
});

async function begin(settings = '', host = NAME): Promise<void> {
  const resolvConf = join(dir, 'resolv.conf');
  writeFileSync(resolvConf, `nameserver 127.0.0.1:${dns.port}\noptions timeout:1\n`);
  sluice = await startSluice(server, {
    databases: `* = host=${host} port=${first.port}`,
    settings: `resolv_conf = ${resolvConf}\nadmin_users = ${server.user}\nverbose = 1\n${settings}`,
  });
  clients = new Clients({ ...server, port: sluice.port });
}

const show = async (what: string) => {
  const console = await clients.pg({ database: 'pgbouncer' });
  return (await console.query(`show ${what}`)).rows;
};

/** A client in a transaction, so that the next one needs a server of its own. */
const holding = async () => {
  const client = await clients.pg();
  await client.query('begin');
  return client;
};

/** Asks until the answer is as it should be: what is awaited has no event of its own. */
async function until(done: () => Promise<boolean> | boolean): Promise<void> {
  while (!(await done())) await new Promise((resolve) => setTimeout(resolve, 50));
}

describe('lookups', () => {
  test('are kept as long as the record says, and asked for again after it', async () => {
    dns.names.set(NAME, { addresses: [A], ttl: 1 });
    await begin();
    await holding();
    expect(await show('dns_hosts')).toMatchObject([{ hostname: NAME, addrs: `${A}:0` }]);
    await until(async () => {
      await holding();
      return dns.asked(NAME) > 1;
    });
    expect(dns.asked(NAME)).toBe(2);
  });

  test('are kept for dns_max_ttl at most, and within it nobody is asked', async () => {
    dns.names.set(NAME, { addresses: [A], ttl: 3_600 });
    await begin('dns_max_ttl = 100');
    await holding();
    await holding();
    expect(dns.asked(NAME)).toBe(1);
    const [{ ttl }] = await show('dns_hosts');
    expect(Number(ttl)).toBeLessThanOrEqual(100);
    expect(Number(ttl)).toBeGreaterThan(50);
    expect(await show('lists')).toContainEqual({ list: 'dns_names', items: 1 });
    expect(await show('lists')).toContainEqual({ list: 'dns_zones', items: 1 });
  });

  test('of more addresses than Node tells the life of are repeated all the same', async () => {
    dns.names.set(NAME, { addresses: [...Array.from({ length: 300 }, () => A), B], ttl: 1 });
    await begin();
    await holding();
    expect(Number((await show('dns_hosts'))[0].ttl)).not.toBeNaN();
    dns.names.set(NAME, { addresses: [A], ttl: 1 });
    await until(async () => {
      await holding();
      return dns.asked(NAME) > 1;
    });
  });

  test('whose answer leads nowhere say so, and are repeated', async () => {
    dns.names.set(NAME, { addresses: [], ttl: 60, leads: true });
    await begin('dns_nxdomain_ttl = 0\nserver_login_retry = 0.2\nquery_wait_timeout = 30');
    const login = clients.pg();
    login.catch(() => {});
    await sluice.waitFor(/DNS lookup failed: db\.sluice\.test: ENODATA/);
    dns.names.set(NAME, { addresses: [A], ttl: 60 });
    expect((await (await login).query('select 1 as n')).rows).toEqual([{ n: 1 }]);
  });

  test('of several addresses that all refuse leave the reason of each', async () => {
    dns.names.set(NAME, { addresses: ['127.0.0.8', '127.0.0.9'], ttl: 60 });
    await begin('server_login_retry = 0.2\nquery_wait_timeout = 30');
    const login = clients.pg();
    login.catch(() => {});
    await sluice.waitFor(
      /cannot connect to server .*: connect ECONNREFUSED 127\.0\.0\.8.*; connect ECONNREFUSED 127\.0\.0\.9/,
    );
    dns.names.set(NAME, { addresses: [A], ttl: 60 });
  });

  test('are shared by the dials that wait for them', async () => {
    dns.names.set(NAME, { addresses: [A], ttl: 60 });
    dns.holding = true;
    await begin();
    const logins = [clients.pg(), clients.pg(), clients.pg()];
    await until(() => dns.asked(NAME) > 0);
    await until(async () => (await show('lists')).some((row) => row.list === 'dns_queries' && row.items === 1));
    dns.answer();
    const asking = (await Promise.all(logins)).map((client) => client.query('select pg_sleep(0.1)'));
    await Promise.all(asking);
    expect(dns.asked(NAME)).toBe(1);
  });

  test('that find nothing are not repeated within dns_nxdomain_ttl', async () => {
    await begin('dns_nxdomain_ttl = 3600\nserver_login_retry = 0.2\nquery_wait_timeout = 30');
    const login = clients.pg();
    login.catch(() => {});
    await sluice.waitFor(/closing because: server DNS lookup failed[\s\S]*closing because: server DNS lookup failed/);
    expect(dns.asked(NAME)).toBe(1);
    expect(sluice.output().match(/WARNING DNS lookup failed: db\.sluice\.test/g)).toHaveLength(1);
    // A shorter time counts for the next failure; this one was for an hour.
    expect(await show('dns_hosts')).toMatchObject([{ hostname: NAME, addrs: '' }]);
    sluice.signal('SIGQUIT');
    await expect(login).rejects.toThrow();
  });

  test('a name that comes to be is found when dns_nxdomain_ttl is over, and the client that waited is served', async () => {
    await begin('dns_nxdomain_ttl = 0.3\nserver_login_retry = 0.2');
    const login = clients.pg();
    await sluice.waitFor(/server DNS lookup failed/);
    dns.names.set(NAME, { addresses: [A], ttl: 60 });
    const { rows } = await (await login).query('select 1 as n');
    expect(rows).toEqual([{ n: 1 }]);
  });

  test('names of the hosts file are not asked for', async () => {
    await begin('', 'localhost');
    await first.stop();
    first = await FaultyProxy.start(server, '127.0.0.1', first.port);
    await holding();
    expect(dns.questions).toEqual([]);
  });
});

describe('addresses', () => {
  test('of a name are used in turn', async () => {
    dns.names.set(NAME, { addresses: [A, B], ttl: 60 });
    await begin();
    for (let i = 0; i < 4; i++) await holding();
    expect([first.connections, second.connections]).toEqual([2, 2]);
  });

  test('that cannot be reached are passed over', async () => {
    dns.names.set(NAME, { addresses: [A, B], ttl: 60 });
    await first.stop();
    await begin();
    for (let i = 0; i < 4; i++) await holding();
    expect(second.connections).toBe(4);
    first = await FaultyProxy.start(server, A, first.port);
  });

  test('a name that moves takes its pool along: servers in use are replaced as they come free', async () => {
    dns.names.set(NAME, { addresses: [A], ttl: 1 });
    await begin();
    const held = [await holding(), await holding()];
    dns.names.set(NAME, { addresses: [B], ttl: 3_600 });
    // Only who opens a server has the name looked up.
    await until(async () => {
      held.push(await holding());
      return dns.asked(NAME) > 1;
    });
    const atFirst = held.length - 1;
    expect([first.connections, second.connections]).toEqual([atFirst, 1]);
    const condemned = (await show('servers')).filter((row) => row.close_needed === 1);
    expect(condemned.map((row) => row.addr)).toEqual(Array(atFirst).fill(A));
    for (const client of held) await client.query('commit');
    await until(() => first.connections === 0);
    expect(await sluice.waitForMany(/closing because: close_needed/, atFirst)).toHaveLength(atFirst);
    await Promise.all(held.map((client) => client.query('select pg_sleep(0.05)')));
    expect(first.connections).toBe(0);
  });

  test('a zone whose serial number grows has its names looked up, without anybody asking for a server', async () => {
    dns.names.set(NAME, { addresses: [A], ttl: 3_600 });
    dns.zones.set('sluice.test', 1);
    await begin('dns_zone_check_period = 0.2');
    const client = await clients.pg();
    await client.query('select 1');
    await sluice.waitFor(/zone 'sluice.test' serial changed: old=0 new=1/);
    dns.names.set(NAME, { addresses: [B], ttl: 3_600 });
    dns.zones.set('sluice.test', 2);
    await sluice.waitFor(/zone 'sluice.test' serial changed: old=1 new=2/);
    await until(() => first.connections === 0);
    expect(await show('dns_zones')).toEqual([{ zonename: 'sluice.test', serial: '2', count: 1 }]);
    await client.query('select 1');
    expect(second.connections).toBe(1);
  });

  test('a cancel request goes to the address that its server is at', async () => {
    dns.names.set(NAME, { addresses: [A, B], ttl: 60 });
    await begin();
    const busy = [await holding(), await holding()];
    const sleepers = busy as unknown as { processID: number; secretKey: number }[];
    const sleeping = busy.map((client) => client.query('select pg_sleep(60)').catch((error) => error.code));
    const direct = new pg.Client(server);
    await direct.connect();
    const running =
      "select count(*)::int as n from pg_stat_activity where query = 'select pg_sleep(60)' and state = 'active'";
    await until(async () => (await direct.query(running)).rows[0].n === 2);
    await direct.end();
    const before = [first.accepted, second.accepted];
    for (const { processID, secretKey } of sleepers) {
      const key = Buffer.alloc(4);
      key.writeInt32BE(secretKey);
      const raw = await RawClient.connect('127.0.0.1', sluice.port);
      raw.send(cancelRequest(processID, key));
      expect(await raw.next()).toBeNull();
    }
    expect(await Promise.all(sleeping)).toEqual(['57014', '57014']);
    expect([first.accepted - before[0]!, second.accepted - before[1]!]).toEqual([1, 1]);
  });
});
