/** SHOW FDS: how PgBouncer takes over from a running pooler, and so from this one. */
import { readlinkSync } from 'node:fs';
import { Socket } from 'node:net';
import * as wire from '@sluice/wire';
import type pg from 'pg';
import { afterEach, describe, expect, test } from 'vitest';
import { describeMessages, libc } from '../packages/sluice/src/net/libc.ts';
import { Place } from './support/place.ts';
import { postgres } from './support/postgres.ts';
import { PGBOUNCER } from './support/programs.ts';
import { RawClient } from './support/raw.ts';
import { ON_BUN } from './support/sluice.ts';

const server = postgres();
let place: Place;

const begin = async (settings?: string) => {
  place = new Place(server);
  await place.begin(settings);
};

afterEach(() => place.stop());

const connect = (config?: pg.ClientConfig) => place.connect(config);

const COLUMNS = [
  ...['fd', 'task', 'user', 'database', 'addr', 'port', 'cancel', 'link', 'client_encoding', 'std_strings'],
  ...['datestyle', 'timezone', 'password', 'scram_client_key', 'scram_server_key'],
];

describe('SHOW FDS', () => {
  test('lists listening sockets, clients and servers in PgBouncer’s columns', async () => {
    await begin();
    const client = await connect();
    await client.query("begin; set timezone = 'Asia/Tokyo'");
    const { rows, fields } = await (await connect({ database: 'pgbouncer' })).query('show fds');
    expect(fields.map(({ name }) => name)).toEqual(COLUMNS);
    expect(fields.map(({ dataTypeID }) => dataTypeID)).toEqual([
      23,
      25,
      25,
      25,
      25,
      23,
      20,
      23,
      ...Array(5).fill(25),
      17,
      17,
    ]);
    const of = (task: string) => rows.filter((row) => row.task === task);
    expect(of('pooler').map(({ addr, port }) => [addr, port])).toEqual(
      expect.arrayContaining([
        ['127.0.0.1', place.port],
        ['unix', place.port],
      ]),
    );
    const [[shownClient], [shownServer]] = [of('client'), of('server')];
    expect(shownClient).toMatchObject({ user: server.user, database: server.database, timezone: 'Asia/Tokyo' });
    expect(shownServer).toMatchObject({ user: server.user, addr: server.host, port: server.port, std_strings: 'on' });
    // Servers are logged in to with what this user proved, which is nothing for the eyes of an admin.
    for (const row of rows)
      expect([row.password, row.scram_client_key, row.scram_server_key]).toEqual([null, null, null]);
    if (!ON_BUN) expect([shownClient.link, shownServer.link]).toEqual([shownServer.fd, shownClient.fd]);
    const { processID, secretKey } = client as unknown as { processID: number; secretKey: number };
    const cancel = (BigInt(processID) << 32n) | BigInt(secretKey >>> 0);
    expect(BigInt(shownClient.cancel)).toBe(cancel);
  });

  test('is for admin_users only: it shows cancel keys', async () => {
    await begin(`admin_users =\nstats_users = ${server.user}\n`);
    const admin = await connect({ database: 'pgbouncer' });
    await expect(admin.query('SHOW FDS')).rejects.toMatchObject({ message: 'admin access needed' });
  });
});

/** What a successor does: reads a console's answers with the descriptors that come along. */
async function receive(fd: number): Promise<{ row: string[]; fd: number | null }[]> {
  describeMessages();
  const recvmsg = libc().func('int64_t recvmsg(int fd, _Inout_ msghdr *message, int flags)');
  const received: { row: string[]; fd: number | null }[] = [];
  const data = Buffer.alloc(16_384);
  for (;;) {
    const control = Buffer.alloc(64);
    const message = {
      ...{ name: null, namelen: 0, iov: [{ base: data, len: data.length }], iovlen: 1 },
      ...{ control, controllen: control.length, flags: 0 },
    };
    const size = Number(recvmsg(fd, message, 0x40));
    if (size < 0) {
      await new Promise((resolve) => setTimeout(resolve, 5));
      continue;
    }
    let passed = message.controllen >= 20 ? control.readInt32LE(16) : null;
    for (let at = 0; at < size; at += 1 + data.readInt32BE(at + 1)) {
      const type = String.fromCharCode(data[at]!);
      if (type === 'Z') return received;
      if (type !== 'D') continue;
      const cells = wire.parseDataRow(data, at + 5, at + 1 + data.readInt32BE(at + 1));
      received.push({ row: cells.map((cell) => Buffer.from(cell ?? []).toString()), fd: passed });
      passed = null;
    }
  }
}

describe.skipIf(ON_BUN || process.platform !== 'linux')('a successor that speaks PgBouncer’s way', () => {
  const console = async () => {
    const { setuid, setgid } = { setuid: process.seteuid!, setgid: process.setegid! };
    // Only the daemon's own user is handed descriptors.
    if (process.getuid!() === 0) {
      setgid('nogroup');
      setuid('nobody');
    }
    const socket = new Socket();
    socket.pause(); // what it brings is read beside it
    socket.connect(`${place.dir}/.s.PGSQL.${place.port}`);
    await new Promise((resolve) => socket.once('connect', resolve));
    if (process.getuid!() === 0) {
      setuid('root');
      setgid('root');
    }
    const { fd } = (socket as unknown as { _handle: { fd: number } })._handle;
    return { fd, ask: (sql: string) => void socket.write(wire.query(sql)), socket };
  };

  test('gets the descriptors of what is at rest, and those connections go on when the old process is gone', async () => {
    await begin('auth_type = trust\n');
    const { raw: resting } = await RawClient.login({ ...server, port: place.port });
    const { raw: busy } = await RawClient.login({ ...server, port: place.port });
    busy.send(wire.query('begin'));
    await busy.until('Z');
    const { fd, ask, socket } = await console();
    socket.write(wire.startupMessage({ major: 3, minor: 0, params: { user: 'pgbouncer', database: 'pgbouncer' } }));
    await receive(fd);
    ask('SUSPEND');
    await receive(fd);
    ask('SHOW FDS');
    const passed = await receive(fd);
    // The one that is in a transaction stays, and so does its server.
    expect(passed.map(({ row }) => row[1]).sort()).toEqual(['client', 'pooler', 'pooler']);
    for (const { row, fd: own } of passed)
      expect(readlinkSync(`/proc/self/fd/${own}`)).toBe(readlinkSync(`/proc/${place.pid(0)}/fd/${row[0]}`));
    ask('SHUTDOWN');
    busy.send(wire.query('commit'));
    expect((await busy.until('Z')).map(({ type }) => type)).toEqual(['C', 'Z']);
    busy.socket.destroy();
    expect(await place.ended(0)).toBe(0);
    const went = passed.find(({ row }) => row[1] === 'client')!;
    const adopted = new Socket({ fd: went.fd! });
    adopted.write(wire.noticeResponse({ severity: 'NOTICE', code: '00000', message: 'from the successor' }));
    const first = (await resting.next())!;
    expect([first.type, first.body.toString()]).toEqual(['N', expect.stringContaining('from the successor')]);
    adopted.destroy();
    socket.destroy();
  });
});

describe.skipIf(PGBOUNCER === null || ON_BUN || process.platform !== 'linux')('PgBouncer itself', () => {
  test('takes over with -R: clients at rest go on with it, those in a transaction end it first', async () => {
    await begin();
    const client = await connect();
    const busy = await connect();
    await busy.query('begin');
    expect((await client.query('select 1 as n')).rows).toEqual([{ n: 1 }]);
    await place.takeOver(PGBOUNCER);
    expect((await busy.query('select 4 as n')).rows).toEqual([{ n: 4 }]);
    await busy.query('commit');
    await busy.end();
    expect(await place.ended(0)).toBe(0);
    expect((await client.query('select 2 as n')).rows).toEqual([{ n: 2 }]);
    const fresh = await connect();
    expect((await fresh.query('select 3 as n')).rows).toEqual([{ n: 3 }]);
    const admin = await connect({ database: 'pgbouncer' });
    expect((await admin.query('show version')).rows[0].version).toMatch(/^PgBouncer/);
    expect((await admin.query('show clients')).rows.length).toBeGreaterThan(2);
  });

  test('takes over under load: no query is lost', async () => {
    await begin('default_pool_size = 4\n');
    const failures: string[] = [];
    let [stopped, queries] = [false, 0];
    const work = async (i: number) => {
      const client = await connect();
      while (!stopped) {
        const { rows } = await client.query(i % 2 === 0 ? `select ${i} as n` : `begin; select ${i} as n; commit`).then(
          (result) => [result].flat().find(({ rows: found }) => found.length > 0)!,
          (error: Error) => ({ rows: [{ n: error.message }] }),
        );
        queries++;
        if (rows[0].n !== i) failures.push(String(rows[0].n));
        if (failures.length > 0) return;
      }
    };
    const all = Array.from({ length: 20 }, (_, i) => work(i));
    await new Promise((resolve) => setTimeout(resolve, 300));
    await place.takeOver(PGBOUNCER);
    const before = queries;
    await new Promise((resolve) => setTimeout(resolve, 700));
    stopped = true;
    await Promise.all(all);
    expect(failures).toEqual([]);
    expect(queries).toBeGreaterThan(before);
  });
});
