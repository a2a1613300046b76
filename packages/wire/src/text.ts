/** UTF-8 both ways. The names come from the platform; nothing else of it is used here. */

import { copied } from './allocate.ts';

declare class TextEncoder {
  encode(text: string): Uint8Array;
}
declare class TextDecoder {
  constructor(label?: string, options?: { fatal?: boolean });
  decode(bytes: Uint8Array): string;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8');

/** Where short texts are put together. */
const SCRATCH = new Uint8Array(512);

/** Short ones in ASCII, as nearly all are, without a call of the encoder, which costs more than its work. */
export function encodeText(text: string): Uint8Array {
  const { length } = text;
  if (length > SCRATCH.length) return encoder.encode(text);
  for (let i = 0; i < length; i++) {
    const code = text.charCodeAt(i);
    if (code > 127) return encoder.encode(text);
    SCRATCH[i] = code;
  }
  return copied(SCRATCH, length);
}

/** Malformed bytes become U+FFFD: for names and messages, never for data. */
export function decodeText(bytes: Uint8Array): string {
  return decoder.decode(bytes);
}
