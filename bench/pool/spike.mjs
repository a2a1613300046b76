// (c1) HikariCP's spike: how many connections does a pool open, and how long does it take, until fifty requests are served?
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { median, run } from '../lib.mjs';

const ONE = join(dirname(fileURLToPath(import.meta.url)), 'spike-one.mjs');
const CONTENDERS = ['sluice connect', 'pg-pool', 'generic-pool', 'tarn'];

export async function benchSpike(rounds, say) {
  const samples = new Map(CONTENDERS.map((name) => [name, []]));
  for (let round = 0; round < rounds; round++)
    for (const name of CONTENDERS) {
      say(`spike: ${name}, round ${round + 1} of ${rounds}`);
      samples.get(name).push(JSON.parse(await run(process.execPath, [ONE, name])));
    }
  return CONTENDERS.map((name) => {
    const own = samples.get(name).sort((a, b) => a.lastMs - b.lastMs);
    return {
      name,
      opened: median(own.map((each) => each.opened)),
      lastMs: median(own.map((each) => each.lastMs)),
      // The round in the middle, for the chart.
      servedAt: own[own.length >> 1].servedAt,
    };
  });
}
