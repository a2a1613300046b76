/** The numbers that a statement is about: in its text, and among the values that are bound to it in the same packet. Bytes only. */
import { HEADER_BYTES, lengthAt } from '@sluice/wire';

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
  if (at + HEADER_BYTES > end || buffer[at] !== BIND) return [];
  const last = Math.min(end, at + lengthAt(buffer, at) + 1);
  const portalEnd = buffer.indexOf(0, at + HEADER_BYTES);
  const nameEnd = portalEnd < 0 ? -1 : buffer.indexOf(0, portalEnd + 1);
  if (nameEnd < 0 || nameEnd + 3 > last) return [];
  // Of the formats it does not matter which: digits are no four or eight bytes of such a number.
  let next = nameEnd + 3 + 2 * buffer.readUInt16BE(nameEnd + 1);
  if (next + 2 > last) return [];
  let left = Math.min(buffer.readUInt16BE(next), MOST);
  next += 2;
  const found: number[] = [];
  for (; left > 0 && next + 4 <= last; left--) {
    const size = buffer.readInt32BE(next);
    next += 4;
    if (size < 0) continue;
    if (next + size > last) break;
    const number = sessionNumber(buffer, next, size);
    if (number !== null) found.push(number);
    next += size;
  }
  return found;
}

function sessionNumber(buffer: Buffer, at: number, size: number): number | null {
  if (size >= 7 && size <= 10) {
    const text = buffer.toString('latin1', at, at + size);
    if (NUMBER.test(text)) return Number(text);
  }
  if (size === 4) return buffer.readUInt32BE(at);
  return size === 8 && buffer.readUInt32BE(at) === 0 ? buffer.readUInt32BE(at + 4) : null;
}
