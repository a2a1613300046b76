// Writes docs/settings.md from the settings table. Run it after a build, whenever the table has changed; a unit test
// (packages/sluice/src/config/render.test.ts) fails while the page is behind.
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const { renderSettings } = await import('../packages/sluice/dist/config/render.js').catch((error) => {
  console.error(`cannot load the settings table: ${error.message}\nBuild first: npm run build`);
  process.exit(1);
});
const page = fileURLToPath(new URL('../docs/settings.md', import.meta.url));
writeFileSync(page, renderSettings());
console.log(`wrote ${page}`);
