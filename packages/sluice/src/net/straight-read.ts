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
  /** Whether it is, as Node knows it. */
  reading?: boolean;
  readStart?(): number;
  readStop?(): number;
  getpeername?(out: { address?: string; port?: number }): number;
  getsockname?(out: { address?: string; port?: number }): number;
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

/** Whether what a handle reads can be heard of straight, into a buffer of ours; then `hearReads` does. */
export function canHearReads(handle: SocketHandle): boolean {
  const { useUserBuffer, readStart, readStop } = handle;
  return typeof handle.bytesRead === 'number' && 'onread' in handle && !!useUserBuffer && !!readStart && !!readStop;
}

/** Calls `arrived` with the number of bytes of each read, and `otherwise`, with what Node wants to know, for the end and errors. */
export function hearReads(
  handle: SocketHandle,
  arrived: (read: number) => void,
  otherwise: (chunk: unknown) => void,
): void {
  let before = handle.bytesRead!;
  handle.onread = (chunk) => {
    const now = handle.bytesRead!;
    const read = now - before;
    before = now;
    coldRead();
    if (read > 0) arrived(read);
    else otherwise(chunk);
  };
}

/**
 * The same for the handle of one of Node's sockets: `otherwise` gets what tells Node. Returns Node's own way of hearing; null:
 * there is no other here.
 */
export function readStraight(
  handle: SocketHandle,
  arrived: (read: number) => void,
  otherwise: (tellNode: () => void) => void = (tellNode) => tellNode(),
): OnRead | null {
  const { onread } = handle;
  if (typeof onread !== 'function' || !canHearReads(handle)) return null;
  hearReads(handle, arrived, (chunk) => otherwise(() => onread.call(handle, chunk)));
  return onread;
}
