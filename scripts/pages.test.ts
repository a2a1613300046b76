/** The pages are part of the product: links lead somewhere, examples run, nothing is claimed that is not there. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { parseConfig } from '../packages/sluice/src/config/index.ts';
import { unsupportedSettings } from '../packages/sluice/src/host/unsupported.ts';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const pages = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', '*.md'], {
  cwd: ROOT,
  encoding: 'utf8',
})
  .trim()
  .split('\n');
const read = (name: string) => readFileSync(join(ROOT, name), 'utf8');

describe.each(pages)('%s', (page) => {
  test('every relative link leads to a file', () => {
    const targets = [...read(page).matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g)].map((match) => match[1]!);
    const dead = targets.filter(
      (target) => !/^[a-z]+:/.test(target) && !existsSync(resolve(ROOT, dirname(page), target)),
    );
    expect(dead).toEqual([]);
  });
});

describe('README', () => {
  const readme = read('README.md');

  test('its configuration is valid, and everything in it works', () => {
    const ini = /```ini\n([\s\S]*?)```/.exec(readme)![1]!;
    const { config, problems } = parseConfig(ini, { path: 'README.md', readFile: () => '' });
    expect(problems).toEqual([]);
    expect(unsupportedSettings(config)).toEqual([]);
  });

  test('its npm commands exist', () => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
    const named = [
      ...new Set([...readme.matchAll(/npm (?:run )?(start|test|[a-z:]+)(?=[\s`])/g)].map((match) => match[1]!)),
    ];
    expect(named.filter((name) => !(name in scripts) && name !== 'install')).toEqual([]);
  });

  test('its sluice commands exist', async () => {
    const { COMMANDS } = await import('../packages/sluice/src/cli/main.ts');
    const named = [...new Set([...readme.matchAll(/`sluice ([a-z]+)/g)].map((match) => match[1]!))];
    expect(named.filter((name) => !(name in COMMANDS))).toEqual([]);
  });
});
