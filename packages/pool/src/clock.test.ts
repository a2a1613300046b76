/** The pool's time, from two clocks that may disagree. */
import { expect, test } from 'vitest';
import { Clock } from './clock.ts';

test('goes on where the wall clock stands (tests that replace Date), as far as a timer that has rung knows', () => {
  let monotonic = 100;
  const clock = new Clock({ wall: () => 5_000, monotonic: () => monotonic });
  const began = clock.now;
  monotonic += 250;
  expect(clock.refresh()).toBe(began);
  clock.atLeast(began + 200);
  expect(clock.now).toBe(began + 250);
  monotonic += 50;
  clock.atLeast(began + 300);
  expect(clock.now).toBe(began + 300);
});
