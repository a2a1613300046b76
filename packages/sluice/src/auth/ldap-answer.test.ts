import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { confirmsBind } from './ldap-answer.ts';

const tlv = (tag: number, ...content: number[]) => [tag, content.length, ...content];
const message = (...response: number[]) => tlv(0x30, ...tlv(0x02, 1), ...response);
const SUCCESS = message(...tlv(0x61, 0x0a, 1, 0, 0x04, 0, 0x04, 0));
const ok = (bytes: readonly number[]) => confirmsBind(Uint8Array.from(bytes));

describe('an answer to a bind', () => {
  test('says success by its result code, also with words and after other messages', () => {
    expect(ok(SUCCESS)).toBe(true);
    expect(ok(message(...tlv(0x61, 0x0a, 1, 0, ...tlv(0x04, 0x64), ...tlv(0x04, 0x6f, 0x6b), ...tlv(0x87, 1))))).toBe(
      true,
    );
    expect(ok([...tlv(0x30, ...tlv(0x02, 0), ...tlv(0x78, 0x0a, 1, 0)), ...SUCCESS])).toBe(true);
    // A length in the long form, as some directories write all of theirs.
    expect(ok([0x30, 0x84, 0, 0, 0, 12, ...SUCCESS.slice(2)])).toBe(true);
  });

  test('does not when it is empty, has no code, another one, or is of another kind', () => {
    for (const response of [
      tlv(0x61),
      tlv(0x61, 0x0a, 0),
      tlv(0x61, 0x0a, 1, 49, 0x04, 0, 0x04, 0),
      tlv(0x61, 0x0a, 1, 14, 0x04, 0, 0x04, 0),
      tlv(0x61, 0x0a, 2, 0, 0, 0x04, 0, 0x04, 0),
      tlv(0x61, 0x02, 1, 0, 0x04, 0, 0x04, 0),
      tlv(0x61, 0x0a, 1, 0),
      tlv(0x61, 0x0a, 1, 0, 0x04, 0),
      tlv(0x65, 0x0a, 1, 0, 0x04, 0, 0x04, 0),
    ])
      expect(ok(message(...response))).toBe(false);
    // Nor with another that says success, whichever of them is meant.
    const empty = message(...tlv(0x61));
    expect([ok([...SUCCESS, ...empty]), ok([...empty, ...SUCCESS])]).toEqual([false, false]);
    for (let end = 0; end < SUCCESS.length; end++) expect(ok(SUCCESS.slice(0, end))).toBe(false);
  });

  test('of any bytes at all is read to an end', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => typeof confirmsBind(bytes) === 'boolean'));
  });
});
