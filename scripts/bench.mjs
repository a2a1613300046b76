// npm run bench: builds, then runs bench/main.mjs with the same arguments; bench:pool does so with bench/pool/main.mjs.
import { join } from 'node:path';
import { build, fail, install, ROOT, requireNode, run } from './common.mjs';

async function main() {
  requireNode();
  await install();
  await build();
  const [what, ...rest] = process.argv.slice(2);
  const [place, args] = what === 'pool' ? [['pool'], rest] : [[], process.argv.slice(2)];
  await run(process.execPath, [join(ROOT, 'bench', ...place, 'main.mjs'), ...args]);
}

main().catch(fail);
