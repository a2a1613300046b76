// npm run soak: everything at once for longer than in the tests. Arguments: [SECONDS [SEED]], default 600 and a random one.
import { build, fail, install, requireNode, run } from './common.mjs';

async function main() {
  requireNode();
  await install();
  await build();
  const [seconds = '600', seed = String(Math.floor(Math.random() * 1e6))] = process.argv.slice(2);
  process.stdout.write(`Soaking for ${seconds} s with seed ${seed}\n`);
  Object.assign(process.env, { SLUICE_SOAK_SECONDS: seconds, SLUICE_SOAK_SEED: seed });
  await run(process.execPath, ['node_modules/vitest/vitest.mjs', 'run', 'test/soak.test.ts']);
}

main().catch(fail);
