/** `-R` where a PgBouncer runs: new clients come to us, its own it serves until they leave. Needs PgBouncer 1.23 or newer (PGBOUNCER). */
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import type pg from 'pg';
import { afterEach, describe, expect, test } from 'vitest';
import { freePort } from '../packages/sluice/src/embedded/postgres.ts';
import { Place, until } from './support/place.ts';
import { postgres } from './support/postgres.ts';
import { PGBOUNCER } from './support/programs.ts';
import { ON_BUN } from './support/sluice.ts';

const server = postgres();
let place: Place;
afterEach(() => place.stop());

const version = PGBOUNCER === null ? 0 : Number(/1\.(\d+)/.exec(execFileSync(PGBOUNCER, ['-V']).toString())?.[1]);
const usable = PGBOUNCER !== null && !ON_BUN && process.platform === 'linux';

const begin = async (settings = '') => {
  place = new Place(server);
  await place.begin(`pidfile = ${place.dir}/pid\n${settings}`, server.password, PGBOUNCER);
};
const value = async (client: pg.Client, sql: string) => Object.values((await client.query(sql)).rows[0])[0];
const whoServes = async (client: pg.Client) => String(await value(client, 'show version'));
const admin = (host = '127.0.0.1') => place.connect({ host, database: 'pgbouncer' });
/** A query of its is cancelled by a request that comes to whoever has the place. */
const isCancelled = async (client: pg.Client, ours: pg.Client) => {
  const sleeping = client.query('select pg_sleep(60)').catch((error: Error) => error.message);
  await until(async () => (await value(ours, RUNNING)) === '1');
  await place.cancel(client);
  expect(await sleeping).toMatch(/canceling statement due to user request/);
};

describe.skipIf(!usable || version < 23)('a PgBouncer whose place is taken', () => {
  test('serves its clients until they leave, with all that they have; whoever comes is ours; then it ends', async () => {
    await begin();
    const old = await place.connect();
    await old.query({ name: 'mine', text: 'select $1::int + 1 as n', values: [1] });
    await old.query('begin');
    const backend = await value(old, 'select pg_backend_pid()');
    await place.takeOver();
    await until(() => /serves its clients until they leave/.test(place.log()));
    for (const host of ['127.0.0.1', place.dir]) {
      expect(await whoServes(await admin(host))).toMatch(/^Sluice/);
      expect(await value(await place.connect({ host }), 'select 7')).toBe(7);
    }
    expect(await value(old, 'select pg_backend_pid()')).toBe(backend);
    expect((await old.query({ name: 'mine', text: 'select $1::int + 1 as n', values: [41] })).rows[0].n).toBe(42);
    await old.query('commit');
    expect(place.isRunning(0)).toBe(true);
    await old.end();
    expect(await place.ended(0)).toBe(0);
    await until(() => /take-over finished/.test(place.log()));
    expect(readFileSync(`${place.dir}/pid`, 'utf8')).toBe(`${place.pid(1)}\n`);
    expect(await whoServes(await admin(place.dir))).toMatch(/^Sluice/);
    expect(existsSync(`${place.dir}/.s.PGSQL.${place.port}`)).toBe(true);
  });

  test('gets requests to cancel what its clients ask, and what is paused and resumed here', async () => {
    await begin();
    const old = await place.connect();
    await place.takeOver();
    await until(() => /serves its clients until they leave/.test(place.log()));
    await isCancelled(old, await place.connect());
    const console = await admin();
    const notice = once(console, 'notice');
    await console.query('pause');
    expect((await notice)[0].message).toMatch(/could not be resumed; name a database/);
    await console.query('resume');
    await console.query('pause postgres');
    const waiting = old.query('select 1 as x');
    expect(await Promise.race([waiting, new Promise((resolve) => setTimeout(resolve, 300, 'waits'))])).toBe('waits');
    await console.query('resume postgres');
    expect((await waiting).rows).toEqual([{ x: 1 }]);
  });

  test.each([
    ['pause', 'resume', /it is paused.*RESUME it first/],
    ['pause postgres', 'resume postgres', /"postgres" is paused.*RESUME it first/],
    ['disable postgres', 'enable postgres', /"postgres" is disabled.*ENABLE it first/],
  ])('is left as it is after %s', async (before, after, message) => {
    await begin();
    await place.connect();
    const console = await admin();
    await console.query(before);
    expect(await place.takeOverInVain()).toBe(1);
    expect(place.log()).toMatch(message);
    await console.query(after);
    expect(await value(await place.connect(), 'select 1')).toBe(1);
  });

  test('is left as it is when the new process cannot start, or ends before it is told', async () => {
    await begin();
    chmodSync(place.dir, 0o777);
    const ini = `${place.dir}/pgbouncer.ini`;
    const good = readFileSync(ini, 'utf8');
    writeFileSync(ini, good.replace('listen_addr = 127.0.0.1', 'listen_addr = *'));
    expect(await place.takeOverInVain()).toBe(1);
    expect(place.log()).toMatch(/in use/);
    writeFileSync(ini, good);
    for (const host of ['127.0.0.1', place.dir]) expect(await whoServes(await admin(host))).toMatch(/^PgBouncer/);
    expect(readFileSync(`${place.dir}/pid`, 'utf8')).toBe(`${place.pid(0)}\n`);
    expect(readdirSync(place.dir).filter((name) => name.startsWith('.'))).toEqual([`.s.PGSQL.${place.port}`]);
  });

  test('and Sluice in its place, may have it taken again: by Sluice, and by PgBouncer', async () => {
    await begin();
    await place.takeOver();
    await place.ended(0);
    const client = await place.connect();
    expect(await value(client, 'select 1')).toBe(1);
    await place.takeOver();
    await place.ended(1);
    expect(await value(client, 'select 2')).toBe(2);
    await place.takeOver(PGBOUNCER);
    await place.ended(2);
    expect(await value(client, 'select 3')).toBe(3);
    for (const host of ['127.0.0.1', place.dir]) {
      expect(await value(await place.connect({ host }), 'select 4')).toBe(4);
      expect(await whoServes(await admin(host))).toMatch(/^PgBouncer/);
    }
  });

  test('may end when Sluice was restarted since: what it removes is there again', async () => {
    await begin();
    const old = await place.connect();
    await place.takeOver();
    await until(() => /serves its clients until they leave/.test(place.log()));
    await place.restart();
    await old.end();
    expect(await place.ended(0)).toBe(0);
    const [socket, pidfile] = [`${place.dir}/.s.PGSQL.${place.port}`, `${place.dir}/pid`];
    await until(() => existsSync(socket) && existsSync(pidfile));
    expect(readFileSync(pidfile, 'utf8')).toBe(`${place.pid(2)}\n`);
    expect(await whoServes(await admin(place.dir))).toMatch(/^Sluice/);
  });

  test('of a group is asked to cancel, too', async () => {
    await begin('peer_id = 1\n');
    const old = await place.connect();
    await place.takeOver();
    await until(() => /serves its clients until they leave/.test(place.log()));
    await isCancelled(old, await place.connect());
  });

  test('loses no query under load, and hardly a login', async () => {
    await begin('default_pool_size = 5\n');
    const counts = { transactions: 0, logins: 0, refused: 0 };
    const refused = (error: Error) => {
      expect(error.message).toBe('pooler is shutting down');
      counts.refused++;
      return null;
    };
    let stop = false;
    const work = async (number: number) => {
      while (!stop) {
        const client = await place.connect({ host: number % 2 === 0 ? '127.0.0.1' : place.dir }).catch(refused);
        if (client === null) continue;
        for (let i = 0; i < 5 + 3 * number && !stop; i++) {
          await client.query('begin');
          const backend = await value(client, 'select pg_backend_pid()');
          expect(await value(client, 'select pg_backend_pid()')).toBe(backend);
          await client.query('commit');
          counts.transactions++;
        }
        await client.end();
        counts.logins++;
      }
    };
    const load = Promise.all(Array.from({ length: 12 }, (_, number) => work(number)));
    await Promise.race([load, until(() => counts.logins > 50)]);
    await Promise.race([load, place.takeOver().then(() => place.ended(0))]);
    const before = counts.transactions;
    await Promise.race([load, until(() => counts.transactions > before + 100)]);
    stop = true;
    await load;
    expect(counts.refused).toBeLessThanOrEqual(12);
    expect(place.log()).not.toMatch(/ERROR/);
  });
});

const RUNNING = `select count(*)::text from pg_stat_activity where query like 'select pg_sleep(60)%' and state = 'active'`;

test.skipIf(!usable || version >= 23)(
  'a PgBouncer that cannot wait for its clients goes on, and we say why',
  async () => {
    await begin();
    expect(await place.takeOverInVain()).toBe(1);
    expect(place.log()).toMatch(/cannot take over .*PgBouncer 1\.\d+\.\d+.*stop it and start this without -R/);
    expect(await value(await place.connect(), 'select 1')).toBe(1);
  },
);

describe.skipIf(!usable || version < 19)('a group of PgBouncers and Sluices', () => {
  test('carries a cancel request to whoever has the client, from either kind', async () => {
    const ports = [await freePort(), await freePort()];
    const peers = ports.map((port, i) => `${i + 1} = host=127.0.0.1 port=${port}`).join('\n');
    const [theirs, ours] = ports.map((port) => new Place(server, port)) as [Place, Place];
    place = theirs;
    try {
      await theirs.begin(`peer_id = 1\n[peers]\n${peers}\n`, server.password, PGBOUNCER);
      await ours.begin(`peer_id = 2\n[peers]\n${peers}\n`);
      const watching = await ours.connect();
      for (const [home, other] of [
        [theirs, ours],
        [ours, theirs],
      ] as const) {
        const client = await home.connect();
        const sleeping = client.query('select pg_sleep(60)').catch((error: Error) => error.message);
        await until(async () => (await value(watching, RUNNING)) === '1');
        await other.cancel(client);
        expect(await sleeping).toMatch(/canceling statement due to user request/);
      }
    } finally {
      await ours.stop();
    }
  });
});
