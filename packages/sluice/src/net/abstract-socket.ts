/**
 * Unix sockets of an abstract name (unix(7)), which has no file. Node 20 fills such a name up with zeroes, which makes another name
 * of it; so they are bound and connected through the C library. Linux; Bun has them right by itself.
 */
import { AF_UNIX, lastError, libc, streamSocket, unixAddress } from './libc.ts';

/** sun_path of sockaddr_un. */
const PATH_BYTES = 108;

/** Is it such a name, and must it be opened here? */
export function isAbstract(path: string): boolean {
  return path.startsWith('\0') && process.platform === 'linux' && process.versions.bun === undefined;
}

/** As the name is written. */
export function shownPath(path: string): string {
  return path.startsWith('\0') ? `@${path.slice(1)}` : path;
}

/** The descriptor of a socket bound to this name, not yet listening. Throws the system's error. */
export function boundSocket(path: string): number {
  return open(path, 'bind');
}

/** The descriptor of a socket connected to who listens there. Throws the system's error; EAGAIN: too many wait to be accepted. */
export function connectedSocket(path: string): number {
  return open(path, 'connect');
}

function open(path: string, step: 'bind' | 'connect'): number {
  const library = libc();
  const close = library.func('int close(int fd)');
  const place = library.func(`int ${step}(int fd, void *address, uint32_t size)`);
  const address = unixAddress(path);
  if (address.length - 2 > PATH_BYTES) throw failure('ENAMETOOLONG', step, path);
  const fd = streamSocket(AF_UNIX);
  if (fd < 0) throw failure(lastError(), 'socket', path);
  if (place(fd, address, address.length) >= 0) return fd;
  const error = failure(lastError(), step, path);
  close(fd);
  throw error;
}

function failure(code: string, step: string, path: string): Error {
  return Object.assign(new Error(`${step} ${code} ${shownPath(path)}`), { code });
}
