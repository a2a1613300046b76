// One process, one pool: what an acquire plus release costs at each number of callers. `time` prints nanoseconds a cycle under
// Node's ordinary settings; `bytes` prints bytes allocated a cycle, and wants a young generation that needs no collection meanwhile.
import { PerformanceObserver, performance } from 'node:perf_hooks';
import { median } from '../lib.mjs';
import { CALLERS, CONNECTIONS, POOLS } from './pools.mjs';
import { stubClient } from './stub-client.mjs';

const TIMED = 300_000;
const COUNTED = 20_000;
const WARM = 100_000;
const ROUNDS = 5;

const [name, what] = process.argv.slice(2);
const collections = new PerformanceObserver(() => {});
if (what === 'bytes') collections.observe({ entryTypes: ['gc'] });

const result = {};
for (const callers of CALLERS) {
  const pool = POOLS[name](CONNECTIONS, stubClient());
  await open(pool);
  await cycles(pool, callers, WARM);
  result[callers] = what === 'bytes' ? await bytes(pool, callers) : await nanoseconds(pool, callers);
  await pool.end();
}
console.log(JSON.stringify(result));

/** All connections open before anything is measured. */
async function open({ acquire, release }) {
  const held = await Promise.all(Array.from({ length: CONNECTIONS }, () => acquire()));
  for (const each of held) release(each);
}

/** So many callers at once, each asking again as soon as it has released, until `count` cycles are done. `at` hears the count. */
async function cycles({ acquire, release }, callers, count, at = null) {
  let done = 0;
  const caller = async () => {
    while (done < count) {
      done++;
      release(await acquire());
      if (at !== null) at(done);
    }
  };
  await Promise.all(Array.from({ length: callers }, caller));
}

async function nanoseconds(pool, callers) {
  const times = [];
  for (let round = 0; round < ROUNDS; round++) {
    globalThis.gc();
    const started = performance.now();
    await cycles(pool, callers, TIMED);
    times.push(((performance.now() - started) * 1e6) / TIMED);
  }
  return median(times);
}

/** Between two moments when all callers are under way, so that starting them does not count. */
async function bytes(pool, callers) {
  const from = 2 * callers;
  globalThis.gc();
  await seen();
  collections.takeRecords();
  let before = 0;
  let after = 0;
  let firstAt = 0;
  let lastAt = 0;
  await cycles(pool, callers, from + COUNTED + callers, (done) => {
    if (before === 0 && done >= from) {
      firstAt = done;
      before = process.memoryUsage().heapUsed;
    } else if (before !== 0 && after === 0 && done >= firstAt + COUNTED) {
      lastAt = done;
      after = process.memoryUsage().heapUsed;
    }
  });
  await seen();
  if (collections.takeRecords().length > 0) throw new Error('memory was collected meanwhile: nothing was measured');
  return (after - before) / (lastAt - firstAt);
}

/** The observer hears of a collection some turns later. */
async function seen() {
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
}
