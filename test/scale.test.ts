/** Many clients on few servers, large results, slow readers. */
import { readFileSync } from 'node:fs';
import { parseDataRow, query } from '@sluice/wire';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { RawClient, types } from './support/raw.ts';
import { type Sluice, startSluice } from './support/sluice.ts';

const server = inject('postgres');
let sluice: Sluice;

beforeAll(async () => {
  sluice = await startSluice(server, { settings: 'default_pool_size = 10' });
});
afterAll(() => sluice.stop());

const at = () => ({ ...server, port: sluice.port });

test('2,000 clients on 10 servers: everybody gets the answers to their own questions', async () => {
  const clients: RawClient[] = [];
  for (let batch = 0; batch < 20; batch++) {
    const made = await Promise.all(Array.from({ length: 100 }, () => RawClient.login(at())));
    clients.push(...made.map(({ raw }) => raw));
  }
  for (let round = 0; round < 3; round++) {
    clients.forEach((raw, i) => {
      raw.send(query(`select ${i * 10 + round} as n, pg_backend_pid()`));
    });
    const answers = await Promise.all(clients.map((raw) => raw.until('Z')));
    const backends = new Set<string>();
    answers.forEach((messages, i) => {
      expect(types(messages)).toBe('TDCZ');
      const [n, pid] = parseDataRow(messages[1]!.body, 0, messages[1]!.body.length).map((value) =>
        Buffer.from(value!).toString(),
      );
      expect(n).toBe(String(i * 10 + round));
      backends.add(pid!);
    });
    expect(backends.size).toBeLessThanOrEqual(10);
  }
  for (const raw of clients) raw.end();
}, 120_000);

describe.runIf(process.platform === 'linux')('constant memory: the peak at the end is the peak after a tenth', () => {
  let daemon: Sluice;
  beforeAll(async () => {
    daemon = await startSluice(server);
  });
  afterAll(() => daemon.stop());

  const here = () => ({ ...server, port: daemon.port });
  /** The most the daemon ever had resident. */
  const peakBytes = () =>
    Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${daemon.pid}/status`, 'utf8'))![1]) * 1024;
  /** A tenth goes first and lets the runtime's heap settle. An eighth of the rest is more than any collector leaves lying. */
  const passes = async (pass: (megabytes: number) => Promise<void>) => {
    await pass(100);
    const settled = peakBytes();
    await pass(1000);
    expect(peakBytes() - settled).toBeLessThan(900_000_000 / 8);
  };

  test('a gigabyte of rows, and a client that stops reading stops only itself', async () => {
    const { raw: quick } = await RawClient.login(here());
    await passes(async (megabytes) => {
      const { raw: slow } = await RawClient.login(here());
      slow.socket.removeAllListeners('data');
      slow.socket.pause();
      slow.send(query(`select repeat('x', 1000000) from generate_series(1, ${megabytes})`));
      // Time enough for all of it to pile up in a daemon that reads on.
      for (const end = Date.now() + 2_000; Date.now() < end; ) {
        quick.send(query('select 1'));
        expect(types(await quick.until('Z'))).toBe('TDCZ');
      }
      await bytesArrive(slow, megabytes * 1_000_000);
      slow.end();
    });
    quick.end();
  }, 120_000);
});

/** Reads on and throws away, until so many bytes have come. */
function bytesArrive(raw: RawClient, count: number): Promise<void> {
  return new Promise((resolve, reject) => {
    let received = 0;
    raw.socket.on('data', (chunk) => {
      received += chunk.length;
      if (received > count) resolve();
    });
    raw.socket.once('close', () => reject(new Error(`closed after ${received} of ${count} bytes`)));
    raw.socket.resume();
  });
}
