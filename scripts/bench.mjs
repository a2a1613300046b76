// npm run bench: builds, then runs bench/main.mjs with the same arguments.
import { join } from 'node:path';
import { build, fail, install, ROOT, requireNode, run } from './common.mjs';

async function main() {
  requireNode();
  await install();
  await build();
  await run(process.execPath, [join(ROOT, 'bench', 'main.mjs'), ...process.argv.slice(2)]);
}

main().catch(fail);
