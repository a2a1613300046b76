/** The cryptography that wire's login machines ask for, from Node. */
import { createHash, createHmac, pbkdf2, randomBytes, timingSafeEqual } from 'node:crypto';
import type { CryptoPort } from '@sluice/wire';

export const nodeCrypto: CryptoPort = {
  randomBytes: (size) => randomBytes(size),
  sha256: (data) => createHash('sha256').update(data).digest(),
  hmacSha256: (key, data) => createHmac('sha256', key).update(data).digest(),
  md5: (data) => createHash('md5').update(data).digest(),
  pbkdf2Sha256: (password, salt, iterations) =>
    new Promise((resolve, reject) =>
      pbkdf2(password, salt, iterations, 32, 'sha256', (error, key) => (error ? reject(error) : resolve(key))),
    ),
  timingSafeEqual: (a, b) => a.length === b.length && timingSafeEqual(a, b),
};
