/** Node's own sockets, around what there is already. */
import { Socket, type SocketConstructorOpts } from 'node:net';
import { SHARED } from './shared-bytes.ts';
import type { RawSocket } from './straight-read.ts';

/**
 * What Node gives every socket, said beforehand: it copies the options and adds these, which makes an object of an unheard-of
 * shape of each and takes eight microseconds, most of what a socket costs.
 */
const NODES_OWN = { allowHalfOpen: false, emitClose: false, autoDestroy: true, decodeStrings: false };

/** Node's socket around what there is already. */
export function socketFor(existing: object, arrived: (n: number) => boolean): RawSocket {
  const onread = { buffer: SHARED, callback: arrived };
  return new Socket({ ...existing, onread, manualStart: true, ...NODES_OWN } as SocketConstructorOpts) as RawSocket;
}
