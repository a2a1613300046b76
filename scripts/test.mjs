// npm test: installs, builds, holds the import rule, checks the tests' types, runs all tests. Arguments go to Vitest; with any, types
// are not checked.
import { join } from 'node:path';
import { build, fail, install, ROOT, requireNode, run } from './common.mjs';

async function main() {
  requireNode();
  await install();
  await build();
  await run(process.execPath, [join(ROOT, 'scripts', 'layers.mjs')]);
  if (process.argv.length === 2)
    await run(process.execPath, [join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc'), '-p', 'tsconfig.check.json']);
  await run(process.execPath, [join(ROOT, 'node_modules', 'vitest', 'vitest.mjs'), 'run', ...process.argv.slice(2)]);
}

main().catch(fail);
