// (c2) HikariCP's database that disappears: how do callers fare while the network is cut, and when it is back?
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { median, run } from '../lib.mjs';
import { TIMES } from './outage-times.mjs';

const ONE = join(dirname(fileURLToPath(import.meta.url)), 'outage-one.mjs');
const CONTENDERS = ['sluice connect', 'sluice wait', 'pg-pool', 'generic-pool', 'tarn'];

/** All at once: they do next to nothing. */
export async function benchOutage(url, say) {
  say(`outage: all pools at once, ${TIMES.endMs / 1_000} s`);
  return Promise.all(
    CONTENDERS.map(async (name) => {
      const { calls } = JSON.parse(await run(process.execPath, [ONE, name, url]));
      return { name, ...told(calls), calls };
    }),
  );
}

function told(calls) {
  const during = calls.filter(({ atMs }) => atMs >= TIMES.cutMs && atMs < TIMES.backMs);
  const answered = during.filter(({ outcome }) => outcome !== 'never');
  const after = calls.filter(({ atMs, outcome }) => atMs >= TIMES.backMs && outcome === 'served');
  return {
    during: during.length,
    answeredInTime: during.filter(({ tookMs, atMs }) => tookMs !== null && atMs + tookMs < TIMES.backMs).length,
    never: calls.filter(({ outcome }) => outcome === 'never').length,
    medianMs: answered.length === 0 ? null : median(answered.map(({ tookMs }) => tookMs)),
    longestMs: answered.length === 0 ? null : Math.max(...answered.map(({ tookMs }) => tookMs)),
    backAfterMs: after.length === 0 ? null : Math.min(...after.map((each) => each.atMs + each.tookMs)) - TIMES.backMs,
  };
}
