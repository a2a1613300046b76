// What the scripts share: the Node version check, installing and building only when something changed, running programs.
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const FLOOR = [20, 19];

export function requireNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major > FLOOR[0] || (major === FLOOR[0] && minor >= FLOOR[1])) return;
  console.error(
    `Sluice needs Node ${FLOOR.join('.')} or newer; this is ${process.version}. Install one from your system or with a version manager.`,
  );
  process.exit(1);
}

/** Runs a program with this terminal; rejects when it fails. */
export function run(command, args, options = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: ROOT, stdio: 'inherit', ...options });
    child.once('error', reject);
    child.once('exit', (code, signal) => {
      if (code === 0) resolve();
      else
        reject(
          Object.assign(new Error(`${command} ${args.join(' ')} ended with ${signal ?? code}`), { code: code ?? 1 }),
        );
    });
  });
}

/**
 * Installs what the lock file says, unless node_modules is that already. Not `npm ci`: it refuses a lock file that was
 * written where a registry lacked some other platform's optional packages. --no-save leaves the lock file alone.
 */
export async function install() {
  const stamp = join(ROOT, 'node_modules', '.sluice-install');
  const hash = createHash('sha256')
    .update(readFileSync(join(ROOT, 'package-lock.json')))
    .digest('hex');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === hash) return;
  console.log('Installing dependencies …');
  await run('npm', ['install', '--no-save', '--no-audit', '--no-fund', '--loglevel=error'], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  mkdirSync(dirname(stamp), { recursive: true });
  writeFileSync(stamp, hash);
}

export async function build() {
  await run(process.execPath, [
    join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc'),
    '-b',
    ...process.argv.slice(2).filter((a) => a === '--force'),
  ]);
  await run(process.execPath, [join(ROOT, 'packages', 'pool', 'build.mjs')]);
}

/** Ends the script with the failed program's exit code; the program itself has said why. */
export function fail(error) {
  if (error?.code === undefined || typeof error.code === 'string') console.error(error?.message ?? error);
  process.exit(typeof error?.code === 'number' ? error.code : 1);
}
