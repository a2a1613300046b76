/**
 * UTF-8 both ways, without loss: a byte that is part of no UTF-8 becomes a lone surrogate (U+DC80 to U+DCFF, as Python's
 * surrogateescape has it) and that byte again on the way back. Names and passwords are bytes to PostgreSQL, in whatever
 * encoding; were they all replaced by one character, two that differ would be the same.
 */

import { copied } from './allocate.ts';

declare class TextEncoder {
  encode(text: string): Uint8Array;
}
declare class TextDecoder {
  constructor(label?: string, options?: { fatal?: boolean; ignoreBOM?: boolean });
  decode(bytes: Uint8Array): string;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Where short texts are put together. */
const SCRATCH = new Uint8Array(512);

/** What stands for the byte 0. Only 0x80 and up are needed. */
const ESCAPE = 0xdc00;
const ESCAPED = /[\udc80-\udcff]/u;

/** Short ones in ASCII, as nearly all are, without a call of the encoder, which costs more than its work. */
export function encodeText(text: string): Uint8Array {
  const { length } = text;
  if (length > SCRATCH.length) return encoded(text);
  for (let i = 0; i < length; i++) {
    const code = text.charCodeAt(i);
    if (code > 127) return encoded(text);
    SCRATCH[i] = code;
  }
  return copied(SCRATCH, length);
}

/** Of any bytes. `encodeText` gives the same bytes again. */
export function decodeText(bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes);
  } catch {
    return decodedWithEscapes(bytes);
  }
}

/** Is all of it text, and nothing an escaped byte? */
export function isText(text: string): boolean {
  return !ESCAPED.test(text);
}

function encoded(text: string): Uint8Array {
  if (isText(text)) return encoder.encode(text);
  const parts = text.split(/([\udc80-\udcff])/u).map((part) => {
    const code = part.charCodeAt(0);
    return part.length === 1 && code >= ESCAPE + 0x80 && code <= ESCAPE + 0xff
      ? Uint8Array.of(code - ESCAPE)
      : encoder.encode(part);
  });
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

function decodedWithEscapes(bytes: Uint8Array): string {
  const parts: string[] = [];
  let from = 0;
  for (let at = 0; at < bytes.length; ) {
    const size = sequenceAt(bytes, at);
    if (size > 0) {
      at += size;
      continue;
    }
    if (from < at) parts.push(decoder.decode(bytes.subarray(from, at)));
    parts.push(String.fromCharCode(ESCAPE + bytes[at]!));
    from = ++at;
  }
  if (from < bytes.length) parts.push(decoder.decode(bytes.subarray(from)));
  return parts.join('');
}

/** How many bytes the character at `at` takes; 0: there is none (RFC 3629: the shortest form, no surrogates, up to U+10FFFF). */
function sequenceAt(bytes: Uint8Array, at: number): number {
  const first = bytes[at]!;
  if (first < 0x80) return 1;
  if (first < 0xc2 || first > 0xf4) return 0;
  const size = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  const least = { 224: 0xa0, 240: 0x90 }[first] ?? 0x80;
  const most = { 237: 0x9f, 244: 0x8f }[first] ?? 0xbf;
  const second = bytes[at + 1] ?? 0;
  if (second < least || second > most) return 0;
  for (let i = 2; i < size; i++) if (((bytes[at + i] ?? 0) & 0xc0) !== 0x80) return 0;
  return size;
}
