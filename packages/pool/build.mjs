// The CommonJS form of the package, beside the ES modules that the compiler makes: one bundle with an entry a module that can
// be required, so that they share what they know, and the types again for TypeScript projects that are CommonJS.
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'rolldown';

const HERE = dirname(fileURLToPath(import.meta.url));
const DIST = join(HERE, 'dist');
const CORE = join(HERE, '..', 'core', 'dist');
const OUT = join(DIST, 'cjs');
const ENTRIES = ['index', 'prometheus', 'otel', 'fastify', 'express'];

const NATIVE = '{ configurable: true, get: () => exports.default.native }';
const NATIVE_TYPE = "export declare const native: typeof import('./drop-in.ts').default.native;\n";

const made = (dir, ending) =>
  readdirSync(dir)
    .filter((name) => name.endsWith(ending))
    .map((name) => join(dir, name));
const newest = (paths) => Math.max(...paths.map((path) => statSync(path).mtimeMs));

/** Nothing has changed since the last build. */
function upToDate() {
  const marker = join(OUT, 'package.json');
  const sources = [
    ...made(DIST, '.js'),
    ...made(DIST, '.d.ts'),
    ...made(CORE, '.js'),
    ...made(CORE, '.d.ts'),
    fileURLToPath(import.meta.url),
  ];
  return existsSync(marker) && newest(sources) < statSync(marker).mtimeMs;
}

function types() {
  mkdirSync(join(OUT, 'core'), { recursive: true });
  for (const path of made(DIST, '.d.ts'))
    writeFileSync(
      join(OUT, path.slice(DIST.length + 1)),
      readFileSync(path, 'utf8')
        .replaceAll("'@sluice/core'", "'./core/index.js'")
        .replace(/\n\/\/# sourceMappingURL=.*/, ''),
    );
  appendFileSync(join(OUT, 'index.d.ts'), NATIVE_TYPE);
  for (const path of made(CORE, '.d.ts'))
    writeFileSync(join(OUT, 'core', path.slice(CORE.length + 1)), readFileSync(path, 'utf8'));
}

if (!upToDate()) {
  rmSync(OUT, { recursive: true, force: true });
  await build({
    input: Object.fromEntries(ENTRIES.map((name) => [name, join(DIST, `${name}.js`)])),
    // Everything but our own files stays outside: the application's own pg must be the one that is used.
    external: (id) => !id.startsWith('.') && !id.startsWith('/') && !id.startsWith('@sluice/'),
    output: {
      dir: OUT,
      format: 'cjs',
      exports: 'named',
      entryFileNames: '[name].js',
      chunkFileNames: 'shared-[name].js',
      // As in pg: it is loaded when it is asked for, which an export of an ES module cannot be.
      footer: ({ name }) => (name === 'index' ? `Object.defineProperty(exports, 'native', ${NATIVE});` : ''),
    },
    platform: 'node',
    logLevel: 'warn',
  });
  types();
  writeFileSync(join(OUT, 'package.json'), '{ "type": "commonjs" }\n');
}
