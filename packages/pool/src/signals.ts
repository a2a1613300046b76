/** Many callbacks on one AbortSignal by one listener: Node looks through all that are there for each that is added. */
import { throwLater } from './announce.ts';

const CALLBACKS = new WeakMap<AbortSignal, Set<() => void>>();

/** Calls back once when the signal fires, unless the function that is returned was called before. It has not fired yet. */
export function onAbort(signal: AbortSignal, callback: () => void): () => void {
  let callbacks = CALLBACKS.get(signal);
  if (callbacks === undefined) {
    callbacks = new Set();
    CALLBACKS.set(signal, callbacks);
  }
  const all = callbacks;
  if (all.size === 0) signal.addEventListener('abort', fired);
  // A function of its own: the same one may be given twice.
  const one = () => callback();
  all.add(one);
  return () => {
    if (all.delete(one) && all.size === 0) signal.removeEventListener('abort', fired);
  };
}

function fired(this: AbortSignal): void {
  const callbacks = CALLBACKS.get(this);
  this.removeEventListener('abort', fired);
  if (callbacks === undefined) return;
  for (const callback of [...callbacks]) {
    // One before it may have had it taken off.
    if (!callbacks.delete(callback)) continue;
    try {
      callback();
    } catch (error) {
      // One of many: the others hear of it all the same, as from listeners of their own.
      throwLater(error);
    }
  }
}
