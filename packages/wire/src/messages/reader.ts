/** Reads a message body with bounds checked: what does not fit is a ProtocolError, never anything else. */
import { decodeText } from '../text.ts';

/** Bytes that are not what the protocol allows. SQLSTATE 08P01, protocol_violation. */
export class ProtocolError extends Error {
  readonly code = '08P01';

  constructor(message: string) {
    super(message);
    this.name = 'ProtocolError';
  }
}

export class Reader {
  readonly #bytes: Uint8Array;
  readonly #end: number;
  readonly #what: string;
  at: number;

  /** `what` names the message in errors. */
  constructor(bytes: Uint8Array, start: number, end: number, what: string) {
    this.#bytes = bytes;
    this.#end = Math.min(end, bytes.length);
    this.at = start;
    this.#what = what;
  }

  get left(): number {
    return this.#end - this.at;
  }

  fail(why: string): never {
    throw new ProtocolError(`malformed ${this.#what} message: ${why}`);
  }

  byte(): number {
    this.#need(1);
    return this.#bytes[this.at++]!;
  }

  int16(): number {
    this.#need(2);
    const value = (this.#bytes[this.at]! << 8) | this.#bytes[this.at + 1]!;
    this.at += 2;
    return value;
  }

  /** Signed. */
  int32(): number {
    this.#need(4);
    const { at } = this;
    const b = this.#bytes;
    this.at += 4;
    return (b[at]! << 24) | (b[at + 1]! << 16) | (b[at + 2]! << 8) | b[at + 3]!;
  }

  bytes(size: number): Uint8Array {
    if (size < 0) this.fail('a negative length');
    this.#need(size);
    const part = this.#bytes.subarray(this.at, this.at + size);
    this.at += size;
    return part;
  }

  text(): string {
    const nul = this.#bytes.indexOf(0, this.at);
    if (nul < 0 || nul >= this.#end) this.fail('a text without its end');
    const text = decodeText(this.#bytes.subarray(this.at, nul));
    this.at = nul + 1;
    return text;
  }

  rest(): Uint8Array {
    return this.bytes(this.left);
  }

  done(): void {
    if (this.left !== 0) this.fail(`${this.left} bytes too many`);
  }

  #need(size: number): void {
    if (this.left < size) this.fail(`${size - this.left} bytes too few`);
  }
}
