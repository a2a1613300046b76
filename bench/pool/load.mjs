// (b) Real PostgreSQL on loopback: 500 callers on ten connections, each pool in processes of its own, in turns.
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { median, run } from '../lib.mjs';

const ONE = join(dirname(fileURLToPath(import.meta.url)), 'load-one.mjs');
const CONTENDERS = ['sluice connect', 'sluice acquire', 'pg-pool', 'generic-pool', 'tarn'];
export const LOAD_CALLERS = 500;

export async function benchLoad(url, rounds, seconds, say) {
  const samples = new Map(CONTENDERS.map((name) => [name, []]));
  for (let round = 0; round < rounds; round++)
    // Every other round backwards, so that a drift of the machine favours nobody.
    for (const name of round % 2 === 0 ? CONTENDERS : [...CONTENDERS].reverse()) {
      say(`load: ${name}, round ${round + 1} of ${rounds}`);
      samples
        .get(name)
        .push(JSON.parse(await run(process.execPath, [ONE, name, url, String(LOAD_CALLERS), String(seconds)])));
    }
  const base = samples.get('pg-pool');
  return CONTENDERS.map((name) => {
    const own = samples.get(name);
    const of = (field) => median(own.map((each) => each[field]));
    const ratio = (field) => median(own.map((each, round) => each[field] / base[round][field]));
    return {
      name,
      perSecond: of('perSecond'),
      p50: of('p50'),
      p99: of('p99'),
      max: of('max'),
      cpuMicros: of('cpuMicros'),
      throughputToPgPool: ratio('perSecond'),
      p99ToPgPool: ratio('p99'),
      samples: own,
    };
  });
}
