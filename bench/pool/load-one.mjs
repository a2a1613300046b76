// One process, one pool, real PostgreSQL: so many callers in a closed loop, each acquires, asks one row, releases. Prints JSON.
import { performance } from 'node:perf_hooks';
import pg from 'pg';
import { percentile } from '../lib.mjs';
import { CONNECTIONS, POOLS } from './pools.mjs';

const [name, url, callersText, secondsText] = process.argv.slice(2);
const WARM_MS = 1_500;
const { acquire, release, end } = POOLS[name](CONNECTIONS, clientOf(url));
let measured = false;
let over = false;
const latencies = [];

/** The same connection for pools that make their clients themselves and for those that are given a function. */
function clientOf(connectionString) {
  return class extends pg.Client {
    constructor() {
      super({ connectionString });
    }
  };
}

async function caller() {
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
}

const callers = Array.from({ length: Number(callersText) }, caller);
await new Promise((resolve) => setTimeout(resolve, WARM_MS));
measured = true;
const started = performance.now();
const before = process.cpuUsage();
await new Promise((resolve) => setTimeout(resolve, Number(secondsText) * 1_000));
measured = false;
const seconds = (performance.now() - started) / 1_000;
const used = process.cpuUsage(before);
over = true;
await Promise.all(callers);
await end();
const sorted = latencies.sort((a, b) => a - b);
console.log(
  JSON.stringify({
    perSecond: sorted.length / seconds,
    p50: percentile(sorted, 0.5),
    p99: percentile(sorted, 0.99),
    max: sorted.at(-1),
    cpuMicros: (used.user + used.system) / sorted.length,
  }),
);
