// One process, one pool, real PostgreSQL. Told by its parent, it runs so many callers in a closed loop for a slice of time: each
// acquires, asks one row, releases. Between slices its connections stay open and it does nothing.
import { performance } from 'node:perf_hooks';
import pg from 'pg';
import { percentile } from '../lib.mjs';
import { CONNECTIONS, POOLS } from './pools.mjs';

const [name, connectionString, callersText] = process.argv.slice(2);
/** The beginning of a slice, when the callers have not spread yet. */
const LEAD_MS = 100;

/** The same connection for pools that make their clients themselves and for those that are given a function. */
class Client extends pg.Client {
  constructor() {
    super({ connectionString });
  }
}

const { acquire, release, end } = POOLS[name](CONNECTIONS, Client);

async function slice(ms) {
  let measured = false;
  let over = false;
  const latencies = [];
  const caller = async () => {
    while (!over) {
      const started = performance.now();
      const client = await acquire();
      try {
        await client.query('SELECT 1');
      } finally {
        release(client);
      }
      if (measured) latencies.push(performance.now() - started);
    }
  };
  const callers = Array.from({ length: Number(callersText) }, caller);
  await new Promise((resolve) => setTimeout(resolve, LEAD_MS));
  measured = true;
  const started = performance.now();
  const before = process.cpuUsage();
  await new Promise((resolve) => setTimeout(resolve, ms));
  measured = false;
  const seconds = (performance.now() - started) / 1_000;
  const used = process.cpuUsage(before);
  over = true;
  await Promise.all(callers);
  latencies.sort((a, b) => a - b);
  return {
    perSecond: latencies.length / seconds,
    p50: percentile(latencies, 0.5),
    p99: percentile(latencies, 0.99),
    cpuMicros: (used.user + used.system) / latencies.length,
  };
}

process.on('message', async (ms) => {
  if (ms === null) {
    await end();
    process.disconnect();
  } else process.send(await slice(ms));
});
