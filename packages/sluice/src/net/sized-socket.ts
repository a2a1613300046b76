/**
 * TCP sockets whose kernel buffers have a size of their own (tcp_socket_buffer). It must be set before a connection is made (a window
 * that was offered is not taken back), and Node has no socket before that: the C library makes it. Linux; Node, not Bun.
 */
import { isIPv6 } from 'node:net';
import { lastError, libc } from './libc.ts';
import { setBuffers } from './socket-options.ts';

const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_STREAM = 1;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;

export const sizedSocketsWork = process.platform === 'linux' && process.versions.bun === undefined;

/** The descriptor of a socket that is to be connected to `address`. Throws the system's error. */
export function sizedSocket(address: string, bytes: number): number {
  const socket = libc().func('int socket(int family, int type, int protocol)');
  const family = isIPv6(address) ? AF_INET6 : AF_INET;
  const fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) {
    const code = lastError();
    throw Object.assign(new Error(`socket ${code} for ${address}`), { code });
  }
  setBuffers(fd, bytes);
  return fd;
}
