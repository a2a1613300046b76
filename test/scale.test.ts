/** Many clients on few servers, large results, slow readers. */
import { readFileSync } from 'node:fs';
import { parseDataRow, query } from '@sluice/wire';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { RawClient, types } from './support/raw.ts';
import { type Sluice, startSluice } from './support/sluice.ts';

const server = inject('postgres');
let sluice: Sluice;

beforeAll(async () => {
  sluice = await startSluice(server, { settings: 'default_pool_size = 10' });
});
afterAll(() => sluice.stop());

const at = () => ({ ...server, port: sluice.port });
const residentBytes = () =>
  Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${sluice.pid}/status`, 'utf8'))![1]) * 1024;

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

test.runIf(process.platform === 'linux')(
  'a gigabyte of rows passes in constant memory, and a client that stops reading stops only itself',
  async () => {
    const { raw: slow } = await RawClient.login(at());
    slow.socket.removeAllListeners('data');
    slow.socket.pause();
    const { raw: quick } = await RawClient.login(at());
    quick.send(query('select 1'));
    await quick.until('Z');
    const before = residentBytes();
    slow.send(query("select repeat('x', 1000000) from generate_series(1, 1000)"));
    for (let i = 0; i < 200; i++) {
      quick.send(query(`select ${i}`));
      expect(types(await quick.until('Z'))).toBe('TDCZ');
    }
    let received = 0;
    await new Promise<void>((resolve) => {
      slow.socket.on('data', (chunk) => {
        received += chunk.length;
        if (received > 1_000_000_000) resolve();
      });
      slow.socket.resume();
    });
    expect(residentBytes() - before).toBeLessThan(64 << 20);
    slow.end();
    quick.end();
  },
  120_000,
);
