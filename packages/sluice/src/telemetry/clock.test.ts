import { expect, test } from 'vitest';
import { Clock } from './clock.ts';

const busyFor = (ms: number) => {
  for (const until = performance.now() + ms; performance.now() < until; );
};

test('a tick is the same time throughout a turn of the event loop, and later in the next', async () => {
  const clock = new Clock();
  const first = clock.tick();
  busyFor(2);
  expect(clock.tick()).toBe(first);
  expect(clock.now).toBe(first);
  await new Promise(setImmediate);
  expect(clock.tick()).toBeGreaterThanOrEqual(first + 2);
});

test('who asks for the time itself gets it, and others do not go back behind it', () => {
  const clock = new Clock();
  const first = clock.tick();
  busyFor(2);
  const asked = clock.update();
  expect(asked).toBeGreaterThanOrEqual(first + 2);
  expect(clock.tick()).toBe(asked);
});
