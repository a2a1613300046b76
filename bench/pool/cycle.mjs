// (a) Acquire plus release over clients without a network: each pool in processes of its own, in turns, so that what else the
// machine does meets them all.
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { median, run } from '../lib.mjs';
import { CALLERS } from './pools.mjs';

const ONE = join(dirname(fileURLToPath(import.meta.url)), 'cycle-one.mjs');
const ROOMY = ['--min-semi-space-size=512', '--max-semi-space-size=512'];
export const CONTENDERS = ['sluice connect', 'sluice acquire', 'pg-pool', 'generic-pool', 'tarn'];

export async function benchCycle(processes, say) {
  const samples = new Map(CONTENDERS.map((name) => [name, { ns: [], bytes: [] }]));
  for (let round = 0; round < processes; round++)
    for (const name of CONTENDERS) {
      say(`cycle: ${name}, process ${round + 1} of ${processes}`);
      const sample = samples.get(name);
      sample.ns.push(JSON.parse(await run(process.execPath, ['--expose-gc', ONE, name, 'time'])));
      sample.bytes.push(JSON.parse(await run(process.execPath, ['--expose-gc', ...ROOMY, ONE, name, 'bytes'])));
    }
  return CALLERS.map((callers) => ({
    callers,
    pools: CONTENDERS.map((name) => {
      const { ns, bytes } = samples.get(name);
      const of = (list) => list.map((each) => each[callers]);
      return { name, ns: median(of(ns)), bytes: median(of(bytes)), nsAll: of(ns) };
    }),
  }));
}
