// Owns docs/settings.md: its text comes out of the settings table, so that the page can't fall behind it.
// It must not know where the page is kept (scripts/docs.mjs writes it, a test compares it).

import { LARGEST, largest, smallest } from './bounds.ts';
import { GROUPS, type Scope, type SettingRow, settingName } from './setting-row.ts';
import { ALIASES, type KeyedRow, rowsIn, SETTINGS, sectionOf } from './settings.ts';

const INTRODUCTION = `# Settings

<!-- Made by scripts/docs.mjs from the settings table (packages/sluice/src/config). Change the table, not this page. -->

Sluice reads PgBouncer's configuration file: the same sections, names, units and defaults. Settings that PgBouncer does not
have are marked **Sluice**. \`sluice check FILE\` reads a file and says what is wrong with it; \`SHOW CONFIG\` on the console
shows the values in force.

## The file

- \`[pgbouncer]\` holds settings of the whole, \`[databases]\` the databases that clients may ask for, \`[users]\` settings for
  single users, \`[peers]\` the other processes of a group. \`[pgbouncer]\` must be there, once: a second one sets everything
  before it back to its default (as in PgBouncer; Sluice warns).
- A line is \`name = value\`. The value goes to the end of the line; there are no quotes around it. A line that begins with
  \`;\` or \`#\` is a comment; later in a line these signs mean nothing.
- A name of letters, digits and \`_.-*\` stands as it is, any other in single or double quotes: \`'my shop' = host=10.0.0.1\`.
- \`%include FILE\` reads another file in its place. A relative path starts from the working directory, not from the file.
- In \`[databases]\`, \`[users]\` and \`[peers]\` the value is a list of \`key=value\` pairs with spaces between them. A value
  with spaces stands in single quotes, with \`''\` for a quote: \`connect_query='select ''ready'''\`. An empty value is an error.
- The database \`*\` is the fallback: any database without an entry of its own is made from it. \`pgbouncer\` is the admin
  console and can't be an entry.
- Whole numbers in \`[pgbouncer]\` may be written as in C: \`0x1000\`, and octal after a 0. Times are in seconds; where the table
  says so, with a fraction.

A value that is out of bounds, misspelt or unknown is refused, with the file, the line, and what it should be. Nothing is
adjusted in silence. \`RELOAD\` takes a file with errors as a whole: it is refused, and what was in force stays.

## How to read the tables

- **Default**: in PgBouncer's units. *not set* means that there is none.
- **Where**: \`[pgbouncer]\` unless said otherwise. A setting that may stand in several sections has the value of the most
  particular one: user before database before \`[pgbouncer]\`. Outside \`[pgbouncer]\`, -1 means "not set" for a number;
  where the table says *0 inherits*, 0 does too.
- **Applied**: \`RELOAD\` and \`SET\` apply most settings; *restart* marks the others.
`;

const FOOTER = `## What the platform can't do

PgBouncer has these and Sluice, on Node.js, does not: the start is refused.
`;

/** The whole page, in Markdown. */
export function renderSettings(): string {
  const groups = GROUPS.map((group) => renderGroup(group));
  return [INTRODUCTION, ...groups, renderSections(), renderPlatform()].join('\n');
}

function allRows(): readonly KeyedRow[] {
  return Object.entries(SETTINGS).map(([key, row]: [string, SettingRow]) => ({ key, row }));
}

function renderGroup(group: string): string {
  const rows = allRows().filter(({ row }) => row.group === group);
  const lines = rows.map(({ key, row }) => {
    const cells = [name(key, row), defaultText(row), values(row), where(row), row.reload ? '' : 'restart', row.doc];
    return `| ${cells.map(tableCell).join(' | ')} |`;
  });
  return `## ${group}

| Setting | Default | Values | Where | Applied | What it does |
| --- | --- | --- | --- | --- | --- |
${lines.join('\n')}
`;
}

function name(key: string, row: SettingRow): string {
  return `\`${settingName(key)}\`${row.own ? ' **Sluice**' : ''}`;
}

function defaultText(row: SettingRow): string {
  if (row.default === null) return '*not set*';
  return row.default === '' ? '*empty*' : `\`${row.default}\``;
}

const UNITS: Readonly<Partial<Record<SettingRow['kind'], string>>> = {
  time: 'seconds, fraction allowed',
  seconds: 'whole seconds',
  millis: 'milliseconds',
  bytes: 'bytes',
  percent: 'percent',
  mode: 'octal',
};

function values(row: SettingRow): string {
  switch (row.kind) {
    case 'bool':
      return '0 or 1';
    case 'enum':
      return (row.values ?? []).map((value) => `\`${value}\``).join(', ');
    case 'list':
      return 'list, with commas';
    case 'words':
      return 'list, with commas or spaces';
    case 'string':
      return 'text';
    case 'path':
      return 'path';
    case 'sql':
      return 'SQL';
    default:
      return [UNITS[row.kind], range(row)].filter((part) => part !== undefined).join(', ');
  }
}

/** A bound that no one comes near is left out. */
function range(row: SettingRow): string {
  if (largest(row) >= LARGEST) return `${smallest(row)} or more`;
  return `${smallest(row)} to ${row.kind === 'mode' ? `0${largest(row).toString(8)}` : largest(row)}`;
}

function where(row: SettingRow): string {
  if (row.scopes.length === 1 && row.scopes[0] === 'global') return '';
  const sections = row.scopes.map((scope) => `\`[${sectionOf(scope)}]\``).join(', ');
  return row.zeroInherits ? `${sections}; 0 inherits` : sections;
}

const SECTION_TEXT: Readonly<Record<Exclude<Scope, 'global'>, string>> = {
  database: 'A line is `name = connection string`. These keys may stand in the connection string',
  user: 'A line is `user = settings`. These keys may stand in the settings',
  peer: 'A line is `peer_id = connection string`, with a peer_id from 1 to 16383. These keys may stand in it',
};

/** Which keys each of the smaller sections takes: an index into the tables above. */
function renderSections(): string {
  const parts = (['database', 'user', 'peer'] as const).map((scope) => {
    const keys = rowsIn(scope).map(({ key }) => settingName(key));
    const aliases = Object.entries(ALIASES[scope] ?? {}).map(([alias, target]) => `${alias} (${target})`);
    const list = [...keys, ...aliases].sort().map((key) => `\`${key}\``);
    return `### [${sectionOf(scope)}]

${SECTION_TEXT[scope]}: ${list.join(', ')}.
`;
  });
  return `## Keys by section\n\n${parts.join('\n')}`;
}

function renderPlatform(): string {
  const lines: string[] = [];
  for (const { key, row } of allRows()) {
    for (const [value, why] of Object.entries(row.refused ?? {}))
      lines.push(`- \`${key}=${value}\` is refused: ${why}.`);
  }
  return `${FOOTER}\n${lines.join('\n')}\n`;
}

function tableCell(cell: string): string {
  return cell.replaceAll('|', '\\|');
}
