// One process, one pool, a network that is cut: a caller every two seconds, and how it fared. Prints JSON.
import { connect, createServer } from 'node:net';
import { performance } from 'node:perf_hooks';
import pg from 'pg';
import { TIMEOUT_MS, TIMES } from './outage-times.mjs';
import { POOLS } from './pools.mjs';

const [name, url] = process.argv.slice(2);
const target = new URL(url);
let isCut = false;
const cables = new Set();

/** Between pool and database. Cut, it takes bytes and passes none on; nobody is told, as when a cable is pulled. */
const proxy = createServer((client) => {
  const server = isCut ? null : connect(Number(target.port), target.hostname);
  const ends = server === null ? [client] : [client, server];
  for (const end of ends) {
    cables.add(end);
    end.on('error', () => {});
    end.on('close', () => {
      cables.delete(end);
      for (const other of ends) if (!isCut) other.destroy();
    });
  }
  client.on('data', (chunk) => isCut || server?.write(chunk));
  server?.on('data', (chunk) => isCut || client.write(chunk));
});
await new Promise((resolve) => proxy.listen(0, '127.0.0.1', resolve));
const through = new URL(url);
through.port = String(proxy.address().port);

class Client extends pg.Client {
  constructor() {
    super({ connectionString: through.href, connectionTimeoutMillis: TIMEOUT_MS });
    this.on('error', () => {});
  }
}

const quiet = (pool) => pool?.on?.('error', () => {});
const { pool, acquire, release, discard } = POOLS[name](10, Client, {}, { waitMs: TIMEOUT_MS, check: true });
quiet(pool);
const begun = performance.now();
const calls = [];

async function call() {
  const each = { atMs: performance.now() - begun, tookMs: null, outcome: 'never' };
  calls.push(each);
  try {
    const client = await acquire();
    try {
      await client.query('SELECT 1');
      each.outcome = 'served';
    } finally {
      if (each.outcome === 'served') release(client);
      else discard(client);
    }
  } catch (error) {
    each.outcome = 'failed';
    each.error = String(error?.message ?? error).slice(0, 160);
  }
  each.tookMs = performance.now() - begun - each.atMs;
}

setTimeout(() => {
  isCut = true;
}, TIMES.cutMs);
setTimeout(() => {
  isCut = false;
  // What was cut is gone: the other side has forgotten it and says so.
  for (const each of [...cables]) each.destroy();
}, TIMES.backMs);
const every = setInterval(call, TIMES.everyMs);
void call();
setTimeout(() => {
  clearInterval(every);
  console.log(JSON.stringify({ calls }));
  process.exit(0);
}, TIMES.endMs);
