/** Parsers of what servers send. Bodies only: `start` is behind the length field. All throw ProtocolError. */
import { Reader } from './reader.ts';

/** Fields of an ErrorResponse or NoticeResponse that are of use here; '' where absent. */
export interface ErrorFields {
  severity: string;
  code: string;
  message: string;
  detail: string;
  hint: string;
  /** PostgreSQL's function that reported it: the one part that no translation changes where one code has several meanings. */
  routine: string;
}

export function parseErrorFields(bytes: Uint8Array, start: number, end: number): ErrorFields {
  const reader = new Reader(bytes, start, end, 'ErrorResponse or NoticeResponse');
  const fields: ErrorFields = { severity: '', code: '', message: '', detail: '', hint: '', routine: '' };
  let localized = '';
  for (let type = reader.byte(); type !== 0; type = reader.byte()) {
    const text = reader.text();
    if (type === 0x56) fields.severity = text;
    else if (type === 0x53) localized = text;
    else if (type === 0x43) fields.code = text;
    else if (type === 0x4d) fields.message = text;
    else if (type === 0x44) fields.detail = text;
    else if (type === 0x48) fields.hint = text;
    else if (type === 0x52) fields.routine = text;
  }
  // 'V' is never translated, but servers before 9.6 do not send it.
  if (fields.severity === '') fields.severity = localized;
  reader.done();
  return fields;
}

export function parseParameterStatus(bytes: Uint8Array, start: number, end: number): { name: string; value: string } {
  const reader = new Reader(bytes, start, end, 'ParameterStatus');
  const name = reader.text();
  const value = reader.text();
  reader.done();
  return { name, value };
}

export function parseBackendKeyData(bytes: Uint8Array, start: number, end: number): { pid: number; key: Uint8Array } {
  const reader = new Reader(bytes, start, end, 'BackendKeyData');
  const pid = reader.int32();
  return { pid, key: reader.rest() };
}

export function parseReadyForQuery(bytes: Uint8Array, start: number, end: number): number {
  const reader = new Reader(bytes, start, end, 'ReadyForQuery');
  const status = reader.byte();
  if (status !== 0x49 && status !== 0x54 && status !== 0x45) reader.fail(`status 0x${status.toString(16)}`);
  reader.done();
  return status;
}

export type Authentication =
  | { kind: 'ok' | 'cleartext' | 'kerberos' | 'gss' | 'sspi' | 'unknown' }
  | { kind: 'md5'; salt: Uint8Array }
  | { kind: 'sasl'; mechanisms: string[] }
  | { kind: 'gss-continue' | 'sasl-continue' | 'sasl-final'; data: Uint8Array };

export function parseAuthentication(bytes: Uint8Array, start: number, end: number): Authentication {
  const reader = new Reader(bytes, start, end, 'Authentication');
  const code = reader.int32();
  switch (code) {
    case 0:
      reader.done();
      return { kind: 'ok' };
    case 2:
      return { kind: 'kerberos' };
    case 3:
      reader.done();
      return { kind: 'cleartext' };
    case 5: {
      const salt = reader.bytes(4);
      reader.done();
      return { kind: 'md5', salt };
    }
    case 7:
      return { kind: 'gss' };
    case 8:
      return { kind: 'gss-continue', data: reader.rest() };
    case 9:
      return { kind: 'sspi' };
    case 10: {
      const mechanisms: string[] = [];
      for (let name = reader.text(); name !== ''; name = reader.text()) mechanisms.push(name);
      reader.done();
      return { kind: 'sasl', mechanisms };
    }
    case 11:
      return { kind: 'sasl-continue', data: reader.rest() };
    case 12:
      return { kind: 'sasl-final', data: reader.rest() };
    default:
      return { kind: 'unknown' };
  }
}

export function parseNegotiate(
  bytes: Uint8Array,
  start: number,
  end: number,
): { minor: number; unsupported: string[] } {
  const reader = new Reader(bytes, start, end, 'NegotiateProtocolVersion');
  const minor = reader.int32() & 0xffff;
  const count = reader.int32();
  const unsupported: string[] = [];
  for (let i = 0; i < count; i++) unsupported.push(reader.text());
  reader.done();
  return { minor, unsupported };
}

export function parseRowDescription(bytes: Uint8Array, start: number, end: number): { name: string; type: number }[] {
  const reader = new Reader(bytes, start, end, 'RowDescription');
  const columns = Array.from({ length: reader.int16() }, () => {
    const name = reader.text();
    reader.bytes(6);
    const type = reader.int32();
    reader.bytes(8);
    return { name, type };
  });
  reader.done();
  return columns;
}

/** Raw values; null is SQL's NULL. */
export function parseDataRow(bytes: Uint8Array, start: number, end: number): (Uint8Array | null)[] {
  const reader = new Reader(bytes, start, end, 'DataRow');
  const values = Array.from({ length: reader.int16() }, () => {
    const size = reader.int32();
    return size === -1 ? null : reader.bytes(size);
  });
  reader.done();
  return values;
}

export function parseCommandComplete(bytes: Uint8Array, start: number, end: number): string {
  const reader = new Reader(bytes, start, end, 'CommandComplete');
  const tag = reader.text();
  reader.done();
  return tag;
}
