// Holds the import rule: an import points down or to a neighbour in the same folder, never up, never in a circle. Also that
// the lowest floor has no dependencies, and that no file outgrows its noun; biome.json holds the length of functions.
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

const MAX_LINES = 400;

/** Packages from the ground up; a package imports only those on lower floors. */
export const FLOORS = [
  ['core', 'wire'],
  ['pool', 'advisor'],
  ['sluice', 'dashboard'],
];

/** Folders of packages/sluice/src from the ground up. Files directly in src/ count as named here. */
export const ROOMS = [
  'config',
  'net',
  'embedded',
  'auth',
  'telemetry',
  'sql',
  'server',
  'client',
  'pooling',
  'console',
  'http',
  'version',
  'host',
  'daemon',
  'index',
  'cli',
];

const IMPORT =
  /^\s*(?:import|export)\s+(?:type\s+)?[\w$*{}\s,]+?\sfrom\s*['"]([^'"]+)['"]|^\s*import\s*['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]\s*\)/gm;

function files(dir) {
  return readdirSync(dir).flatMap((name) => {
    const path = join(dir, name);
    if (name === 'node_modules' || name === 'dist') return [];
    if (statSync(path).isDirectory()) return files(path);
    return /\.(ts|mts|cts|tsx)$/.test(name) && !/\.d\.ts$/.test(name) ? [path] : [];
  });
}

function floorOf(name) {
  return FLOORS.findIndex((floor) => floor.includes(name));
}

/** Checks the tree under `root`; returns the violations, a line each. */
export function checkLayers(root) {
  const problems = [];
  const graph = new Map();
  const packages = join(root, 'packages');
  for (const path of files(packages)) {
    const place = relative(packages, path).split(sep);
    if (place[1] !== 'src' || /\.test\.ts$/.test(path)) continue;
    const text = readFileSync(path, 'utf8');
    const lines = text.split('\n').length - 1;
    const shown = relative(root, path);
    if (lines > MAX_LINES) problems.push(`${shown}: ${lines} lines, at most ${MAX_LINES}: a name is missing`);
    graph.set(path, []);
    for (const match of text.matchAll(IMPORT)) {
      const target = match[1] ?? match[2] ?? match[3];
      const line = text.slice(0, match.index).split('\n').length;
      const typeOnly = /^\s*(import|export)\s+type\b/.test(match[0]);
      const problem = checkImport(packages, path, place, target, typeOnly ? null : graph);
      if (problem !== null) problems.push(`${shown}:${line}: ${problem}`);
    }
  }
  return [...problems, ...dependencies(packages), ...circles(graph, root)];
}

/** The lowest floor runs anywhere because it needs nothing. */
function dependencies(packages) {
  return FLOORS[0].flatMap((name) => {
    const path = join(packages, name, 'package.json');
    if (!existsSync(path)) return [];
    const manifest = JSON.parse(readFileSync(path, 'utf8'));
    return ['dependencies', 'peerDependencies', 'optionalDependencies'].flatMap((kind) =>
      Object.keys(manifest[kind] ?? {}).map((other) => `packages/${name}: floor 1 has no ${kind}, but "${other}"`),
    );
  });
}

function checkImport(packages, path, place, target, graph) {
  const own = place[0];
  if (target.startsWith('.')) {
    const file = resolve(dirname(path), target);
    // Types are gone when the program runs: they may know each other inside a room.
    graph?.get(path).push(file);
    const other = relative(packages, file).split(sep);
    if (other[0] !== own) return `reaches into another package by path (${target})`;
    return own === 'sluice' ? checkRoom(place[2], other[2], target) : null;
  }
  if (floorOf(own) === 0) return `floor 1 imports nothing from outside, but "${target}"`;
  const scoped = /^@sluice\/([a-z]+)|^(sluice)$/.exec(target);
  if (scoped === null) return null;
  const name = scoped[1] ?? scoped[2];
  return name !== own && floorOf(name) >= floorOf(own) ? `imports "${target}" of the same or a higher floor` : null;
}

function checkRoom(from, to, target) {
  const [own, other] = [from, to].map((name) => ROOMS.indexOf(name.replace(/\.ts$/, '')));
  if (own < 0) return `the room "${from}" is not in the plan`;
  return other > own ? `imports upwards: ${from} may not know ${target}` : null;
}

function circles(graph, root) {
  const state = new Map();
  const found = [];
  const visit = (path, trail) => {
    if (state.get(path) === 'done') return;
    if (state.get(path) === 'open') {
      found.push(`circle: ${[...trail.slice(trail.indexOf(path)), path].map((p) => relative(root, p)).join(' -> ')}`);
      return;
    }
    state.set(path, 'open');
    for (const next of graph.get(path) ?? []) visit(next, [...trail, path]);
    state.set(path, 'done');
  };
  for (const path of graph.keys()) visit(path, []);
  return found;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const problems = checkLayers(dirname(dirname(fileURLToPath(import.meta.url))));
  for (const problem of problems) console.error(problem);
  if (problems.length > 0) process.exit(1);
}
