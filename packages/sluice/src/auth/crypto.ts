/** The cryptography that wire's login machines ask for, from Node. */
import { createHash, createHmac, pbkdf2, randomBytes, randomFillSync, timingSafeEqual } from 'node:crypto';
import type { CryptoPort } from '@sluice/wire';

/** Random bytes are drawn in advance: a call for a few costs as much as one for many. None is given out twice, or kept. */
const DRAWN = Buffer.alloc(4096);
let drawnAt = DRAWN.length;

function drawn(size: number): Uint8Array {
  if (size > DRAWN.length / 8) return randomBytes(size);
  if (drawnAt + size > DRAWN.length) {
    randomFillSync(DRAWN);
    drawnAt = 0;
  }
  const bytes = Uint8Array.prototype.slice.call(DRAWN, drawnAt, drawnAt + size);
  DRAWN.fill(0, drawnAt, drawnAt + size);
  drawnAt += size;
  return bytes;
}

export const nodeCrypto: CryptoPort = {
  randomBytes: drawn,
  sha256: (data) => createHash('sha256').update(data).digest(),
  hmacSha256: (key, data) => createHmac('sha256', key).update(data).digest(),
  md5: (data) => createHash('md5').update(data).digest(),
  pbkdf2Sha256: (password, salt, iterations) =>
    new Promise((resolve, reject) =>
      pbkdf2(password, salt, iterations, 32, 'sha256', (error, key) => (error ? reject(error) : resolve(key))),
    ),
  timingSafeEqual: (a, b) => a.length === b.length && timingSafeEqual(a, b),
};
