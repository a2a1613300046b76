// npm run bench:pool: @sluice/pool beside pg-pool, generic-pool and tarn. Flags: --only cycle,load,spike,outage --processes N
// --out DIR. With --only the other parts' last figures stay.
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { startEmbedded } from '../../packages/sluice/dist/embedded/postgres.js';
import { outageChart, spikeChart } from './chart.mjs';
import { benchCycle } from './cycle.mjs';
import { benchLoad } from './load.mjs';
import { benchOutage } from './outage.mjs';
import { TIMES } from './outage-times.mjs';
import { renderPools } from './report.mjs';
import { benchSpike } from './spike.mjs';

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: 'cycle,load,spike,outage' },
    processes: { type: 'string', default: '5' },
    out: { type: 'string', default: join(dirname(fileURLToPath(import.meta.url)), '..', 'results') },
  },
});
const parts = values.only.split(',');
const processes = Number(values.processes);
const say = (what) => console.error(what);

async function withPostgres(work) {
  const dir = mkdtempSync(join(tmpdir(), 'sluice-bench-'));
  chmodSync(dir, 0o755);
  const server = await startEmbedded({ dataDir: join(dir, 'pg'), throwaway: true, settings: { max_connections: 100 } });
  try {
    const { user, password, port, database } = server;
    return await work(`postgres://${user}:${encodeURIComponent(password)}@127.0.0.1:${port}/${database}`);
  } finally {
    await server.stop('immediate');
    rmSync(dir, { recursive: true, force: true });
  }
}

const about = `Node ${process.version}, ${cpus().length} processors (${cpus()[0].model.trim()}); medians over processes of their own that took turns. Made by \`npm run bench:pool\`.`;

mkdirSync(values.out, { recursive: true });
const json = join(values.out, 'pool.json');
const result = existsSync(json) ? JSON.parse(readFileSync(json, 'utf8')) : {};
result.about = about;
const save = () => {
  writeFileSync(json, `${JSON.stringify(result, null, 1)}\n`);
  writeFileSync(join(values.out, 'pool.md'), renderPools(result));
};
if (parts.includes('spike')) {
  result.spike = await benchSpike(processes, say);
  writeFileSync(join(values.out, 'pool-spike.svg'), spikeChart(result.spike));
  save();
}
if (parts.includes('cycle')) {
  result.cycle = await benchCycle(processes, say);
  save();
}
if (parts.includes('load')) {
  result.load = await withPostgres((url) => benchLoad(url, processes, say));
  save();
}
if (parts.includes('outage')) {
  result.outage = await withPostgres((url) => benchOutage(url, say));
  writeFileSync(join(values.out, 'pool-outage.svg'), outageChart(result.outage, TIMES));
  save();
}
console.log(renderPools(result));
