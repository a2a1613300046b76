/** The package as a user gets it: packed, unpacked, required and imported, and looked at by TypeScript. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { postgres } from '../support/postgres.ts';

const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const server = postgres();
let dir: string;

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'sluice-package-'));
  const modules = join(dir, 'node_modules');
  mkdirSync(join(modules, '@sluice'), { recursive: true });
  for (const name of ['core', 'pool']) {
    const args = ['pack', '--silent', '--pack-destination', dir];
    const file = execFileSync('npm', args, { cwd: join(ROOT, 'packages', name), encoding: 'utf8' }).trim();
    mkdirSync(join(modules, '@sluice', name));
    execFileSync('tar', ['-xzf', join(dir, file), '-C', join(modules, '@sluice', name), '--strip-components=1']);
  }
  for (const name of ['pg', 'pg-types', 'pg-protocol', '@types'])
    symlinkSync(join(ROOT, 'node_modules', name), join(modules, name));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const body = `
process.on('warning', (warning) => console.log('warning: ' + warning.message));
const pool = new Pool(${JSON.stringify({ ...server, max: 2 })});
pool.query('select 1 as n').then(async ({ rows }) => {
  console.log(JSON.stringify(rows), pool instanceof pg.Pool);
  await pool.end();
});`;

const run = (name: string, text: string) => {
  writeFileSync(join(dir, name), text);
  const { status, stdout, stderr } = spawnSync(process.execPath, [name], { cwd: dir, encoding: 'utf8' });
  return { status, said: (stdout + stderr).trim() };
};
const FINE = { status: 0, said: '[{"n":1}] true' };

test('it is required', () => {
  expect(run('app.cjs', `const { Pool } = require('@sluice/pool'); const pg = require('pg');${body}`)).toEqual(FINE);
});

test('it is imported', () => {
  expect(run('app.mjs', `import { Pool } from '@sluice/pool'; import pg from 'pg';${body}`)).toEqual(FINE);
});

test('what is required and what is imported know each other', () => {
  const text = `import { createRequire } from 'node:module';
import * as imported from '@sluice/pool';
import { sluicePool } from '@sluice/pool/fastify';
const require = createRequire(import.meta.url);
const required = require('@sluice/pool');
const pool = new required.Pool({ host: '127.0.0.1', port: 1 });
const error = await pool.query('select 1').catch((error) => error);
const app = { decorate: (name, value) => (app[name] = value), decorateRequest() {}, addHook() {}, get() {} };
await sluicePool(app, { pool });
class Other extends imported.Pool {}
console.log(pool instanceof imported.Pool, pool instanceof Other, error instanceof imported.DatabaseDown, error instanceof imported.PoolError,
  error instanceof imported.PoolClosed, app.pool === pool);
await pool.end();`;
  expect(run('both.mjs', text)).toEqual({ status: 0, said: 'true false true true false true' });
});

test('its parts know of the same pools, required too', () => {
  const text = `const { Pool } = require('@sluice/pool'); const { observePools } = require('@sluice/pool/otel');
console.log(typeof Pool, typeof observePools);`;
  symlinkSync(join(ROOT, 'node_modules', '@opentelemetry'), join(dir, 'node_modules', '@opentelemetry'));
  expect(run('parts.cjs', text)).toEqual({ status: 0, said: 'function function' });
});

test.each([
  ['app.cts', 'node16'],
  ['app.mts', 'node16'],
  ['app.ts', 'bundler'],
])('TypeScript knows it in %s', (name, resolution) => {
  const text = `import { Pool, PoolExhausted } from '@sluice/pool';
const pool: Pool = new Pool({ max: 3 });
export const waiting: number = pool.waitingCount;
export const what = (error: unknown): boolean => error instanceof PoolExhausted;
// @ts-expect-error there is no such option
new Pool({ maximum: 3 });
`;
  writeFileSync(join(dir, name), text);
  const module = resolution === 'bundler' ? 'esnext' : 'node16';
  const { status, stdout } = spawnSync(
    process.execPath,
    [
      join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc'),
      ...['--noEmit', '--strict', '--module', module, '--moduleResolution', resolution, '--target', 'es2022'],
      ...['--lib', 'es2022,esnext.disposable,dom', '--types', 'node', '--ignoreConfig', name],
    ],
    { cwd: dir, encoding: 'utf8' },
  );
  expect({ status, stdout }).toEqual({ status: 0, stdout: '' });
});
