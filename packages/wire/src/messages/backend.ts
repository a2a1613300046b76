/** Builders of what a server sends. PostgreSQL manual, "Message Formats". Each returns a whole message. */
import { bytes, int16, int32, message } from './writer.ts';

const OK = message('R', int32(0));
const CLEARTEXT = message('R', int32(3));

export function authenticationOk(): Uint8Array {
  return OK;
}

export function authenticationCleartextPassword(): Uint8Array {
  return CLEARTEXT;
}

export function authenticationMd5Password(salt: Uint8Array): Uint8Array {
  return message('R', int32(5), salt);
}

export function authenticationSasl(mechanisms: readonly string[]): Uint8Array {
  return message('R', int32(10), ...mechanisms, Uint8Array.of(0));
}

export function authenticationSaslContinue(data: Uint8Array): Uint8Array {
  return message('R', int32(11), data);
}

export function authenticationSaslFinal(data: Uint8Array): Uint8Array {
  return message('R', int32(12), data);
}

export function backendKeyData(processId: number, key: Uint8Array): Uint8Array {
  return message('K', int32(processId), key);
}

export function parameterStatus(name: string, value: string): Uint8Array {
  return message('S', name, value);
}

/** `status`: 0x49 'I' idle, 0x54 'T' in a block, 0x45 'E' in a failed block. */
export function readyForQuery(status: number): Uint8Array {
  return message('Z', Uint8Array.of(status));
}

export interface ErrorText {
  severity: 'ERROR' | 'FATAL' | 'PANIC' | 'WARNING' | 'NOTICE' | 'DEBUG' | 'INFO' | 'LOG';
  /** SQLSTATE. */
  code: string;
  message: string;
  detail?: string | undefined;
  hint?: string | undefined;
}

function report(type: 'E' | 'N', { severity, code, message: text, detail, hint }: ErrorText): Uint8Array {
  const fields = [`S${severity}`, `V${severity}`, `C${code}`, `M${clean(text)}`];
  if (detail !== undefined) fields.push(`D${clean(detail)}`);
  if (hint !== undefined) fields.push(`H${clean(hint)}`);
  return message(type, ...fields, Uint8Array.of(0));
}

/** What a client sent may be quoted in a message; a NUL in it would end the field. */
function clean(text: string): string {
  return text.replaceAll('\0', '\\0');
}

export function errorResponse(text: ErrorText): Uint8Array {
  return report('E', text);
}

/** The error with this body, and another message in it; all else is as it was. */
export function errorWith(body: Uint8Array, change: (message: Uint8Array) => Uint8Array): Uint8Array {
  const parts: Uint8Array[] = [];
  for (let at = 0; at < body.length && body[at] !== 0; ) {
    const nul = body.indexOf(0, at);
    const end = nul < 0 ? body.length : nul;
    const text = body.subarray(at + 1, end);
    parts.push(body.subarray(at, at + 1), body[at] === 0x4d ? change(text) : text, Uint8Array.of(0));
    at = end + 1;
  }
  return message('E', ...parts, Uint8Array.of(0));
}

export function noticeResponse(text: ErrorText): Uint8Array {
  return report('N', text);
}

export interface Column {
  name: string;
  /** Type's oid (25 = text, 23 = int4, 20 = int8) and size (-1: varying). */
  type: number;
  size: number;
}

export function rowDescription(columns: readonly Column[]): Uint8Array {
  const parts = columns.flatMap(({ name, type, size }) => [
    name,
    int32(0),
    int16(0),
    int32(type),
    int16(size),
    int32(-1),
    int16(0),
  ]);
  return message('T', int16(columns.length), ...parts);
}

export function dataRow(values: readonly (string | null)[]): Uint8Array {
  const parts = values.flatMap((value) => {
    if (value === null) return [int32(-1)];
    const encoded = bytes(value);
    return [int32(encoded.length), encoded];
  });
  return message('D', int16(values.length), ...parts);
}

export function commandComplete(tag: string): Uint8Array {
  return message('C', tag);
}

export const PARSE_COMPLETE: Uint8Array = message('1');
export const BIND_COMPLETE: Uint8Array = message('2');
export const CLOSE_COMPLETE: Uint8Array = message('3');
export const NO_DATA: Uint8Array = message('n');
export const EMPTY_QUERY: Uint8Array = message('I');
export const PORTAL_SUSPENDED: Uint8Array = message('s');

export function parameterDescription(types: readonly number[]): Uint8Array {
  return message('t', int16(types.length), ...types.map(int32));
}

/** The server speaks 3.`minor` at most and does not know these options. */
export function negotiateProtocolVersion(minor: number, unsupported: readonly string[]): Uint8Array {
  return message('v', int32((3 << 16) | minor), int32(unsupported.length), ...unsupported);
}

export function notificationResponse(processId: number, channel: string, payload: string): Uint8Array {
  return message('A', int32(processId), channel, payload);
}

/** 'G' in, 'H' out, 'W' both; text format. */
export function copyResponse(type: 'G' | 'H' | 'W', columns: number): Uint8Array {
  return message(type, Uint8Array.of(0), int16(columns), ...Array.from({ length: columns }, () => int16(0)));
}
