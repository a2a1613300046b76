/** Builders of what a client sends. PostgreSQL manual, "Message Formats". Each returns a whole message. */
import { bytes, int16, int32, message } from './writer.ts';

export const CANCEL_CODE = 80877102;
export const SSL_CODE = 80877103;
export const GSSENC_CODE = 80877104;

export interface StartupFields {
  major: number;
  minor: number;
  params: Readonly<Record<string, string>>;
}

export function startupMessage({ major, minor, params }: StartupFields): Uint8Array {
  const pairs = Object.entries(params).flat();
  return message('', int32((major << 16) | minor), ...pairs, Uint8Array.of(0));
}

export function sslRequest(): Uint8Array {
  return message('', int32(SSL_CODE));
}

export function gssEncRequest(): Uint8Array {
  return message('', int32(GSSENC_CODE));
}

/** The key has 4 bytes in protocol 3.0, up to 256 from 3.2 on. */
export function cancelRequest(processId: number, key: Uint8Array): Uint8Array {
  return message('', int32(CANCEL_CODE), int32(processId), key);
}

export function query(sql: string): Uint8Array {
  return message('Q', sql);
}

export function parse(name: string, sql: string, types: readonly number[] = []): Uint8Array {
  return message('P', name, sql, int16(types.length), ...types.map(int32));
}

/** Parameters in text format; null is SQL's NULL. */
export function bind(portal: string, statement: string, values: readonly (string | null)[] = []): Uint8Array {
  const parts = values.flatMap((value) => {
    if (value === null) return [int32(-1)];
    const encoded = bytes(value);
    return [int32(encoded.length), encoded];
  });
  return message('B', portal, statement, int16(0), int16(values.length), ...parts, int16(0));
}

/** 'S' for a statement, 'P' for a portal. */
export type Target = 'S' | 'P';

export function describe(target: Target, name: string): Uint8Array {
  return message('D', bytes(target), name);
}

export function close(target: Target, name: string): Uint8Array {
  return message('C', bytes(target), name);
}

/** `rows` 0: all. */
export function execute(portal: string, rows = 0): Uint8Array {
  return message('E', portal, int32(rows));
}

const SYNC = message('S');
const FLUSH = message('H');
const TERMINATE = message('X');
const COPY_DONE = message('c');

export function sync(): Uint8Array {
  return SYNC;
}

export function flush(): Uint8Array {
  return FLUSH;
}

export function terminate(): Uint8Array {
  return TERMINATE;
}

export function copyData(data: Uint8Array): Uint8Array {
  return message('d', data);
}

export function copyDone(): Uint8Array {
  return COPY_DONE;
}

export function copyFail(reason: string): Uint8Array {
  return message('f', reason);
}

/** Function call with text arguments and a text result. */
export function functionCall(oid: number, values: readonly (string | null)[]): Uint8Array {
  const parts = values.flatMap((value) => {
    if (value === null) return [int32(-1)];
    const encoded = bytes(value);
    return [int32(encoded.length), encoded];
  });
  return message('F', int32(oid), int16(0), int16(values.length), ...parts, int16(0));
}

export function passwordMessage(text: string): Uint8Array {
  return message('p', text);
}

export function saslInitialResponse(mechanism: string, data: Uint8Array): Uint8Array {
  return message('p', mechanism, int32(data.length), data);
}

export function saslResponse(data: Uint8Array): Uint8Array {
  return message('p', data);
}
