/** Whom a statement's signals are for: the numbers in its text, and those bound to it in the same packet. Bytes only. */
import { HEADER_BYTES, lengthAt, ProtocolError, parseBind } from '@sluice/wire';
import type { SessionSignal } from '../sql/signals.ts';

/** Numbers of sessions have 7 to 10 digits. */
const NUMBER = /^[0-9]{7,10}$/;
/** So many are looked at. */
const MOST = 100;

const BIND = 0x42;
const DESCRIBE = 0x44;

export interface Target {
  readonly kind: SessionSignal['kind'];
  readonly number: number;
}

/** `at`: where the Bind stands, with or without a Describe before it; what is here goes up to `end`. */
export function targetsOf(signals: readonly SessionSignal[], buffer: Buffer, at: number, end: number): Target[] {
  const bound = signals.some(({ params }) => params.length > 0) ? boundIn(buffer, at, end) : [];
  const targets = signals.flatMap(({ kind, numbers, params }) => {
    const all = [...numbers, ...params.map((param) => sessionNumber(bound[param - 1] ?? null))];
    return all.flatMap((number) => (number === null ? [] : [{ kind, number }]));
  });
  return targets.slice(0, MOST);
}

function boundIn(buffer: Buffer, from: number, end: number): readonly (Uint8Array | null)[] {
  let at = from;
  if (at + HEADER_BYTES <= end && buffer[at] === DESCRIBE) at += lengthAt(buffer, at) + 1;
  const last = at + HEADER_BYTES <= end && buffer[at] === BIND ? at + lengthAt(buffer, at) + 1 : -1;
  if (last < at + HEADER_BYTES || last > end) return [];
  try {
    return parseBind(buffer, at + HEADER_BYTES, last).values;
  } catch (error) {
    if (error instanceof ProtocolError) return []; // PostgreSQL's to say
    throw error;
  }
}

/** Of the formats it does not matter which: digits are no four or eight bytes of such a number. */
function sessionNumber(value: Uint8Array | null): number | null {
  if (value === null) return null;
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.length);
  if (bytes.length >= 7 && bytes.length <= 10) {
    const text = bytes.toString('latin1');
    if (NUMBER.test(text)) return Number(text);
  }
  if (bytes.length === 4) return bytes.readUInt32BE(0);
  return bytes.length === 8 && bytes.readUInt32BE(0) === 0 ? bytes.readUInt32BE(4) : null;
}
