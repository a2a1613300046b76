/** What is large passes in constant memory: the daemon's peak at the end is its peak after a tenth. */
import { readFileSync } from 'node:fs';
import { copyData, copyDone, query } from '@sluice/wire';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { postgres } from './support/postgres.ts';
import { RawClient, types } from './support/raw.ts';
import { type Sluice, startSluice } from './support/sluice.ts';

const MEGABYTE = 1_000_000;
const server = postgres();

describe.runIf(process.platform === 'linux')('in constant memory passes', () => {
  let daemon: Sluice;
  // The peak never falls: each test has a daemon of its own.
  beforeEach(async () => {
    daemon = await startSluice(server);
  });
  afterEach(() => daemon.stop());

  const login = async () => (await RawClient.login({ ...server, port: daemon.port })).raw;
  /** The most the daemon ever had resident. */
  const peakBytes = () =>
    Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${daemon.pid}/status`, 'utf8'))![1]) * 1024;
  /** A tenth goes first and lets the runtime's heap settle. An eighth of the rest is more than any collector leaves lying. */
  const passes = async (megabytes: number, pass: (megabytes: number) => Promise<void>) => {
    await pass(megabytes / 10);
    const settled = peakBytes();
    await pass(megabytes);
    expect(peakBytes() - settled).toBeLessThan((megabytes * MEGABYTE * 0.9) / 8);
  };

  test('a gigabyte of rows, and a client that stops reading stops only itself', async () => {
    const quick = await login();
    await passes(1_000, async (megabytes) => {
      const slow = await login();
      slow.socket.removeAllListeners('data');
      slow.socket.pause();
      slow.send(query(`select repeat('x', 1000000) from generate_series(1, ${megabytes})`));
      // Time enough for all of it to pile up in a daemon that reads on.
      for (const end = Date.now() + 2_000; Date.now() < end; ) {
        quick.send(query('select 1'));
        expect(types(await quick.until('Z'))).toBe('TDCZ');
      }
      await bytesArrive(slow, megabytes * MEGABYTE);
      slow.end();
    });
    quick.end();
  }, 120_000);

  test('a row of a gigabyte', async () => {
    await passes(1_000, async (megabytes) => {
      const raw = await login();
      raw.send(query(`select repeat('x', ${megabytes * MEGABYTE})`));
      await bytesArrive(raw, megabytes * MEGABYTE, 2_000);
      raw.end();
    });
  }, 120_000);

  test('a query of 500 megabytes', async () => {
    await passes(500, async (megabytes) => {
      const raw = await login();
      const text = Buffer.alloc(megabytes * MEGABYTE, ' ');
      text.write('select 1');
      raw.socket.write(query(text.toString('latin1')));
      expect(types(await raw.until('Z'))).toBe('TDCZ');
      raw.end();
    });
  }, 120_000);

  test('a COPY of a gigabyte to a client', async () => {
    await passes(1_000, async (megabytes) => {
      const raw = await login();
      raw.send(query(`copy (select repeat('x', 1000000) from generate_series(1, ${megabytes})) to stdout`));
      await bytesArrive(raw, megabytes * MEGABYTE, 2_000);
      raw.end();
    });
  }, 120_000);

  test('a COPY of a gigabyte from a client', async () => {
    const lines = copyData(Buffer.from(`${'x'.repeat(999)}\n`.repeat(1_000)));
    await passes(1_000, async (megabytes) => {
      const raw = await login();
      const rows = "case line when 'wait' then pg_sleep(2)::text end is not null and line = ''";
      raw.send(query(`create temp table sink (line text) on commit drop; copy sink from stdin where ${rows}`));
      expect(types(await raw.until('G'))).toBe('CG');
      raw.send(copyData(Buffer.from('wait\n')));
      for (let i = 0; i < megabytes; i++)
        if (!raw.socket.write(lines)) await new Promise((resolve) => raw.socket.once('drain', resolve));
      raw.send(copyDone());
      const end = await raw.until('Z');
      expect([types(end), end[0]!.body.toString()]).toEqual(['CZ', 'COPY 0\0']);
      raw.end();
    });
  }, 120_000);
});

/** Reads on and throws away, until so many bytes have come. A pause after the first lets a daemon that reads on pile up the rest. */
function bytesArrive(raw: RawClient, count: number, pauseMs = 0): Promise<void> {
  return new Promise((resolve, reject) => {
    let received = 0;
    raw.socket.removeAllListeners('data');
    raw.socket.on('data', (chunk) => {
      if (received === 0 && pauseMs > 0) {
        raw.socket.pause();
        setTimeout(() => raw.socket.resume(), pauseMs);
      }
      received += chunk.length;
      if (received > count) resolve();
    });
    raw.socket.once('close', () => reject(new Error(`closed after ${received} of ${count} bytes`)));
    raw.socket.resume();
  });
}
