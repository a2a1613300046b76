/** Puts one message together: type byte, length, body. Knows no message by name. */
import { encodeText } from '../text.ts';

/** A body part: bytes, or a text that is written with a NUL behind it. */
type Part = Uint8Array | string;

export function int16(value: number): Uint8Array {
  return Uint8Array.of((value >> 8) & 255, value & 255);
}

export function int32(value: number): Uint8Array {
  return Uint8Array.of((value >>> 24) & 255, (value >>> 16) & 255, (value >>> 8) & 255, value & 255);
}

/** Text without a NUL behind it. */
export function bytes(text: string): Uint8Array {
  return encodeText(text);
}

/** A whole message; `type` '' for those without a type byte. Throws when a text holds a NUL. */
export function message(type: string, ...parts: readonly Part[]): Uint8Array {
  const encoded = parts.map((part) => (typeof part === 'string' ? terminated(part) : part));
  const size = encoded.reduce((sum, part) => sum + part.length, 4);
  const out = new Uint8Array(size + type.length);
  let at = 0;
  if (type !== '') out[at++] = type.charCodeAt(0);
  out.set(int32(size), at);
  at += 4;
  for (const part of encoded) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

function terminated(text: string): Uint8Array {
  if (text.includes('\0')) throw new RangeError('a text of the protocol cannot hold a NUL character');
  const encoded = encodeText(text);
  const out = new Uint8Array(encoded.length + 1);
  out.set(encoded);
  return out;
}

/** Several messages as one piece. */
export function concat(...pieces: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    out.set(piece, at);
    at += piece.length;
  }
  return out;
}
