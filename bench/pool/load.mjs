// (b) Real PostgreSQL on loopback: 500 callers on ten connections. A process a pool; they take turns by slices of a second, so
// that what else the machine does meets them all alike; and the whole several times, with processes of their own.
import { fork } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { median } from '../lib.mjs';

const ONE = join(dirname(fileURLToPath(import.meta.url)), 'load-one.mjs');
const CONTENDERS = ['sluice connect', 'sluice acquire', 'pg-pool', 'generic-pool', 'tarn'];
const SLICES = 8;
const SLICE_MS = 600;
const WARM_MS = 500;
export const LOAD_CALLERS = 500;

const slice = (child, ms) =>
  new Promise((resolve, reject) => {
    child.once('message', resolve);
    child.once('error', reject);
    child.send(ms);
  });

export async function benchLoad(url, processes, say) {
  const samples = new Map(CONTENDERS.map((name) => [name, []]));
  for (let round = 0; round < processes; round++) {
    say(`load: round ${round + 1} of ${processes}`);
    const children = CONTENDERS.map((name) => ({ name, child: fork(ONE, [name, url, String(LOAD_CALLERS)]) }));
    for (const { child } of children) await slice(child, WARM_MS);
    for (let turn = 0; turn < SLICES; turn++)
      // Every other time backwards, so that nobody always comes after the same neighbour.
      for (const { name, child } of turn % 2 === 0 ? children : [...children].reverse())
        samples.get(name).push(await slice(child, SLICE_MS));
    await Promise.all(
      children.map(({ child }) => new Promise((resolve) => child.once('exit', resolve) && child.send(null))),
    );
  }
  const base = samples.get('pg-pool');
  return CONTENDERS.map((name) => {
    const own = samples.get(name);
    const of = (field) => median(own.map((each) => each[field]));
    const ratio = (field) => median(own.map((each, turn) => each[field] / base[turn][field]));
    return {
      name,
      perSecond: of('perSecond'),
      p50: of('p50'),
      p99: of('p99'),
      cpuMicros: of('cpuMicros'),
      throughputToPgPool: ratio('perSecond'),
      p99ToPgPool: ratio('p99'),
      cpuToPgPool: ratio('cpuMicros'),
    };
  });
}
