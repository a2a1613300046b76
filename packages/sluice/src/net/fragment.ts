/**
 * The beginning of a message that a chunk cut, until as much of it is here as is needed. Takes memory as bytes come: a length is
 * only what the other side says.
 */

const LEAST = 64;
/** Up to this size room is made for all of it at once. */
const AT_ONCE = 65_536;

export class Fragment {
  /** Bytes that are here. */
  size = 0;
  protected needed = 0;
  #bytes: Buffer | null = null;

  /** Keeps what there is of a message until `needed` bytes of it are here. */
  keep(buffer: Buffer, at: number, end: number, needed: number): void {
    this.needed = needed;
    this.fill(buffer, at, end);
  }

  /** Takes no more of a chunk than is needed; returns where the rest of it begins. */
  fill(buffer: Buffer, at: number, end: number): number {
    const taken = Math.min(this.needed - this.size, end - at);
    this.#makeRoom(this.size + taken);
    buffer.copy(this.#bytes!, this.size, at, at + taken);
    this.size += taken;
    return at + taken;
  }

  get isComplete(): boolean {
    return this.size >= this.needed;
  }

  /** What is here, of which `size` bytes count; nothing is here afterwards. */
  take(): Buffer {
    const bytes = this.#bytes!;
    this.clear();
    return bytes;
  }

  clear(): void {
    this.#bytes = null;
    this.size = 0;
  }

  /** The bytes that are here, to be looked at. */
  protected get bytes(): Buffer {
    return this.#bytes!;
  }

  #makeRoom(size: number): void {
    const before = this.#bytes;
    if (before !== null && before.length >= size) return;
    const whole = Math.max(this.needed, LEAST);
    this.#bytes = Buffer.allocUnsafe(Math.min(whole, Math.max(size * 2, AT_ONCE)));
    before?.copy(this.#bytes, 0, 0, this.size);
  }
}
