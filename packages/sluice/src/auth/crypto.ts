/** The cryptography that wire's login machines ask for, from Node. */
import { createHash, createHmac, hash, pbkdf2, randomBytes, randomFillSync, timingSafeEqual } from 'node:crypto';
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

/** In one call, where the runtime has it: half of what an object for it costs. */
const sha256 = (data: Uint8Array): Uint8Array =>
  typeof hash === 'function' ? hash('sha256', data, 'buffer') : createHash('sha256').update(data).digest();

/** Bytes of a block of SHA-256. */
const BLOCK = 64;
const INNER = Buffer.alloc(BLOCK + 1024);
const OUTER = Buffer.alloc(BLOCK + 32);

/** RFC 2104, of two such calls; longer ones by the library's own. */
function hmacSha256(key: Uint8Array, data: Uint8Array): Uint8Array {
  if (key.length > BLOCK || data.length > INNER.length - BLOCK) return createHmac('sha256', key).update(data).digest();
  for (let i = 0; i < BLOCK; i++) {
    const byte = i < key.length ? key[i]! : 0;
    INNER[i] = byte ^ 0x36;
    OUTER[i] = byte ^ 0x5c;
  }
  INNER.set(data, BLOCK);
  OUTER.set(sha256(INNER.subarray(0, BLOCK + data.length)), BLOCK);
  const mac = sha256(OUTER);
  INNER.fill(0, 0, BLOCK);
  OUTER.fill(0);
  return mac;
}

export const nodeCrypto: CryptoPort = {
  randomBytes: drawn,
  sha256,
  hmacSha256,
  md5: (data) => createHash('md5').update(data).digest(),
  pbkdf2Sha256: (password, salt, iterations) =>
    new Promise((resolve, reject) =>
      pbkdf2(password, salt, iterations, 32, 'sha256', (error, key) => (error ? reject(error) : resolve(key))),
    ),
  timingSafeEqual: (a, b) => a.length === b.length && timingSafeEqual(a, b),
};
