import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { renderSettings } from './render.ts';
import { rowsIn } from './settings.ts';

const page = readFileSync(new URL('../../../../docs/settings.md', import.meta.url), 'utf8');

describe('docs/settings.md', () => {
  it('is what the settings table renders to (else: npm run build && node scripts/docs.mjs)', () => {
    expect(page).toBe(renderSettings());
  });

  it('has a row for every setting of every section', () => {
    const scopes = ['global', 'database', 'user', 'peer'] as const;
    const names = scopes.flatMap((scope) => rowsIn(scope).map(({ key }) => key.replace(/^.*\//, '')));
    expect(names.filter((name) => !page.includes(`| \`${name}\``))).toEqual([]);
  });

  it('marks the settings that PgBouncer does not have', () => {
    const own = [...page.matchAll(/^\| `(\w+)` \*\*Sluice\*\*/gm)].map((match) => match[1]).sort();
    expect(own).toEqual([
      'log_format',
      'max_prepared_statement_bytes',
      'prepare_threshold',
      'server_answer_timeout',
      'server_lifetime_jitter',
      'session_state',
      'sslnegotiation',
    ]);
  });

  it('has no table row broken by a bar in a cell', () => {
    const rows = page.split('\n').filter((line) => line.startsWith('| '));
    const cells = rows.map((line) => line.replaceAll('\\|', '').split('|').length - 2);
    expect(new Set(cells)).toEqual(new Set([6]));
  });
});
