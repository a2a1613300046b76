/** docs/coming-from.md names options that there are, and leaves none out that other pools have under another name. */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { POOL_OPTIONS } from '../packages/pool/src/option-table.ts';

const page = readFileSync(join(dirname(dirname(fileURLToPath(import.meta.url))), 'docs', 'coming-from.md'), 'utf8');
/** What only we have, or only node-postgres. */
const OWN = new Set(
  'shed tenantWeights reservedSlots reservedPriority deadlockDetection cancelTimeoutMillis resetTimeoutMillis random poolSize'.split(
    ' ',
  ),
);

test('every option that stands for one of another pool is in it', () => {
  expect(Object.keys(POOL_OPTIONS).filter((name) => !OWN.has(name) && !page.includes(`\`${name}`))).toEqual([]);
});

test('what looks like an option of ours in the right-hand column is one', () => {
  const cells = page.split('\n').filter((line) => /^\| /.test(line) && !/ pg-pool \|| as it was /.test(line));
  const named = cells.flatMap((line) =>
    [
      ...line
        .split(' | ')
        .slice(1)
        .join(' ')
        .matchAll(/`([a-z][A-Za-z]+)(?:: [^`]*)?`/g),
    ].map((match) => match[1]!),
  );
  const known = new Set([
    ...Object.keys(POOL_OPTIONS),
    'connect',
    'undefined',
    'cause',
    'code',
    'connectionString',
    'timeoutMillis',
    'search_path',
    'options',
    'reconnectFailed',
    'max_prepared_statements',
  ]);
  expect([...new Set(named)].filter((name) => !known.has(name))).toEqual([]);
});
