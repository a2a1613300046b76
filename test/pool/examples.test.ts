/** The examples run as they stand: started as processes, called over HTTP, stopped with a signal. */
import { type ChildProcess, spawn } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { postgres } from '../support/postgres.ts';

const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const server = postgres();
const admin = new pg.Pool({ ...server, max: 1, allowExitOnIdle: true });
let child: ChildProcess;
let ended: Promise<number | null>;
let output = '';

beforeEach(() => admin.query('drop table if exists payments'));
afterEach(async () => {
  child.kill('SIGKILL');
  await ended;
});

async function start(name: string): Promise<string> {
  const { user, password, host, port, database } = server;
  output = '';
  child = spawn(process.execPath, [join(ROOT, 'examples', name, 'app.mjs')], {
    env: { ...process.env, DATABASE_URL: `postgres://${user}:${password}@${host}:${port}/${database}`, PORT: '0' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  ended = new Promise((resolve) => child.once('close', resolve));
  const at = await new Promise<string>((resolve, reject) => {
    const look = (chunk: Buffer) => {
      output += chunk;
      const port = /listening on (\d+)/.exec(output)?.[1];
      if (port !== undefined) resolve(`http://127.0.0.1:${port}`);
    };
    child.stdout!.on('data', look);
    child.stderr!.on('data', look);
    child.once('close', () => reject(new Error(`ended before it listened:\n${output}`)));
  });
  return at;
}

describe.each(['fastify', 'express'])('%s', (name) => {
  test('pays in transactions, tells its health, gives every connection back, and drains at TERM', async () => {
    const at = await start(name);
    const json = async (path: string, method = 'GET') => (await fetch(at + path, { method })).json();
    expect(await json('/balance')).toEqual({ balance: 0 });
    // More at once than there are connections: those beyond wait their turn, those that conflict are tried again.
    await Promise.all(Array.from({ length: 12 }, () => json('/balance')));
    for (let i = 0; i < 3; i++) await json('/pay/5', 'POST');
    expect((await fetch(`${at}/pay/-1000`, { method: 'POST' })).status).toBe(409);
    expect(await json('/balance')).toEqual({ balance: 15 });
    expect(await json('/health')).toMatchObject({ ok: true });
    expect((await fetch(`${at}/health`)).status).toBe(200);
    child.kill('SIGTERM');
    expect(await ended).toBe(0);
    expect(output).not.toMatch(/warning/i);
    const { rows } = await admin.query(
      "select count(*)::int as n from pg_stat_activity where state is not null and query like '%payments%' and pid <> pg_backend_pid()",
    );
    expect(rows).toEqual([{ n: 0 }]);
  });
});
