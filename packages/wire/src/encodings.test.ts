import { expect, test } from 'vitest';
import { canonicalEncoding } from './encodings.ts';

test.each([
  ['utf-8', 'UTF8'],
  ['Unicode', 'UTF8'],
  ['euc-jp', 'EUC_JP'],
  ['eucjp', 'EUC_JP'],
  ['iso-8859-15', 'LATIN9'],
  ['ISO_8859-5', 'ISO_8859_5'],
  ['windows-1252', 'WIN1252'],
  ['Windows-936', 'GBK'],
  ['sql_ascii', 'SQL_ASCII'],
  ['no-such', 'no-such'],
])('%s is reported as %s', (written, reported) => expect(canonicalEncoding(written)).toBe(reported));
