/**
 * Which exchanges can be sent once more without the client noticing: those that run prepared statements outside of a transaction,
 * of whose answer nothing has been passed on, and in which the client asks for the columns, since they have changed (PostgreSQL's
 * "cached plan must not change result type"). Bytes only.
 */
import { HEADER_BYTES, lengthAt } from '@sluice/wire';

/** Longer exchanges are not kept. */
const REPEATABLE_BYTES = 16_384;
const ROOM_BYTES = 512;

const BIND = 0x42;
const CLOSE = 0x43;
const DESCRIBE = 0x44;
const EXECUTE = 0x45;
const PARSE = 0x50;
const SYNC = 0x53;

/** The last exchange of a client that may have to be sent once more; not a third time. */
export class Repetition {
  /** It is to be sent when what is owed for it has come. */
  isDue = false;
  /** Where the last one is kept: in the same place as the one before it, if it is short. */
  #room: Buffer | null = null;
  #recorded: Buffer | null = null;
  #length = 0;
  #repeated: Buffer | null = null;

  /** A chunk is sent for the second time. */
  isOf(buffer: Buffer): boolean {
    return this.#repeated === buffer;
  }

  /** Keeps the chunk if it perhaps runs a prepared statement. */
  record(buffer: Buffer, start: number, end: number): void {
    const type = buffer[start]!;
    const size = end - start;
    if (size > REPEATABLE_BYTES || (type !== BIND && type !== DESCRIBE && type !== PARSE)) return;
    this.#length = size;
    if (size > ROOM_BYTES) {
      this.#recorded = Buffer.from(buffer.subarray(start, end));
      return;
    }
    this.#room ??= Buffer.allocUnsafe(ROOM_BYTES);
    this.#recorded = this.#room;
    for (let i = 0; i < size; i++) this.#room[i] = buffer[start + i]!;
  }

  forget(): void {
    this.#recorded = this.#repeated = null;
  }

  /** May it be sent once more, `owed` replies of it being owed? */
  plan(owed: number): boolean {
    if (this.#recorded === null || this.#repeated !== null) return false;
    this.#repeated = repeatablePart(this.#recorded.subarray(0, this.#length), owed);
    this.isDue = this.#repeated !== null;
    return this.isDue;
  }

  /** What is to be sent now. */
  take(): Buffer {
    this.isDue = false;
    return this.#repeated!;
  }
}

/**
 * The part to be sent again: all but Parses at its begin, which have been answered. Null: it cannot be, or not exactly `owed`
 * replies of it are still to come.
 */
function repeatablePart(bytes: Buffer, owed: number): Buffer | null {
  let begin = 0;
  let replies = 0;
  let described = false;
  for (let at = 0; at < bytes.length; ) {
    if (bytes.length - at < HEADER_BYTES) return null;
    const type = bytes[at]!;
    const end = at + lengthAt(bytes, at) + 1;
    if (end > bytes.length) return null;
    if (type === PARSE && begin === at) begin = end;
    else if (type === BIND || type === DESCRIBE || type === EXECUTE || type === CLOSE) replies++;
    else if (type === SYNC && end === bytes.length) {
      return described && replies + 1 === owed ? bytes.subarray(begin) : null;
    } else return null;
    if (type === DESCRIBE) described = true;
    at = end;
  }
  return null;
}
