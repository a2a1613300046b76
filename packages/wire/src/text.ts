/** UTF-8 both ways. The names come from the platform; nothing else of it is used here. */

declare class TextEncoder {
  encode(text: string): Uint8Array;
}
declare class TextDecoder {
  constructor(label?: string, options?: { fatal?: boolean });
  decode(bytes: Uint8Array): string;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8');

export function encodeText(text: string): Uint8Array {
  return encoder.encode(text);
}

/** Malformed bytes become U+FFFD: for names and messages, never for data. */
export function decodeText(bytes: Uint8Array): string {
  return decoder.decode(bytes);
}
