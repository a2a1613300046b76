/**
 * Listening sockets that several processes share (so_reuseport): made with SO_REUSEPORT set before they are bound, through the
 * C library, as Node can do that from version 23.1 on only. Linux; addresses are numbers, not names.
 */
import { isIPv6 } from 'node:net';
import { parseAddress } from '../config/index.ts';
import { AF_INET, AF_INET6, lastError, libc, streamSocket } from './libc.ts';

const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const SO_REUSEPORT = 15;

/** The descriptor of a socket bound to this address, not yet listening. Throws an error that names the step and its errno. */
export function reusePortSocket(host: string, port: number): number {
  const library = libc();
  const setsockopt = library.func('int setsockopt(int fd, int level, int option, void *value, uint32_t size)');
  const bind = library.func('int bind(int fd, void *address, uint32_t size)');
  const close = library.func('int close(int fd)');
  const check = (result: number, step: string): number => {
    if (result >= 0) return result;
    const code = lastError();
    throw Object.assign(new Error(`${step} ${host}:${port}: ${code}`), { code });
  };
  const six = isIPv6(host);
  const fd = check(streamSocket(six ? AF_INET6 : AF_INET), 'socket');
  try {
    const on = Buffer.from([1, 0, 0, 0]);
    check(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, on, 4), 'SO_REUSEADDR');
    check(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, on, 4), 'SO_REUSEPORT');
    const address = socketAddress(host, port, six);
    check(bind(fd, address, address.length), 'bind');
  } catch (error) {
    close(fd);
    throw error;
  }
  return fd;
}

/** struct sockaddr_in and sockaddr_in6 of Linux: family in the machine's order, port and address in the network's. */
function socketAddress(host: string, port: number, six: boolean): Buffer {
  const bytes = parseAddress(host);
  if (bytes === null) throw new Error(`so_reuseport needs addresses in listen_addr, and "${host}" is a name`);
  const address = Buffer.alloc(six ? 28 : 16);
  address.writeUInt16LE(six ? AF_INET6 : AF_INET, 0);
  address.writeUInt16BE(port, 2);
  Buffer.from(bytes).copy(address, six ? 8 : 4);
  return address;
}
