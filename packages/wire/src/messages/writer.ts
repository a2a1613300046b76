/** Puts one message together: type byte, length, body. Knows no message by name. */
import { allocate, copied } from '../allocate.ts';
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

/** Where short messages are put together: one allocation a message, of its own size. */
const SCRATCH = new Uint8Array(4096);
/** A UTF-16 unit takes three bytes of UTF-8 at most. */
const WIDEST = 3;

/** A whole message; `type` '' for those without a type byte. Throws when a text holds a NUL. */
export function message(type: string, ...parts: readonly Part[]): Uint8Array {
  let most = type.length + 4;
  for (const part of parts) most += typeof part === 'string' ? part.length * WIDEST + 1 : part.length;
  const out = most <= SCRATCH.length ? SCRATCH : new Uint8Array(most);
  const head = type.length;
  let at = head + 4;
  for (const part of parts) {
    if (typeof part === 'string') {
      at = putText(out, at, part);
      out[at++] = 0;
    } else {
      out.set(part, at);
      at += part.length;
    }
  }
  if (head > 0) out[0] = type.charCodeAt(0);
  const size = at - head;
  out[head] = size >>> 24;
  out[head + 1] = size >>> 16;
  out[head + 2] = size >>> 8;
  out[head + 3] = size;
  return out === SCRATCH ? copied(SCRATCH, at) : out.slice(0, at);
}

/** Writes a text at `at`; returns where it ends. Nearly all are ASCII, for which the encoder's call costs more than its work. */
function putText(out: Uint8Array, at: number, text: string): number {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === 0 || code > 127) return putEncoded(out, at, text);
    out[at + i] = code;
  }
  return at + text.length;
}

function putEncoded(out: Uint8Array, at: number, text: string): number {
  if (text.includes('\0')) throw new RangeError('a text of the protocol cannot hold a NUL character');
  const encoded = encodeText(text);
  out.set(encoded, at);
  return at + encoded.length;
}

/** Several messages as one piece. */
export function concat(...pieces: readonly Uint8Array[]): Uint8Array {
  let size = 0;
  for (const piece of pieces) size += piece.length;
  const out = allocate(size);
  let at = 0;
  for (const piece of pieces) {
    out.set(piece, at);
    at += piece.length;
  }
  return out;
}
