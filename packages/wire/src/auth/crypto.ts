/** The cryptography that the login machines ask for; implemented by whoever uses them. */
export interface CryptoPort {
  randomBytes(size: number): Uint8Array;
  sha256(data: Uint8Array): Uint8Array;
  hmacSha256(key: Uint8Array, data: Uint8Array): Uint8Array;
  md5(data: Uint8Array): Uint8Array;
  /** PBKDF2 with HMAC-SHA-256, 32 bytes. Slow on purpose, hence not on the caller's thread. */
  pbkdf2Sha256(password: Uint8Array, salt: Uint8Array, iterations: number): Promise<Uint8Array>;
  /** In time that does not depend on where they differ; false for different lengths. */
  timingSafeEqual(a: Uint8Array, b: Uint8Array): boolean;
}

const HEX = '0123456789abcdef';

export function toHex(bytes: Uint8Array): string {
  let out = '';
  for (const byte of bytes) out += HEX[byte >> 4]! + HEX[byte & 15]!;
  return out;
}

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';

export function toBase64(bytes: Uint8Array): string {
  let out = '';
  for (let i = 0; i < bytes.length; i += 3) {
    const left = bytes.length - i;
    const bits = (bytes[i]! << 16) | ((bytes[i + 1] ?? 0) << 8) | (bytes[i + 2] ?? 0);
    out += ALPHABET[(bits >> 18) & 63]! + ALPHABET[(bits >> 12) & 63]!;
    out += (left > 1 ? ALPHABET[(bits >> 6) & 63]! : '=') + (left > 2 ? ALPHABET[bits & 63]! : '=');
  }
  return out;
}

/** The value of each character, by its code; 64: not of the alphabet. */
const VALUES = (() => {
  const values = new Uint8Array(128).fill(64);
  for (let i = 0; i < ALPHABET.length; i++) values[ALPHABET.charCodeAt(i)] = i;
  return values;
})();

/** Strict: padding, alphabet and unused bits must be right. Null when they are not. */
export function fromBase64(text: string): Uint8Array | null {
  if (text.length % 4 !== 0) return null;
  const padding = text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0;
  const characters = text.length - padding;
  const out = new Uint8Array((text.length / 4) * 3 - padding);
  let at = 0;
  let bits = 0;
  let have = 0;
  for (let i = 0; i < characters; i++) {
    const value = VALUES[text.charCodeAt(i)] ?? 64;
    if (value === 64) return null;
    bits = ((bits << 6) | value) & 0xffff;
    have += 6;
    if (have < 8) continue;
    have -= 8;
    out[at++] = bits >> have;
  }
  return (bits & ((1 << have) - 1)) === 0 ? out : null;
}
