/**
 * Which exchanges can be sent once more without the client noticing: those that run prepared statements outside of a transaction,
 * of whose answer nothing has been passed on, and in which the client asks for the columns, since they have changed (PostgreSQL's
 * "cached plan must not change result type"). Bytes only.
 */
import { HEADER_BYTES, lengthAt } from '@sluice/wire';

/** Longer exchanges are not kept. */
const REPEATABLE_BYTES = 16_384;

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
  #recorded: Buffer | null = null;
  #repeated: Buffer | null = null;

  /** A chunk is sent for the second time. */
  isOf(buffer: Buffer): boolean {
    this.#recorded = this.#repeated === buffer ? buffer : null;
    return this.#recorded !== null;
  }

  /** Keeps the chunk if it perhaps runs a prepared statement. */
  record(buffer: Buffer, start: number, end: number): void {
    const type = buffer[start]!;
    if (end - start <= REPEATABLE_BYTES && (type === BIND || type === DESCRIBE || type === PARSE))
      this.#recorded = Buffer.from(buffer.subarray(start, end));
  }

  forget(): void {
    this.#recorded = this.#repeated = null;
  }

  /** May it be sent once more, `owed` replies of it being owed? */
  plan(owed: number): boolean {
    if (this.#recorded === null || this.#recorded === this.#repeated) return false;
    this.#repeated = repeatablePart(this.#recorded, owed);
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
