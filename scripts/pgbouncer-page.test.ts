/** docs/pgbouncer.md promises a line for every setting and every command: it has them. */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { rowsIn } from '../packages/sluice/src/config/index.ts';
import { COMMANDS } from '../packages/sluice/src/console/commands.ts';
import { VIEWS } from '../packages/sluice/src/console/views.ts';

const page = readFileSync(join(dirname(dirname(fileURLToPath(import.meta.url))), 'docs', 'pgbouncer.md'), 'utf8');

test.each(['global', 'database', 'user', 'peer'] as const)('every setting of scope %s stands in it', (scope) => {
  const missing = rowsIn(scope)
    .map(({ key }) => key.slice(key.indexOf('/') + 1))
    .filter((name) => !page.includes(`| \`${name}\` |`));
  expect(missing).toEqual([]);
});

test('so does every command and view of the console', () => {
  const names = [...Object.keys(COMMANDS), ...Object.keys(VIEWS)].map((name) => name.toUpperCase());
  expect(names.filter((name) => !new RegExp(`\`(?:SHOW )?${name}\``).test(page))).toEqual([]);
});
