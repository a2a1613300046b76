/** Parsers of what clients send. Bodies only: `start` is behind the length field. All throw ProtocolError. */
import { CANCEL_CODE, GSSENC_CODE, SSL_CODE } from './frontend.ts';
import { Reader } from './reader.ts';

export type Startup =
  | { kind: 'ssl' | 'gssenc' }
  | { kind: 'cancel'; pid: number; key: Uint8Array }
  | { kind: 'startup'; major: number; minor: number; params: ReadonlyMap<string, string> };

/** Longest cancel key of protocol 3.2, in bytes. */
const MAX_CANCEL_KEY = 256;

/** The first message of a connection. Parameters are read for protocol 3.x only. */
export function parseStartup(bytes: Uint8Array, start: number, end: number): Startup {
  const reader = new Reader(bytes, start, end, 'startup');
  const code = reader.int32();
  if (code === SSL_CODE || code === GSSENC_CODE) {
    reader.done();
    return { kind: code === SSL_CODE ? 'ssl' : 'gssenc' };
  }
  if (code === CANCEL_CODE) {
    const pid = reader.int32();
    if (reader.left === 0 || reader.left > MAX_CANCEL_KEY) reader.fail(`a cancel key of ${reader.left} bytes`);
    return { kind: 'cancel', pid, key: reader.rest() };
  }
  const major = code >>> 16;
  const minor = code & 0xffff;
  if (major !== 3) return { kind: 'startup', major, minor, params: new Map() };
  return { kind: 'startup', major, minor, params: startupParams(reader) };
}

function startupParams(reader: Reader): Map<string, string> {
  const params = new Map<string, string>();
  for (;;) {
    const name = reader.text();
    if (name === '') break;
    params.set(name, reader.text());
  }
  if (reader.left > 0) reader.fail('expected terminator as last byte');
  return params;
}

export function parseSaslInitialResponse(
  bytes: Uint8Array,
  start: number,
  end: number,
): { mechanism: string; data: Uint8Array | null } {
  const reader = new Reader(bytes, start, end, 'SASLInitialResponse');
  const mechanism = reader.text();
  const size = reader.int32();
  if (size < -1) reader.fail('a negative length');
  const data = size === -1 ? null : reader.bytes(size);
  reader.done();
  return { mechanism, data };
}

export function parseQuery(bytes: Uint8Array, start: number, end: number): string {
  const reader = new Reader(bytes, start, end, 'Query');
  const sql = reader.text();
  reader.done();
  return sql;
}

export function parseParse(
  bytes: Uint8Array,
  start: number,
  end: number,
): { name: string; sql: string; types: number[] } {
  const reader = new Reader(bytes, start, end, 'Parse');
  const name = reader.text();
  const sql = reader.text();
  const types = Array.from({ length: reader.int16() }, () => reader.int32());
  reader.done();
  return { name, sql, types };
}

export interface BindFields {
  portal: string;
  statement: string;
  formats: number[];
  /** Raw values; null is SQL's NULL. */
  values: (Uint8Array | null)[];
  resultFormats: number[];
}

export function parseBind(bytes: Uint8Array, start: number, end: number): BindFields {
  const reader = new Reader(bytes, start, end, 'Bind');
  const portal = reader.text();
  const statement = reader.text();
  const formats = Array.from({ length: reader.int16() }, () => reader.int16());
  const values = Array.from({ length: reader.int16() }, () => {
    const size = reader.int32();
    return size === -1 ? null : reader.bytes(size);
  });
  const resultFormats = Array.from({ length: reader.int16() }, () => reader.int16());
  reader.done();
  return { portal, statement, formats, values, resultFormats };
}

/** Describe and Close. */
export function parseTarget(bytes: Uint8Array, start: number, end: number): { target: 'S' | 'P'; name: string } {
  const reader = new Reader(bytes, start, end, 'Describe or Close');
  const kind = reader.byte();
  if (kind !== 0x53 && kind !== 0x50) reader.fail(`target 0x${kind.toString(16)} instead of S or P`);
  const name = reader.text();
  reader.done();
  return { target: kind === 0x53 ? 'S' : 'P', name };
}

export function parseExecute(bytes: Uint8Array, start: number, end: number): { portal: string; rows: number } {
  const reader = new Reader(bytes, start, end, 'Execute');
  const portal = reader.text();
  const rows = reader.int32();
  reader.done();
  return { portal, rows };
}

/** A password message's text; what follows its NUL is an error. */
export function parsePassword(bytes: Uint8Array, start: number, end: number): string {
  const reader = new Reader(bytes, start, end, 'password');
  const text = reader.text();
  reader.done();
  return text;
}
