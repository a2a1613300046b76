/** session_state = follow when things happen in the very moment in which a server is asked what its client has left behind. */
import * as wire from '@sluice/wire';
import { afterEach, expect, test } from 'vitest';
import { Clients } from './support/clients.ts';
import { postgres } from './support/postgres.ts';
import { FaultyProxy } from './support/proxy.ts';
import { cell, errorOf, keyOf, RawClient, types } from './support/raw.ts';
import { type Sluice, startSluice } from './support/sluice.ts';

const server = postgres();
let sluice: Sluice;
let clients: Clients;

/** So much to ask for that there is time to do something meanwhile. */
const MUCH = Array.from({ length: 1000 }, (_, i) => `set app.x${i} = 'v'`).join('; ');
const PID_AND_MUCH = `select 'pid' || pg_backend_pid(); ${MUCH}`;

async function begin(settings = 'default_pool_size = 2', databases?: string): Promise<void> {
  sluice = await startSluice(server, {
    ...(databases === undefined ? {} : { databases }),
    settings: `server_round_robin = 1\nsession_state = follow\n${settings}`,
  });
  clients = new Clients({ ...server, port: sluice.port });
}
afterEach(async () => {
  await clients.end();
  await sluice.stop();
});

const login = () => RawClient.login({ ...server, port: sluice.port });

/** Somebody else, who asks for 1 all the time and must get nothing but 1. */
async function witness(): Promise<() => Promise<string[]>> {
  const { raw } = await login();
  const odd: string[] = [];
  let stop = false;
  const loop = (async () => {
    while (!stop && !raw.closed) {
      raw.send(wire.query('select 1'));
      const got = types(await raw.until('Z'));
      if (got !== 'TDCZ' && !raw.closed) odd.push(got);
    }
  })();
  return async () => {
    await new Promise((resolve) => setTimeout(resolve, 300));
    stop = true;
    await loop;
    return odd;
  };
}

test('a notification that comes when the question is cancelled reaches who listens, and nobody else', async () => {
  await begin();
  const admin = await new Clients(server).pg();
  const { raw } = await login();
  const others = await witness();
  raw.send(wire.query('listen secret'));
  await raw.until('Z');
  raw.send(wire.query(PID_AND_MUCH));
  const pid = cell(await raw.until('Z')).slice(3);
  await admin.query("notify secret, 'for one only'");
  await admin.query("select pg_cancel_backend(pid) from pg_stat_activity where pid = $1 and state = 'active'", [pid]);
  const heard = await raw.until('A');
  expect(heard.at(-1)!.body.toString('latin1')).toContain('for one only');
  expect(await others()).toEqual([]);
  await admin.end();
});

test('the end of a server whose client has left meanwhile is told to nobody', async () => {
  await begin();
  const admin = await new Clients(server).pg();
  const { raw } = await login();
  const others = await witness();
  for (let i = 0; i < 5; i++) {
    const { raw: leaving } = await login();
    leaving.send(wire.query(PID_AND_MUCH));
    const pid = cell(await leaving.until('Z')).slice(3);
    leaving.socket.destroy();
    await admin.query(
      "select pg_terminate_backend(pid) from pg_stat_activity where pid = $1 and state = 'active' and query ~ 'n.name'",
      [pid],
    );
  }
  expect(await others()).toEqual([]);
  raw.socket.destroy();
  await admin.end();
});

test('a server that hangs meanwhile costs its pool no place, though its client has left', async () => {
  const proxy = await FaultyProxy.start(server);
  await begin('default_pool_size = 1\nserver_answer_timeout = 1', `* = host=127.0.0.1 port=${proxy.port}`);
  const { raw } = await login();
  raw.send(wire.query(MUCH));
  await raw.until('Z');
  proxy.hang();
  raw.socket.destroy();
  await new Promise((resolve) => setTimeout(resolve, 500));
  proxy.hanging = false;
  const { raw: next } = await login();
  next.send(wire.query('select 1'));
  // It was told that it waits.
  expect(types(await next.until('Z'))).toMatch(/TDCZ$/);
  next.socket.destroy();
  await proxy.stop();
});

test('a cancel request stops the query that waits for it', async () => {
  await begin();
  const { raw, greeting } = await login();
  const { pid, key } = keyOf(greeting);
  raw.send(wire.query(MUCH));
  await raw.until('Z');
  raw.send(wire.query('select pg_sleep(20)'));
  await new Promise((resolve) => setTimeout(resolve, 15));
  const canceller = await RawClient.connect(sluice.host, sluice.port);
  canceller.send(wire.cancelRequest(pid, key));
  expect(errorOf(await raw.until('Z')).code).toBe('57014');
  raw.send(wire.query("select current_setting('app.x999')"));
  expect(cell(await raw.until('Z'))).toBe('v');
});

test('currval() behind a Flush is in the transaction that has drawn the value', async () => {
  await begin();
  const { raw } = await login();
  const run = (sql: string) => [
    wire.parse('', sql),
    Buffer.from([0x42, 0, 0, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0]),
    Buffer.from([0x45, 0, 0, 0, 9, 0, 0, 0, 0, 0]),
  ];
  raw.send(wire.query('create sequence drawn'));
  await raw.until('Z');
  try {
    raw.send(...run("select nextval('drawn')"), Buffer.from([0x48, 0, 0, 0, 4]));
    await raw.until('C');
    raw.send(...run("select currval('drawn')"), Buffer.from([0x53, 0, 0, 0, 4]));
    expect(types(await raw.until('Z'))).toBe('12DCZ');
  } finally {
    raw.send(wire.query('drop sequence drawn'));
    await raw.until('Z');
  }
});
