/**
 * Room for short messages, cut from larger pieces one behind the other: an array of its own costs a call of malloc and one of free.
 * Nothing is cut twice; a piece lives as long as the longest of its parts.
 */

const PIECE = 16_384;
const LARGEST = 1_024;

let piece = new Uint8Array(PIECE);
let used = 0;

/** `size` bytes that are nobody else's; what is in them is not said. */
export function allocate(size: number): Uint8Array {
  if (size > LARGEST) return new Uint8Array(size);
  if (used + size > PIECE) {
    piece = new Uint8Array(PIECE);
    used = 0;
  }
  const from = used;
  used += size;
  return piece.subarray(from, used);
}

/** The first `size` bytes of `scratch`, in room of their own. */
export function copied(scratch: Uint8Array, size: number): Uint8Array {
  const out = allocate(size);
  if (size > 32) out.set(size === scratch.length ? scratch : scratch.subarray(0, size));
  else for (let i = 0; i < size; i++) out[i] = scratch[i]!;
  return out;
}
