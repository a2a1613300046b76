/** The built package on a runtime of its own: Node, or what SLUICE_TEST_RUNTIME names (CI runs it on Bun). */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { at } from './support.ts';

const SCRIPT = fileURLToPath(new URL('on-any-runtime.mjs', import.meta.url));

test('acquire, transaction, cancel, abort and leak work as they should', async () => {
  const { user, password, host, port, database } = at();
  const url = `postgres://${user}:${encodeURIComponent(password)}@${host}:${port}/${database}`;
  const { stdout } = await promisify(execFile)(process.env.SLUICE_TEST_RUNTIME ?? process.execPath, [SCRIPT, url]);
  const wanted = process.env.SLUICE_TEST_RUNTIME?.includes('bun') ? 'Bun' : 'Node';
  expect(stdout.trim().split('\n').at(-1)).toBe(`all 7 checks passed on ${wanted}`);
});
