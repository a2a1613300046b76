// npm test: installs, builds, holds the import rule, runs all tests. Arguments go to Vitest.
import { join } from 'node:path';
import { build, fail, install, ROOT, requireNode, run } from './common.mjs';

async function main() {
  requireNode();
  await install();
  await build();
  await run(process.execPath, [join(ROOT, 'scripts', 'layers.mjs')]);
  await run(process.execPath, [join(ROOT, 'node_modules', 'vitest', 'vitest.mjs'), 'run', ...process.argv.slice(2)]);
}

main().catch(fail);
