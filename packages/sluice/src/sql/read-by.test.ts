import { describe, expect, it } from 'vitest';
import { readsClock } from './read-by.ts';

describe('what PostgreSQL reads when it prepares a text', () => {
  it.each([
    "select 'now'::timestamptz",
    "select date 'today' - 1",
    "select * from t where a = 'x' and b > 'Yesterday'",
    "select 'tomorrow 10:00'::timestamp",
    'select $$now$$::timestamptz',
    "select 1 /* it's */, 'now'::time",
    "select E'\\'', 'now'::time",
    "select 'it''s now'",
    "select E'n\\x6fw'::timestamptz",
    "select 'n'\n'ow'::timestamptz",
    "select 1 as \"it's\", 'now'::date",
  ])('may be the moment: %s', (text) => expect(readsClock(text)).toBe(true));

  it.each([
    'select now()',
    "select * from t where a = 'x' and b > now() and c = 'y'",
    'select today from calendar where a = $1',
    "select 'then'",
    "select 'a', now(), 'it''s b'",
    "update t set state = 'unknown', at = now() /* app: shop */",
    "select 'acknowledged' -- now or today",
    'select "now" from t where a = \'x\'',
  ])('is no moment: %s', (text) => expect(readsClock(text)).toBe(false));
});
