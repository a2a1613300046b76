/** What of a server's bytes waits for more: the beginning of a message that a chunk cut, and a message that the next one may annul. */
import { BACK, Back, HEADER_BYTES, lengthAt } from '@sluice/wire';
import { Fragment } from '../net/fragment.ts';
import type { ServerHolder } from './holder.ts';

/** Messages that must be read as a whole are collected up to this size; a longer error or notice is passed unread. */
const COLLECT_BYTES = 1_048_576;

/** Must the message whose header is at `at` be whole before it is looked at? */
export function collects(buffer: Uint8Array, at: number): boolean {
  const what = BACK[buffer[at]!]!;
  const size = lengthAt(buffer, at) + 1;
  return what !== Back.Pass && what !== Back.Bad && size > HEADER_BYTES && size <= COLLECT_BYTES;
}

/** Why a message of this kind and size is not let through; null: it is. `most`: max_packet_size. */
export function badHeader(what: number, size: number, most: number): string | null {
  const isRight = what !== Back.Ready || size === HEADER_BYTES + 1;
  if (size >= HEADER_BYTES && size <= most && what !== Back.Bad && isRight) return null;
  if (size <= most) return `protocol violation: a message of an unknown type or a wrong length (${size - 1} bytes)`;
  return `bad pkt header: a message from the server has ${size} bytes, more than max_packet_size (${most})`;
}

export class Carry extends Fragment {
  /** Keeps what there is of a message: until its header is here, or all of it. */
  begin(buffer: Buffer, at: number, end: number): void {
    this.keep(buffer, at, end, end - at < HEADER_BYTES ? HEADER_BYTES : lengthAt(buffer, at) + 1);
  }

  /** A header may turn out to need the rest of its message. */
  override get isComplete(): boolean {
    if (!super.isComplete) return false;
    if (this.needed !== HEADER_BYTES || !collects(this.bytes, 0)) return true;
    this.needed = lengthAt(this.bytes, 0) + 1;
    return false;
  }
}

/** A message that is not passed on until another has come, which may say that it must be answered anew. */
export class HeldBack {
  #message: Buffer | null = null;

  /** Returns false: it is not passed on now. */
  keep(buffer: Buffer, at: number, size: number): false {
    this.#message = Buffer.from(buffer.subarray(at, at + size));
    return false;
  }

  giveTo(holder: ServerHolder | null): void {
    if (this.#message !== null) holder?.relay(this.#message, 0, this.#message.length);
    this.#message = null;
  }

  drop(): void {
    this.#message = null;
  }
}
