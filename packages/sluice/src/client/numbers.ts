/** The numbers that a statement is about: in its text, and among the values that are bound to it in the same packet. Bytes only. */
import { HEADER_BYTES, lengthAt, ProtocolError, parseBind } from '@sluice/wire';

/** Numbers of sessions have 7 to 10 digits. */
const NUMBERS = /\b[0-9]{7,10}\b/g;
const NUMBER = /^[0-9]{7,10}$/;
/** So many are looked at. */
const MOST = 100;

const BIND = 0x42;
const DESCRIBE = 0x44;

/** `text`: of the Query or Parse that ends at `at`; what comes behind it goes up to `end`. */
export function numbersIn(text: string, buffer: Buffer, at: number, end: number): number[] {
  const found = (text.match(NUMBERS) ?? []).map(Number);
  return [...found, ...boundIn(buffer, at, end)].slice(0, MOST);
}

function boundIn(buffer: Buffer, from: number, end: number): number[] {
  let at = from;
  if (at + HEADER_BYTES <= end && buffer[at] === DESCRIBE) at += lengthAt(buffer, at) + 1;
  const last = at + HEADER_BYTES <= end && buffer[at] === BIND ? at + lengthAt(buffer, at) + 1 : -1;
  if (last < at + HEADER_BYTES || last > end) return [];
  try {
    const { values } = parseBind(buffer, at + HEADER_BYTES, last);
    return values.map(sessionNumber).filter((number) => number !== null);
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
