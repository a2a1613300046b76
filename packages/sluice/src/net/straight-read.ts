/**
 * Hearing of what a socket's handle has read without the way through the socket's stream, which is as long as all that is done
 * with it here. Leans on two things that Node does not document: `_handle.onread`, called for each read, and `_handle.bytesRead`,
 * which has then been added to. Where they are missing the stream is the way.
 */
import type { Socket } from 'node:net';
import { coldRead } from './hot-loop.ts';

/** The parts of a socket's handle used in this folder. */
export interface SocketHandle {
  readonly fd: number;
  /** Bytes read so far. */
  readonly bytesRead?: number;
  /** Called when something was read, the end or an error included, which change nothing in `bytesRead`. */
  onread?: OnRead;
  /** Reads go into this buffer from now on. */
  useUserBuffer?(buffer: Buffer): void;
  readStart?(): number;
  readStop?(): number;
  setNoDelay?(on: boolean): number;
  setKeepAlive?(on: boolean, seconds: number): number;
  close(): void;
}
export type OnRead = (this: SocketHandle, chunk: unknown) => void;
export interface RawSocket extends Socket {
  _handle: SocketHandle | null;
}

/** Node on a POSIX system has what the fast ways need; Bun and Windows have not. */
export const fastConnsWork: boolean = process.versions.bun === undefined && process.platform !== 'win32';

/**
 * Calls `arrived` with the number of bytes of each read, and `otherwise` for the end and errors, with what tells Node of them.
 * Returns Node's own way of hearing; null: there is no other here.
 */
export function readStraight(
  handle: SocketHandle,
  arrived: (read: number) => void,
  otherwise: (tellNode: () => void) => void = (tellNode) => tellNode(),
): OnRead | null {
  const { onread, bytesRead } = handle;
  if (typeof onread !== 'function' || typeof bytesRead !== 'number') return null;
  let before = bytesRead;
  handle.onread = (chunk) => {
    const now = handle.bytesRead!;
    const read = now - before;
    before = now;
    coldRead();
    if (read > 0) arrived(read);
    else otherwise(() => onread.call(handle, chunk));
  };
  return onread;
}
