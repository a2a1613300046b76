/**
 * Requests to cancel that found nobody while connections go from one process to the next (-R): the session that one is meant for may be on
 * its way, or there already. The old process keeps them here for the new one, which looks again (cancels.ts).
 */
import { performance } from 'node:perf_hooks';
import { toHex } from '@sluice/wire';

/** More are not kept between two steps: all of them go in one message. */
const MOST = 32;
/** Of protocol 3.2. */
const KEY_BYTES = 256;
/** An older one would find what its session asks next. */
const LIFE_MS = 100;

export class Strays {
  /** Null: nobody will ask for them. */
  #kept: { text: string; at: number }[] | null = null;

  /** From now on a successor asks for them. */
  keep(): void {
    this.#kept ??= [];
  }

  add(processId: number, key: Uint8Array): void {
    if (this.#kept !== null && this.#kept.length < MOST && key.length <= KEY_BYTES)
      this.#kept.push({ text: `${processId} ${toHex(key)}`, at: performance.now() });
  }

  /** Those since the last call, as `readStray` takes them. */
  take(): readonly string[] {
    const kept = this.#kept ?? [];
    if (kept.length > 0) this.#kept = [];
    const from = performance.now() - LIFE_MS;
    return kept.filter(({ at }) => at > from).map(({ text }) => text);
  }
}

/** "PID KEY", the key in hexadecimal. */
export function readStray(text: string): [processId: number, key: Uint8Array] {
  const [processId, key = ''] = text.split(' ');
  return [Number(processId), Uint8Array.from(Buffer.from(key, 'hex'))];
}
