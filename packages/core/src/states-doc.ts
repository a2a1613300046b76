/** Renders docs/states.md from the tables of states.ts. */
import { ALLOWED_MOVES, CLOSE_REASONS, ENTRY_STATE_NAMES, ENTRY_STATE_NOTES, POOL_MODES, REFUSALS } from './states.ts';

export function renderStates(): string {
  const id = (state: number) => ENTRY_STATE_NAMES[state]!.replace('-', '_');
  const arrows = ALLOWED_MOVES.flatMap((targets, from) => targets.map((to) => `  ${id(from)} --> ${id(to)}`));
  const rows = ENTRY_STATE_NAMES.map((name, state) => {
    const targets = ALLOWED_MOVES[state]!.map((to) => ENTRY_STATE_NAMES[to]).join(', ');
    return `| ${name} | ${ENTRY_STATE_NOTES[state]} | ${targets || '(none)'} |`;
  });
  return `# The life of an entry

Generated from the tables in packages/core/src/states.ts; \`npm run docs\` writes it anew.

\`\`\`mermaid
stateDiagram-v2
  [*] --> opening
${arrows.join('\n')}
  closed --> [*]
\`\`\`

| state | what it is, and how an entry leaves it | may become |
|---|---|---|
${rows.join('\n')}

An entry is closed for one of these reasons: ${CLOSE_REASONS.join(', ')}.

A waiter that gets no entry is told one of: ${REFUSALS.join(', ')}.

A pool is one of: ${POOL_MODES.join(', ')}.
`;
}
