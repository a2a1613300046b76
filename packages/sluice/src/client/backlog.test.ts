import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Backlog, isRoom, leave } from './backlog.ts';

const step = fc.record({
  which: fc.nat(3),
  kind: fc.constantFrom('add', 'add', 'add', 'take', 'skip', 'clear'),
  size: fc.oneof(fc.nat(40), fc.nat(3_000), fc.constantFrom(1_023, 1_024, 1_025)),
});

test('each client gets its own bytes back, in order, however the rooms go round', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const clients = Array.from({ length: 4 }, () => ({ backlog: new Backlog(), expected: [] as number[] }));
      let next = 0;
      for (const { which, kind, size } of steps) {
        const { backlog, expected } = clients[which]!;
        if (kind === 'add') {
          const chunk = Buffer.from(Array.from({ length: size + 1 }, () => next++ & 0xff));
          backlog.add(Buffer.concat([Buffer.from('before'), chunk, Buffer.from('behind')]), 6, 6 + chunk.length);
          expected.push(...chunk);
          chunk.fill(0);
        } else if (kind === 'clear') {
          backlog.clear();
          expected.length = 0;
        } else if (backlog.bytes !== null) {
          const { bytes, from, to } = backlog;
          expect([...bytes.subarray(from, to)]).toEqual(expected);
          // A part has been dealt with, the rest waits again.
          const dealt = kind === 'skip' ? Math.min(size, expected.length - 1) : expected.length;
          expected.splice(0, dealt);
          backlog.release();
          if (expected.length > 0 && isRoom(bytes)) backlog.add(bytes, from + dealt, to);
          else if (expected.length > 0) backlog.adopt(bytes, from + dealt, to);
          leave(bytes);
        }
        for (const { backlog, expected } of clients)
          expect(backlog.bytes === null ? [] : [...backlog.bytes.subarray(backlog.from, backlog.to)]).toEqual(expected);
      }
      for (const { backlog } of clients) backlog.clear();
    }),
  );
});

test('who always has a little waiting takes no more room for it, however much goes through', () => {
  const backlog = new Backlog();
  const chunk = Buffer.alloc(65_536);
  backlog.add(chunk, 0, chunk.length);
  for (let i = 0; i < 5_000; i++) {
    const { bytes, from, to } = backlog;
    backlog.release();
    backlog.adopt(bytes!, from + 6_000, to);
    if (!backlog.isFull) backlog.add(chunk, 0, chunk.length);
  }
  expect(backlog.bytes!.length).toBeLessThanOrEqual(4 * chunk.length);
});

test('waiting with a short query makes no garbage', () => {
  const backlog = new Backlog();
  backlog.add(Buffer.from('select 1'), 0, 8);
  const { bytes } = backlog;
  backlog.clear();
  backlog.add(Buffer.from('select 2'), 0, 8);
  expect(backlog.bytes).toBe(bytes);
});
