import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { checkLayers } from './layers.mjs';

let root = '';

/** A made-up tree: path under packages/ to text. */
function tree(files: Record<string, string>): string[] {
  root = mkdtempSync(join(tmpdir(), 'layers-'));
  for (const [path, text] of Object.entries(files)) {
    const file = join(root, 'packages', path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text);
  }
  return checkLayers(root);
}

afterEach(() => rmSync(root, { recursive: true, force: true }));

describe('the import rule', () => {
  test('down and beside is allowed', () => {
    expect(
      tree({
        'core/src/a.ts': "import { b } from './b.ts';\n",
        'core/src/b.ts': 'export const b = 1;\n',
        'sluice/src/pooling/p.ts':
          "import { n } from '../net/n.ts';\nimport { b } from '@sluice/core';\nimport fs from 'node:fs';\n",
        'sluice/src/net/n.ts': 'export const n = 1;\n',
      }),
    ).toEqual([]);
  });

  test('up is not, for types neither', () => {
    expect(
      tree({ 'sluice/src/net/n.ts': "import type { P } from '../pooling/p.ts';\n", 'sluice/src/pooling/p.ts': '' }),
    ).toEqual(['packages/sluice/src/net/n.ts:1: imports upwards: net may not know ../pooling/p.ts']);
  });

  test('circles are found', () => {
    const problems = tree({
      'core/src/a.ts': "import { b } from './b.ts';\n",
      'core/src/b.ts': "import { a } from './a.ts';\n",
    });
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatch(/^circle: .*a\.ts -> .*b\.ts -> .*a\.ts$/);
  });

  test('the lowest floor imports nothing from outside', () => {
    expect(tree({ 'wire/src/a.ts': "import fs from 'node:fs';\n" })).toEqual([
      'packages/wire/src/a.ts:1: floor 1 imports nothing from outside, but "node:fs"',
    ]);
  });

  test('nor does it declare a dependency', () => {
    expect(
      tree({ 'core/package.json': '{ "dependencies": { "left-pad": "1" }, "devDependencies": { "vitest": "4" } }' }),
    ).toEqual(['packages/core: floor 1 has no dependencies, but "left-pad"']);
  });

  test('a package does not reach into another, nor up a floor', () => {
    expect(
      tree({ 'pool/src/a.ts': "import { x } from '../../core/src/x.ts';\nimport { y } from 'sluice';\n" }),
    ).toHaveLength(2);
  });

  test('a file that grew too long and a room that is not in the plan are named', () => {
    expect(tree({ 'core/src/long.ts': 'x\n'.repeat(401) })[0]).toMatch(/401 lines/);
    expect(tree({ 'sluice/src/attic/a.ts': "import { b } from './b.ts';\n", 'sluice/src/attic/b.ts': '' })[0]).toMatch(
      /"attic" is not in the plan/,
    );
  });
});
