import { expect, test } from 'vitest';
import { readStray, Strays } from './strays.ts';

test('requests that found nobody are kept once a successor asks for them, each for one step, in bounds', () => {
  const strays = new Strays();
  strays.add(1, Uint8Array.of(1));
  expect(strays.take()).toEqual([]);
  strays.keep();
  strays.add(7, Uint8Array.of(0xab, 0xcd));
  strays.add(8, new Uint8Array(257));
  const [one, ...others] = strays.take();
  expect([readStray(one!), others]).toEqual([[7, Uint8Array.of(0xab, 0xcd)], []]);
  expect(strays.take()).toEqual([]);
  for (let i = 0; i < 1_000; i++) strays.add(i, new Uint8Array(256));
  expect(strays.take().join(',').length).toBeLessThan(20_000);
});
