/** The beginning of a message of the server's that a chunk cut, until there is enough of it to be looked at. */
import { BACK, Back, HEADER_BYTES, lengthAt } from '@sluice/wire';

/** Messages that must be read as a whole are collected up to this size; a longer error or notice is passed unread. */
const COLLECT_BYTES = 1_048_576;
const LEAST = 64;

/** Must the message whose header is at `at` be whole before it is looked at? */
export function collects(buffer: Uint8Array, at: number): boolean {
  const what = BACK[buffer[at]!]!;
  const size = lengthAt(buffer, at) + 1;
  return what !== Back.Pass && what !== Back.Bad && size > HEADER_BYTES && size <= COLLECT_BYTES;
}

export class Carry {
  /** Bytes that are here. */
  size = 0;
  #needed = 0;
  #bytes: Buffer | null = null;

  /** Keeps what there is of a message: until its header is here, or all of it. */
  keep(buffer: Buffer, at: number, end: number): void {
    this.size = end - at;
    this.#needed = this.size < HEADER_BYTES ? HEADER_BYTES : lengthAt(buffer, at) + 1;
    this.#reserve();
    buffer.copy(this.#bytes!, 0, at, end);
  }

  /** Takes no more of a chunk than is needed; returns where the rest of it begins. */
  fill(buffer: Buffer, at: number, end: number): number {
    const taken = Math.min(this.#needed - this.size, end - at);
    buffer.copy(this.#bytes!, this.size, at, at + taken);
    this.size += taken;
    return at + taken;
  }

  /** Is enough here? A header may turn out to need the rest of its message. */
  get isComplete(): boolean {
    if (this.size < this.#needed) return false;
    if (this.#needed !== HEADER_BYTES || !collects(this.#bytes!, 0)) return true;
    this.#needed = lengthAt(this.#bytes!, 0) + 1;
    this.#reserve();
    return false;
  }

  /** What is here, of which `size` bytes count; nothing is here afterwards. */
  take(): Buffer {
    const bytes = this.#bytes!;
    this.#bytes = null;
    this.size = 0;
    return bytes;
  }

  #reserve(): void {
    const size = Math.max(this.#needed, LEAST);
    if (this.#bytes !== null && this.#bytes.length >= size) return;
    const bigger = Buffer.allocUnsafe(size);
    if (this.#bytes !== null) this.#bytes.copy(bigger, 0, 0, Math.min(this.size, this.#bytes.length));
    this.#bytes = bigger;
  }
}
