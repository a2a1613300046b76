/** The pool core under a virtual clock: thousands of schedules, every invariant, every step. */
import { expect, test } from 'vitest';
import { simulate } from './run.ts';

const SCHEDULES = 1_500;

test(`${SCHEDULES} random schedules with faults keep every invariant and make every allowed move`, () => {
  const { schedules, failures, neverMoved } = simulate(1, SCHEDULES);
  const told = failures.map(
    ({ seed, message }) => `seed ${seed}: ${message}\n  replay: npm run sim -- --seed ${seed} --trace`,
  );
  expect(told).toEqual([]);
  expect(schedules).toBe(SCHEDULES);
  expect(neverMoved).toEqual([]);
}, 120_000);
