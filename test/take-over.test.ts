/** `-R`: a new process takes the place of a running one. Clients notice nothing. */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { Authority, OPENSSL } from './support/certificates.ts';
import { Place, until } from './support/place.ts';
import { postgres } from './support/postgres.ts';
import { ON_BUN } from './support/sluice.ts';

const server = postgres();
let place: Place;
const certificates = mkdtempSync(join(tmpdir(), 'sluice-take-ca-'));
chmodSync(certificates, 0o755);
let authorities = 0;

const begin = async (settings?: string, secret?: string) => {
  place = new Place(server);
  await place.begin(settings, secret);
};

/** Clients over TLS, and others. */
const beginWithTls = async () => {
  const site = new Authority(certificates, `ours-${++authorities}`).issue('localhost');
  chmodSync(site.key, 0o644);
  await begin(`client_tls_sslmode = allow\nclient_tls_key_file = ${site.key}\nclient_tls_cert_file = ${site.cert}\n`);
};

afterEach(() => place.stop());
afterAll(() => rmSync(certificates, { recursive: true, force: true }));

const connect = (config?: pg.ClientConfig) => place.connect(config);

const value = async (client: pg.Client, sql: string) => Object.values((await client.query(sql)).rows[0])[0];

/** A client in a transaction of a process whose place another has taken. */
const beginsAndIsTakenOver = async () => {
  await begin();
  const client = await connect();
  await client.query('begin');
  await takenOver();
  return client;
};

const takenOver = async () => {
  await place.takeOver();
  // Until then the old process may be the one that somebody connects to.
  await until(() => place.log().includes('the new process listens'));
};

/** What a promise has come to by then, or 'waits'. */
const within = (ms: number, promise: Promise<unknown>) =>
  Promise.race([promise, new Promise((resolve) => setTimeout(resolve, ms, 'waits'))]);

const show = async (what: string) => (await (await connect({ database: 'pgbouncer' })).query(`show ${what}`)).rows;

const cancel = (client: pg.Client) => place.cancel(client);

describe.skipIf(ON_BUN || process.platform !== 'linux')('a client at rest', () => {
  test('is passed on with its server, its settings and its prepared statements; the old process ends', async () => {
    await begin('default_pool_size = 1\n');
    const client = await connect();
    const prepared = (n: number) => client.query({ name: 'plus', text: 'select $1::int + 1 as n', values: [n] });
    await client.query("set application_name = 'moved'");
    expect((await prepared(1)).rows).toEqual([{ n: 2 }]);
    const backend = await value(client, 'select pg_backend_pid()');
    await place.takeOver();
    expect(await place.ended(0)).toBe(0);
    expect((await prepared(41)).rows).toEqual([{ n: 42 }]);
    expect(await value(client, 'select pg_backend_pid()')).toBe(backend);
    expect(await value(client, 'show application_name')).toBe('moved');
    expect(await show('clients')).toContainEqual(expect.objectContaining({ application_name: 'moved' }));
    expect(place.log()).toMatch(/take-over finished: 1 clients and 1 servers/);
  });

  test('can still have its query cancelled', async () => {
    await begin();
    const client = await connect();
    await client.query('select 1');
    await place.takeOver();
    await place.ended(0);
    const sleeping = client.query('select pg_sleep(60)').catch((error) => error.code);
    await until(async () => (await show('servers')).some(({ state }) => state === 'active'));
    await until(async () => {
      await cancel(client);
      return Promise.race([
        sleeping.then(() => true),
        new Promise<boolean>((resolve) => setTimeout(resolve, 50, false)),
      ]);
    });
    expect(await sleeping).toBe('57014');
  });

  test('at the Unix socket is passed on too, and the socket takes new ones', async () => {
    await begin();
    const client = await connect({ host: place.dir });
    await place.takeOver();
    await place.ended(0);
    expect(await value(client, 'select 1')).toBe(1);
    expect(await value(await connect({ host: place.dir }), 'select 2')).toBe(2);
    await place.takeOver();
    await place.ended(1);
    expect(await value(client, 'select 3')).toBe(3);
    expect(await value(await connect({ host: place.dir }), 'select 4')).toBe(4);
  });

  test('is passed on with what it set beyond the reported parameters (session_state = follow)', async () => {
    await begin('session_state = follow\n');
    const client = await connect({ options: '-c work_mem=3MB' });
    await client.query('set statement_timeout = 54321');
    await place.takeOver();
    await place.ended(0);
    expect(await value(client, 'show statement_timeout')).toBe('54321ms');
    await client.query('reset all');
    expect(await value(client, 'show work_mem')).toBe('3MB');
    expect(await value(client, 'show statement_timeout')).toBe('0');
  });
});

describe.skipIf(ON_BUN || process.platform !== 'linux')('what an operator has asked for', () => {
  test.each(['', ' postgres'])('PAUSE%s: it is not taken over, and stays paused until RESUME', async (name) => {
    await begin();
    const client = await connect();
    const admin = await connect({ database: 'pgbouncer' });
    await admin.query(`pause${name}`);
    const waiting = value(client, 'select 1');
    expect(await place.takeOverInVain()).toBe(1);
    const why = name === '' ? 'already suspended/paused' : 'cannot suspend with paused databases';
    expect(place.log()).toMatch(new RegExp(`FATAL cannot take over .*: HAND_OVER failed: ${why}`));
    expect((await admin.query('show databases')).rows).toContainEqual(
      expect.objectContaining({ name: 'postgres', paused: name === '' ? 0 : 1 }),
    );
    await admin.query(`resume${name}`);
    expect(await waiting).toBe(1);
  });

  test('of the new process holds for clients that the old one serves still', async () => {
    const client = await beginsAndIsTakenOver();
    const admin = await connect({ database: 'pgbouncer' });
    let paused = false;
    const pausing = admin.query('pause').then(() => {
      paused = true;
    });
    expect(await value(client, 'select 1')).toBe(1);
    await new Promise((resolve) => setTimeout(resolve, 400));
    expect(paused).toBe(false);
    await client.query('commit');
    await pausing;
    const waiting = value(client, 'select 2');
    expect(await within(300, waiting)).toBe('waits');
    await (await connect({ database: 'pgbouncer' })).query('resume');
    expect(await waiting).toBe(2);
  });

  test('PAUSE that another console undoes is an error, and nothing stays paused', async () => {
    const client = await beginsAndIsTakenOver();
    const [admin, other] = [await connect({ database: 'pgbouncer' }), await connect({ database: 'pgbouncer' })];
    for (const name of ['', ' postgres']) {
      const pausing = admin.query(`pause${name}`).then(
        () => 'paused',
        (error) => error.message,
      );
      await until(async () => (await other.query('show databases')).rows.some(({ paused }) => paused) || name === '');
      await new Promise((resolve) => setTimeout(resolve, 150));
      await other.query(`resume${name}`);
      expect(await pausing).toBe('canceled by RESUME');
    }
    await client.query('commit');
    expect(await value(client, 'select 1')).toBe(1);
  });

  test.skipIf(!OPENSSL)('PAUSE ends with the process that asked for it', async () => {
    // Over TLS it stays with the old process also while it is at rest.
    await beginWithTls();
    const client = await connect({ ssl: { rejectUnauthorized: false } });
    await client.query('begin');
    await takenOver();
    const admin = await connect({ database: 'pgbouncer' });
    void admin.query('pause').catch(() => {});
    await until(() => place.log().split('PAUSE command issued').length === 3);
    await client.query('commit');
    const waiting = value(client, 'select 1');
    expect(await within(200, waiting)).toBe('waits');
    place.kill(1);
    expect(await waiting).toBe(1);
    await client.end();
    expect(await place.ended(0)).toBe(0);
  });

  test('KILL ends them, too; what goes wrong there is told', async () => {
    await begin('pool_mode = session\n');
    const client = await connect();
    await client.query('select 1');
    const ended = new Promise((resolve) => client.once('end', resolve));
    const ofTheOld = await connect({ database: 'pgbouncer' });
    await takenOver();
    const admin = await connect({ database: 'pgbouncer' });
    const notices: (string | undefined)[] = [];
    admin.on('notice', ({ message }) => notices.push(message));
    await ofTheOld.query('suspend');
    await admin.query('reconnect postgres');
    expect(notices).toEqual([]);
    await admin.query('kill postgres');
    expect(notices).toEqual(['in the process before this one, which serves clients still: already suspended/paused']);
    await ofTheOld.query('resume');
    await admin.query('resume postgres');
    expect(notices.at(-1)).toMatch(/database postgres is not paused/);
    await admin.query('kill postgres');
    await ended;
    expect(await place.ended(0)).toBe(0);
  });
});

describe.skipIf(ON_BUN || process.platform !== 'linux')('what a login proved', () => {
  test('is known to the new process: it logs in to servers by SCRAM pass-through', async () => {
    const direct = new pg.Client(server);
    await direct.connect();
    const secret = await value(direct, `select rolpassword from pg_authid where rolname = '${server.user}'`);
    await direct.end();
    await begin('default_pool_size = 1\n', String(secret));
    const client = await connect();
    const backend = await value(client, 'select pg_backend_pid()');
    await place.takeOver();
    await place.ended(0);
    await (await connect({ database: 'pgbouncer' })).query('reconnect');
    expect(await value(client, 'select pg_backend_pid()')).not.toBe(backend);
  });
});

describe.skipIf(ON_BUN || process.platform !== 'linux')('a client that is busy', () => {
  test('ends its transaction with the old process and goes on with the new one', async () => {
    await begin();
    const client = await connect();
    await client.query('begin');
    const backend = await value(client, 'select pg_backend_pid()');
    await place.takeOver();
    expect(await value(client, 'select pg_backend_pid()')).toBe(backend);
    expect(place.isRunning(0)).toBe(true);
    await client.query('commit');
    expect(await place.ended(0)).toBe(0);
    expect(await value(client, 'select 5')).toBe(5);
  });

  test('is reached by a cancel request that comes to the new process', async () => {
    await begin();
    const client = await connect();
    await client.query('begin');
    const sleeping = client.query('select pg_sleep(60)').catch((error) => error.code);
    await place.takeOver();
    await until(async () => {
      await cancel(client);
      return Promise.race([
        sleeping.then(() => true),
        new Promise<boolean>((resolve) => setTimeout(resolve, 50, false)),
      ]);
    });
    expect(await sleeping).toBe('57014');
    expect(place.isRunning(0)).toBe(true);
  });

  test('is served to the end by the old process when the new one dies', async () => {
    const client = await beginsAndIsTakenOver();
    place.kill(1);
    await place.ended(1);
    expect(await value(client, 'select 1')).toBe(1);
    await client.query('commit');
    expect(await value(client, 'select 2')).toBe(2);
    await client.end();
    expect(await place.ended(0)).toBe(0);
  });

  test.skipIf(!OPENSSL)('or over TLS stays with the old process', async () => {
    await beginWithTls();
    const client = await connect({ ssl: { rejectUnauthorized: false } });
    const plain = await connect();
    await place.takeOver();
    await until(async () => (await show('clients')).length > 1);
    expect(await value(client, 'select 1')).toBe(1);
    expect(await value(plain, 'select 1')).toBe(1);
    expect(place.isRunning(0)).toBe(true);
    await client.end();
    expect(await place.ended(0)).toBe(0);
  });
});

describe.skipIf(ON_BUN || process.platform !== 'linux')('under load', () => {
  test('no query is lost, and no connection, in five take-overs', async () => {
    await begin('default_pool_size = 5\n');
    let stop = false;
    const counts = { queries: 0, transactions: 0, logins: 0 };
    const steady = async (n: number) => {
      const client = await connect();
      for (let i = 0; !stop; i++) {
        const name = { name: `s${n % 3}`, text: 'select $1::int as n', values: [i] };
        expect((await client.query(name)).rows).toEqual([{ n: i }]);
        expect(await value(client, `select ${i}`)).toBe(i);
        counts.queries += 2;
        await client.query('begin');
        const backend = await value(client, 'select pg_backend_pid()');
        expect(await value(client, 'select pg_backend_pid()')).toBe(backend);
        await client.query('commit');
        counts.transactions++;
      }
    };
    const newcomer = async () => {
      while (!stop) {
        const client = await connect({ host: counts.logins % 2 === 0 ? '127.0.0.1' : place.dir });
        expect(await value(client, 'select 7')).toBe(7);
        await client.end();
        counts.logins++;
      }
    };
    const all = [...Array.from({ length: 20 }, (_, n) => steady(n)), newcomer(), newcomer()];
    const load = Promise.all(all);
    for (let round = 0; round < 5; round++) {
      const before = { ...counts };
      await Promise.race([
        load,
        until(() => counts.transactions > before.transactions + 100 && counts.logins > before.logins + 5),
      ]);
      await Promise.race([load, place.takeOver().then(() => place.ended(round))]);
    }
    stop = true;
    await load;
    expect(place.log()).not.toMatch(/server conn crashed|pooler error/);
  });
});

test('only the user of the process may have its connections', async () => {
  await begin();
  const admin = await connect({ database: 'pgbouncer' });
  for (const command of ['hand_over "/tmp/x"', 'forward_cancel "1 00"'])
    await expect(admin.query(command)).rejects.toThrow(/only the user of the process/);
});
