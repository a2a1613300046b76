/** Many clients on few servers. */
import { parseDataRow, query } from '@sluice/wire';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { postgres } from './support/postgres.ts';
import { RawClient, types } from './support/raw.ts';
import { type Sluice, startSluice } from './support/sluice.ts';

const server = postgres();
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
