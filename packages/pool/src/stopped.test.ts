/** What the error of a stopped query says of it is what is known, and no more. */
import { expect, test } from 'vitest';
import { QueryCancelled } from './errors.ts';
import { bySignal, byTime } from './stopped.ts';

const fromServer = (code: string) => Object.assign(new Error('said no'), { code, severity: 'ERROR' });

test.each([
  [fromServer('57014'), /^the query was cancelled at the server: /],
  [fromServer('23505'), /^the query failed as it was about to be cancelled: /],
  [new Error('Connection terminated'), /whether it took effect is not known, for its connection was lost/],
])('one that ended with %s', (failure, message) => {
  expect(byTime(50, 'SELECT 1').errorFor(failure).message).toMatch(message);
  expect(byTime(50, 'SELECT 1').errorFor(failure).message).toMatch(/within 50 ms.*SELECT 1$/);
});

test('the cause is what the signal was aborted for, or else what the query ended with', () => {
  const failure = fromServer('23505');
  expect(bySignal(AbortSignal.abort('enough')).errorFor(failure).cause).toBe('enough');
  expect(byTime(50, 'SELECT 1').errorFor(failure).cause).toBe(failure);
});

test('who has stopped it before has said why', () => {
  const before = new QueryCancelled('reclaimed', 'taken back');
  expect(byTime(50, 'SELECT 1').errorFor(before)).toBe(before);
});
