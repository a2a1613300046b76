/**
 * The last moments of a listening TCP socket that has neighbours on its port (so_reuseport). The kernel resets what is in a
 * socket's queue when it is closed, so the doors are closed in order: no new handshakes, time for those under way to be
 * completed, and then everybody who is in the queue is let in.
 *
 * Linux, where any process may ask for it: a socket with IP_MINTTL (ip(7); IPV6_MINHOPCOUNT) drops packets that have come
 * further than that, and with 255 all that were sent with the usual 64 or 128, before anything answers them. Who sent a SYN
 * sends it again after a second, and the kernel gives it to a neighbour. The packet that completes a handshake is not asked.
 */
import { libc, SOCK_NONBLOCK_CLOEXEC } from './libc.ts';

const IPPROTO_IP = 0;
const IP_MINTTL = 21;
const IPPROTO_IPV6 = 41;
const IPV6_MINHOPCOUNT = 73;

/** Milliseconds for the third packet of a handshake to come in: a round trip to clients far away. */
export const HANDSHAKE_MS = 100;

/** Nobody can knock at a listening socket any more. False where that cannot be had; never throws. */
export function refuseHandshakes(fd: number): boolean {
  return setDistance(fd, 255);
}

/** What was accepted of such a socket has inherited its deafness. */
export function undeafen(fd: number): void {
  setDistance(fd, 0);
}

/** The connections that the kernel has ready, by accept4(2); none where the C library cannot be reached. */
export function acceptWaiting(fd: number): number[] {
  const found: number[] = [];
  try {
    const accept4 = libc().func('int accept4(int fd, void *address, void *size, int flags)');
    for (let next = 0; next >= 0; ) {
      next = accept4(fd, null, null, SOCK_NONBLOCK_CLOEXEC);
      if (next >= 0) found.push(next);
    }
  } catch {
    // They are reset, as without this.
  }
  return found;
}

function setDistance(fd: number, least: number): boolean {
  if (process.platform !== 'linux' || fd < 0) return false;
  try {
    const setsockopt = libc().func('int setsockopt(int fd, int level, int option, void *value, uint32_t size)');
    const value = Buffer.from([least, 0, 0, 0]);
    // An IPv6 socket on all addresses has IPv4's packets too.
    const six = setsockopt(fd, IPPROTO_IPV6, IPV6_MINHOPCOUNT, value, 4) === 0;
    return setsockopt(fd, IPPROTO_IP, IP_MINTTL, value, 4) === 0 || six;
  } catch {
    return false;
  }
}
