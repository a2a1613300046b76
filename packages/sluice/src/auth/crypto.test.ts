import { createHash, createHmac } from 'node:crypto';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { nodeCrypto } from './crypto.ts';

test('HMAC and hash are the library’s, for keys and texts of every length', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), fc.uint8Array({ maxLength: 1_200 }), (key, data) => {
      const expected = createHmac('sha256', key).update(data).digest();
      expect(Buffer.from(nodeCrypto.hmacSha256(key, data))).toEqual(expected);
      expect(Buffer.from(nodeCrypto.sha256(data))).toEqual(createHash('sha256').update(data).digest());
    }),
    { numRuns: 500 },
  );
});

test('what one call gives stays as it is when the next comes', () => {
  const mac = nodeCrypto.hmacSha256(Buffer.from('key'), Buffer.from('text'));
  const kept = Buffer.from(mac);
  nodeCrypto.hmacSha256(Buffer.from('other'), Buffer.from('longer text'));
  expect(Buffer.from(mac)).toEqual(kept);
});
