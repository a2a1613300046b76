/** The package as a user gets it: packed, unpacked, required and imported, and looked at by TypeScript. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
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
  for (const name of ['pg', 'pg-connection-string', 'pg-types', 'pg-protocol', '@types'])
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

const run = (name: string, text: string, env = {}) => {
  writeFileSync(join(dir, name), text);
  const { status, stdout, stderr } = spawnSync(process.execPath, [name], {
    cwd: dir,
    encoding: 'utf8',
    env: { ...process.env, ...env },
  });
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

/** What pg 8.23 exports, and its default export. */
const NAMES = Object.keys(pg).filter((name) => !['_pools', 'utils'].includes(name));

test.each([
  ['named.mjs', `import { ${NAMES} } from '@sluice/pool'; import driver from 'pg'; const all = { ${NAMES} };`],
  ['whole.mjs', "import all from '@sluice/pool'; import driver from 'pg';"],
  ['star.mjs', "import * as all from '@sluice/pool'; import driver from 'pg';"],
  ['all.cjs', "const all = require('@sluice/pool'); const driver = require('pg');"],
  ['default.cjs', "const all = require('@sluice/pool').default; const driver = require('pg');"],
])('all that pg exports is exported, and the same, but for the pool: %s', (name, imports) => {
  const text = `${imports}
const others = ${JSON.stringify(NAMES)}.filter((name) => all[name] === undefined || all[name] !== driver[name]);
console.log(others.join(), new all.Pool() instanceof driver.Pool, new all.Client() instanceof driver.Client);`;
  expect(run(name, text)).toEqual({ status: 0, said: 'Pool true true' });
});

test.each([
  ['native.mjs', "import pg, { Pool } from '@sluice/pool';"],
  ['native.cjs', "const pg = require('@sluice/pool'); const { Pool } = pg;"],
])("pg's client over libpq is there when it is installed, with a pool of ours: %s", (name, imports) => {
  const text = `${imports} const { native } = pg;
console.log(native && [native === pg.native, native.Client !== pg.Client, new native.Pool().Client === native.Client, new native.Pool() instanceof Pool]);`;
  expect(run(name, text)).toEqual({ status: 0, said: 'null' });
  const libpq = join(dir, 'libpq', 'pg-native');
  mkdirSync(libpq, { recursive: true });
  writeFileSync(join(libpq, 'index.js'), "module.exports = class {}; module.exports.version = '3.0.0';");
  const found = run(name, text, { NODE_PATH: join(dir, 'libpq') });
  expect(found).toEqual({ status: 0, said: '[ true, true, true, true ]' });
});

const AS_MODULES = ['--target', 'es2022', '--lib', 'es2022,esnext.disposable,dom', '--strict'];

const compile = (name: string, text: string, ...flags: string[]) => {
  writeFileSync(join(dir, name), text);
  const tsc = join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc');
  const args = [tsc, '--noEmit', '--skipLibCheck', '--types', 'node', '--ignoreConfig', ...AS_MODULES, ...flags, name];
  const { status, stdout } = spawnSync(process.execPath, args, { cwd: dir, encoding: 'utf8' });
  return { status, stdout };
};
const COMPILES = { status: 0, stdout: '' };
const PROJECTS = [
  ['app.cts', '--module nodenext'],
  ['app.mts', '--module nodenext'],
  ['app.ts', '--module nodenext'],
  ['app.mts', '--module node16'],
  ['app.ts', '--module esnext --moduleResolution bundler'],
] as const;

test.each(PROJECTS)('TypeScript knows it in %s with %s', (name, flags) => {
  const text = `import { Pool, PoolExhausted } from '@sluice/pool';
const pool: Pool = new Pool({ max: 3 });
export const waiting: number = pool.waitingCount;
export const what = (error: unknown): boolean => error instanceof PoolExhausted;
// @ts-expect-error there is no such option
new Pool({ maximum: 3 });
`;
  expect(compile(name, text, '--skipLibCheck', 'false', ...flags.split(' '))).toEqual(COMPILES);
});

/** Every name that @types/pg exports, as it is used. A program for pg that must compile for both. */
const PROGRAM = readFileSync(join(ROOT, 'test', 'pool', 'typed-for-pg.ts'), 'utf8');

test.each(PROJECTS)('a program that is written for pg compiles for it: %s with %s', (name, flags) => {
  expect(compile(name, PROGRAM, ...flags.split(' '))).toEqual(COMPILES);
  expect(compile(name, PROGRAM.replaceAll("'pg'", "'@sluice/pool'"), ...flags.split(' '))).toEqual(COMPILES);
});

test('the program for pg names all that its types export', () => {
  const types = readFileSync(join(ROOT, 'node_modules', '@types', 'pg', 'index.d.ts'), 'utf8');
  const names = [...types.matchAll(/^export (?:interface|class|type|const|function) (\w+)|^export \{ (\w+) \}/gm)];
  expect(names.length).toBeGreaterThan(35);
  for (const [, name, other] of names) expect(PROGRAM).toMatch(new RegExp(`\\b${name ?? other}\\b`));
});

test('a CommonJS project that imports all of it has the types too', () => {
  const text = `import * as pg from '@sluice/pool';
export const f = async (pool: pg.Pool, config: pg.PoolConfig): Promise<pg.PoolClient> => new pg.Pool(config).connect();
// @ts-expect-error it is no number
export const n: number = new pg.Pool().connect();
// @ts-expect-error nor is a client
export const m = async (): Promise<number> => await new pg.Pool().connect();
export const native: typeof pg.Client | undefined = pg.native?.Client;
`;
  expect(compile('old.cts', text, '--module', 'node16')).toEqual(COMPILES);
});
