// One process, one pool: nanoseconds and bytes an acquire plus release, at each number of callers. Prints JSON.
import { performance } from 'node:perf_hooks';
import { POOLS } from './pools.mjs';
import { stubClient } from './stub-client.mjs';

const [name, cyclesText = '300000'] = process.argv.slice(2);
const CONNECTIONS = 10;
const result = {};
for (const callers of [1, 10, 100, 5_000]) {
  const pool = POOLS[name](CONNECTIONS, stubClient());
  await warm(pool);
  await run(pool, callers, 60_000);
  const cycles = Number(cyclesText);
  globalThis.gc();
  const times = [];
  for (let round = 0; round < 3; round++) {
    const started = performance.now();
    await run(pool, callers, cycles);
    times.push(((performance.now() - started) * 1e6) / cycles);
  }
  result[callers] = { ns: Math.min(...times), bytes: await allocated(pool, callers) };
  await pool.end();
}
console.log(JSON.stringify(result));

/** All connections open before anything is measured. */
async function warm({ acquire, release }) {
  const held = await Promise.all(Array.from({ length: CONNECTIONS }, () => acquire()));
  for (const each of held) release(each);
}

async function run({ acquire, release }, callers, cycles) {
  let left = cycles;
  const caller = async () => {
    while (left-- > 0) release(await acquire());
  };
  await Promise.all(Array.from({ length: callers }, caller));
}

/** Bytes a cycle, by a young generation too large to be collected meanwhile. */
async function allocated(pool, callers) {
  const cycles = 20_000;
  globalThis.gc();
  const before = process.memoryUsage().heapUsed;
  await run(pool, callers, cycles);
  return (process.memoryUsage().heapUsed - before) / cycles;
}
