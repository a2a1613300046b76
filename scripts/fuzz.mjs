// npm run fuzz: mutated conversations for longer than in the tests. Arguments: [SECONDS [FIRST_SEED]], default 600 and a random one.
import { build, fail, install, requireNode, run } from './common.mjs';

async function main() {
  requireNode();
  await install();
  await build();
  const [seconds = '600', seed = String(Math.floor(Math.random() * 1e9))] = process.argv.slice(2);
  process.stdout.write(`Fuzzing for ${seconds} s from seed ${seed}\n`);
  Object.assign(process.env, { SLUICE_FUZZ_SECONDS: seconds, SLUICE_FUZZ_SEED: seed });
  await run(process.execPath, ['node_modules/vitest/vitest.mjs', 'run', 'test/fuzz.test.ts']);
}

main().catch(fail);
