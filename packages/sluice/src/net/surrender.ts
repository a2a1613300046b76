/** A socket changes its owner: what TLS takes over from a plain connection. */
import type { Socket } from 'node:net';

/** A socket without an owner, for the next one. */
export interface Surrendered {
  readonly socket: Socket;
  readonly unixPort: number;
}

export function surrendered(socket: Socket, rest: Uint8Array, unixPort: number): Surrendered {
  for (const event of ['data', 'end', 'error', 'close']) socket.removeAllListeners(event);
  socket.on('error', () => {}); // its next owner hears of it in its own way
  socket.pause();
  if (rest.length > 0) socket.unshift(rest);
  return { socket, unixPort };
}
