/** Renders docs/pool-options.md from the option table. */
import { CLIENT_OPTIONS, type OptionRow, POOL_OPTIONS } from './option-table.ts';

/** node-postgres' own come first in the table. */
const FIRST_OF_OURS = 'compat';

export function renderOptions(): string {
  const names = Object.keys(POOL_OPTIONS);
  const ours = names.indexOf(FIRST_OF_OURS);
  const rows = (some: readonly string[]) =>
    some
      .map((name) => `| \`${name}\` | ${allowed(POOL_OPTIONS[name]!)} | ${escaped(POOL_OPTIONS[name]!.doc)} |`)
      .join('\n');
  return `# Options of \`@sluice/pool\`

Generated from the table in packages/pool/src/option-table.ts; \`npm run docs\` writes it anew. Defaults stand in brackets; \`null\` is as good as not
given, but for \`idleTimeoutMillis\`, where it is 0 as in pg-pool. A wrong name or value throws \`BadOption\` when the pool is made, with what is allowed;
with \`compat: 'pg-pool'\` those of pg-pool may be what they may be there, such as numbers in strings.

## As in pg-pool

| option | allowed | what it does |
| --- | --- | --- |
${rows(names.slice(0, ours))}

## Beyond it

| option | allowed | what it does |
| --- | --- | --- |
${rows(names.slice(ours))}

## For the client

Passed on to \`pg.Client\`, not looked at: ${[...CLIENT_OPTIONS].map((name) => `\`${name}\``).join(', ')}.
`;
}

function allowed({ kind, min, max, infinite, choices }: OptionRow): string {
  if (choices !== undefined)
    return [...(kind === 'boolean' ? ['`true`', '`false`'] : []), ...choices.map((choice) => `\`'${choice}'\``)].join(
      ', ',
    );
  if (kind === 'boolean') return '`true`, `false`';
  if (kind === 'text') return 'a string';
  if (kind === 'class' || kind === 'promises') return 'class';
  if (kind === 'function' || kind === 'object' || kind === 'array') return kind;
  const range = `${min} ${max === undefined ? 'and up' : `to ${max}`}${infinite === true ? ', `Infinity`' : ''}`;
  return kind === 'count' ? range : kind === 'share' ? `share, ${range}` : `${kind}, ${range}`;
}

function escaped(text: string): string {
  return text.replaceAll('|', '\\|');
}
