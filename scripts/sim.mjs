// npm run sim: the simulation for longer than in the tests, or one seed again. Arguments go to sim/main.ts.
import { join } from 'node:path';
import { build, fail, install, ROOT, requireNode, run } from './common.mjs';

async function main() {
  requireNode();
  await install();
  await build();
  await run(process.execPath, [join(ROOT, 'sim', 'dist', 'main.js'), ...process.argv.slice(2)]);
}

main().catch(fail);
