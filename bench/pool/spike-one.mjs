// One process, one pool: fifty requests at once on five idle connections, 150 ms to dial, 2 ms a query. Prints JSON.
import { performance } from 'node:perf_hooks';
import { POOLS } from './pools.mjs';
import { stubClient } from './stub-client.mjs';

const REQUESTS = 50;
const IDLE = 5;
const MAX = 50;
const DIAL_MS = 150;
const QUERY_MS = 2;

let dials = 0;
class Client extends stubClient({ dialMs: DIAL_MS, queryMs: QUERY_MS }) {
  connect(callback) {
    dials++;
    return super.connect(callback);
  }
}

const { acquire, release, end } = POOLS[process.argv[2]](MAX, Client);
const held = await Promise.all(Array.from({ length: IDLE }, () => acquire()));
for (const each of held) release(each);
await new Promise((resolve) => setTimeout(resolve, 400));
// The measure is the spike's own: what it took to get here does not count.
const before = dials;
const started = performance.now();
const servedAt = [];
await Promise.all(
  Array.from({ length: REQUESTS }, async () => {
    const client = await acquire();
    await client.query('SELECT 1');
    release(client);
    servedAt.push(performance.now() - started);
  }),
);
const lastMs = performance.now() - started;
// Dials under way are counted; so is what a pool goes on to dial afterwards.
await new Promise((resolve) => setTimeout(resolve, 2 * DIAL_MS));
await end();
console.log(JSON.stringify({ before, opened: dials - before, lastMs, servedAt }));
