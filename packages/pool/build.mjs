// The package as it is published: one CommonJS bundle with an entry a module, so that they share what they know; ES modules that
// hand out what is in it, so that a program that requires and imports has one pool class and not two; and the types again for
// TypeScript projects that are CommonJS.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'rolldown';

const HERE = dirname(fileURLToPath(import.meta.url));
const DIST = join(HERE, 'dist');
const CORE = join(HERE, '..', 'core', 'dist');
const OUT = join(DIST, 'cjs');
const ESM = join(DIST, 'esm');
const ENTRIES = ['index', 'prometheus', 'otel', 'fastify', 'express'];

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
  for (const path of made(CORE, '.d.ts'))
    writeFileSync(join(OUT, 'core', path.slice(CORE.length + 1)), readFileSync(path, 'utf8'));
}

/** What an entry of the bundle has, by name, as an ES module. */
function reexport(name) {
  const names = Object.keys(createRequire(import.meta.url)(join(OUT, `${name}.js`))).filter((key) => key !== 'default');
  return `import cjs from '../cjs/${name}.js';\n\nexport const { ${names.join(', ')} } = cjs;\n`;
}

if (!upToDate()) {
  for (const dir of [OUT, ESM]) rmSync(dir, { recursive: true, force: true });
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
    },
    platform: 'node',
    logLevel: 'warn',
  });
  types();
  writeFileSync(join(OUT, 'package.json'), '{ "type": "commonjs" }\n');
  mkdirSync(ESM);
  for (const name of ENTRIES) writeFileSync(join(ESM, `${name}.js`), reexport(name));
}
