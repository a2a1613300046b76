/** What packages/pool/README.md shows is true: its programs run, and print what they say; the page of options is the table's. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { POOL_ERROR_CODES } from '../../packages/pool/src/errors.ts';
import { renderOptions } from '../../packages/pool/src/option-doc.ts';
import { at, outside } from './support.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const read = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');
const README = read('packages/pool/README.md');
const BLOCKS = [...README.matchAll(/^```js\n([\s\S]*?)^```/gm)].map(([, program]) => program!);

function run(program: string): string[] {
  const { host, port, user, password, database } = at();
  const env = {
    ...process.env,
    DATABASE_URL: `postgres://${user}:${encodeURIComponent(password)}@${host}:${port}/${database}`,
    DATABASE_HOST: `${host}:${port}`,
  };
  const { stdout, stderr, status } = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
    encoding: 'utf8',
    timeout: 30_000,
    cwd: ROOT,
    env,
  });
  expect([stderr, status]).toEqual(['', 0]);
  return stdout.trim().split('\n');
}

test('the first program runs as it is', () => {
  expect(run(BLOCKS[0]!)).toEqual(['42']);
});

test('the others run, one after the other, with its pool', async () => {
  await (await outside()).query('DROP TABLE IF EXISTS account; CREATE TABLE account (amount int)');
  const [imports, ...begin] = BLOCKS[0]!.split('\n').slice(0, 3);
  const rest = BLOCKS.slice(1).map((program) => program.replace("import { Registry } from 'prom-client';\n", ''));
  const program = `${imports}\nimport { Registry } from 'prom-client';\n${begin.join('\n')}\n${rest.join('\n')}\nawait pool.end();`;
  const out = run(program).join('\n');
  expect(out).toBe(
    [
      '[ { one: 1 } ]',
      'SLUICE_STALE_HANDLE',
      '5',
      'SLUICE_QUERY_CANCELLED',
      'SLUICE_QUERY_CANCELLED',
      "held SELECT 'and never released' true",
      '3',
      'false',
      'true',
      out.match(/\{ active: 0, idle: \d+, waiting: 0, maxWaitMs: [\d.]+ \}/)?.[0],
    ].join('\n'),
  );
});

test('every error has its row', () => {
  for (const code of POOL_ERROR_CODES) expect(README).toContain(`\`${code}\``);
});

test('docs/pool-options.md is what the table says', () => {
  expect(read('docs/pool-options.md')).toBe(renderOptions());
});
