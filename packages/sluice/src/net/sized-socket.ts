/**
 * TCP sockets whose kernel buffers have a size of their own (tcp_socket_buffer). It must be set before a connection is made (a window
 * that was offered is not taken back), and Node has no socket before that: the C library makes it. Linux; Node, not Bun.
 */
import { isIPv6 } from 'node:net';
import { AF_INET, AF_INET6, lastError, streamSocket } from './libc.ts';
import { setBuffers } from './socket-options.ts';

export const sizedSocketsWork = process.platform === 'linux' && process.versions.bun === undefined;

/** The descriptor of a socket that is to be connected to `address`. Throws the system's error. */
export function sizedSocket(address: string, bytes: number): number {
  const fd = streamSocket(isIPv6(address) ? AF_INET6 : AF_INET);
  if (fd < 0) {
    const code = lastError();
    throw Object.assign(new Error(`socket ${code} for ${address}`), { code });
  }
  setBuffers(fd, bytes);
  return fd;
}
