import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decodeText, encodeText, isText } from './text.ts';

describe('text', () => {
  test('any bytes come back as they were, and different bytes are different texts', () => {
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 40 }),
      // Much that is nearly UTF-8.
      fc
        .array(
          fc.constantFrom(0x41, 0x80, 0xbf, 0xc0, 0xc2, 0xe0, 0xa0, 0xed, 0x9f, 0xef, 0xbb, 0xf0, 0x90, 0xf4, 0x8f),
        )
        .map((all) => Uint8Array.from(all)),
    );
    fc.assert(
      fc.property(bytes, (given) => {
        expect([...encodeText(decodeText(given))]).toEqual([...given]);
      }),
      { numRuns: 3_000 },
    );
  });

  test('what is UTF-8 is read as that, a byte order mark included', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 600 }), (text) => {
        const bytes = encodeText(text);
        expect(Buffer.from(bytes).toString('utf8')).toBe(text);
        expect(decodeText(bytes)).toBe(text);
        expect(isText(text)).toBe(true);
      }),
    );
    expect(decodeText(Uint8Array.of(0xef, 0xbb, 0xbf, 0x61))).toBe('\ufeffa');
  });

  test('names in other encodings are not the same as each other, nor as their replacement', () => {
    const texts = [
      [0x72, 0xe8],
      [0x72, 0xe9],
      [0x72, 0xef, 0xbf, 0xbd],
      [0x72, 0xed, 0xb3, 0xa8],
    ].map((bytes) => decodeText(Uint8Array.from(bytes)));
    expect(new Set(texts).size).toBe(4);
    expect(texts.map(isText)).toEqual([false, false, true, false]);
  });
});
