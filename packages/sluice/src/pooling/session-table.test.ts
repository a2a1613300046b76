import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Session } from '../client/side.ts';
import { SessionTable } from './session-table.ts';

const session = (processId: number) => ({ identity: { processId } }) as Session;

describe('the table of sessions', () => {
  test('says what a Map would', () => {
    const step = fc.record({
      leaves: fc.boolean(),
      number: fc.integer({ min: -200, max: 200 }).filter((n) => n !== 0),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 400 }), (steps) => {
        const table = new SessionTable();
        const model = new Map<number, Session>();
        for (const { leaves, number } of steps) {
          if (leaves || model.has(number)) {
            table.delete(number);
            model.delete(number);
          } else {
            const one = session(number);
            table.add(one);
            model.set(number, one);
          }
          expect([table.size, table.has(number), table.get(number)]).toEqual([
            model.size,
            model.has(number),
            model.get(number),
          ]);
        }
        expect(new Set(table.values())).toEqual(new Set(model.values()));
        expect([...table.values()].length).toBe(model.size);
        expect([table.has(0), table.get(0)]).toEqual([false, undefined]);
      }),
    );
  });

  test('grows, and gives the numbers at either end of what a process number may be', () => {
    const table = new SessionTable();
    const numbers = [-2_147_483_648, 2_147_483_647, ...Array.from({ length: 1_000 }, (_, i) => i + 1)];
    for (const number of numbers) table.add(session(number));
    for (const number of numbers) expect(table.get(number)?.identity.processId).toBe(number);
  });

  test('may lose the one that is visited, and others', () => {
    const table = new SessionTable();
    for (let i = 1; i <= 10; i++) table.add(session(i));
    const visited: number[] = [];
    for (const { identity } of table.values()) {
      visited.push(identity.processId);
      table.delete(identity.processId);
    }
    expect(visited).toEqual([10, 9, 8, 7, 6, 5, 4, 3, 2, 1]);
    for (let i = 1; i <= 10; i++) table.add(session(i));
    for (const _ of table.values()) for (let i = 1; i <= 10; i++) table.delete(i);
    expect(table.size).toBe(0);
  });
});
