import { expect, test } from 'vitest';
import { Log } from './log.ts';

test.each(['text', 'json'] as const)('nobody outside begins a line of the log (%s)', (format) => {
  const lines: string[] = [];
  const bodies: (string | undefined)[] = [];
  const log = new Log([{ write: (line, _level, body) => lines.push(line) + bodies.push(body) }], {
    format,
    verbose: 0,
  });
  log.info('closing because: a\r\nb\u2028c\x1b[2J', 'C-0x1: db/x\n2026-01-01 LOG forged@127.0.0.1:1');
  expect(lines).toHaveLength(1);
  expect(lines[0]).not.toMatch(/[\p{Cc}\u2028]/u);
  expect(bodies[0]).not.toMatch(/[\p{Cc}\u2028]/u);
  expect(lines[0]).toContain('closing because: a');
});
