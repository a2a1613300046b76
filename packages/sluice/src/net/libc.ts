/**
 * The C library, for the few calls that Node does not have: reached through koffi, which is loaded at the first use. Throws
 * when koffi cannot be loaded on this platform.
 */
import { createRequire } from 'node:module';

export type Library = ReturnType<typeof import('koffi').load>;

let loaded: { koffi: typeof import('koffi'); libc: Library } | null = null;

function load() {
  if (loaded === null) {
    const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi');
    loaded = { koffi, libc: koffi.load(null) };
  }
  return loaded;
}

export function libc(): Library {
  return load().libc;
}

/** The name of the last call's error: "EADDRINUSE". */
export function lastError(): string {
  const { koffi } = load();
  return Object.entries(koffi.os.errno).find(([, value]) => value === koffi.errno())?.[0] ?? 'EIO';
}
