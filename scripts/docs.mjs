// npm run docs: writes the pages that are generated from tables in the code.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { build, fail, install, ROOT } from './common.mjs';

async function main() {
  await install();
  await build();
  const { renderStates } = await import('../packages/core/dist/index.js');
  const { renderSettings } = await import('../packages/sluice/dist/config/index.js');
  const { renderOptions } = await import('../packages/pool/dist/option-doc.js');
  writeFileSync(join(ROOT, 'docs', 'pool-options.md'), renderOptions());
  writeFileSync(join(ROOT, 'docs', 'states.md'), renderStates());
  writeFileSync(join(ROOT, 'docs', 'settings.md'), renderSettings());
}

main().catch(fail);
