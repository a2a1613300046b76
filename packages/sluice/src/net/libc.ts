/**
 * The C library, for the few calls that Node does not have: reached through koffi, which is loaded at the first use. Throws
 * when koffi cannot be loaded on this platform.
 */
import { createRequire } from 'node:module';
import { encodeText } from '@sluice/wire';

export type Library = ReturnType<typeof import('koffi').load>;

let loaded: { koffi: typeof import('koffi'); libc: Library } | null = null;

function load() {
  if (loaded === null) {
    const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi');
    loaded = { koffi, libc: koffi.load(null) };
  }
  return loaded;
}

export function koffi(): typeof import('koffi') {
  return load().koffi;
}

export function libc(): Library {
  return load().libc;
}

/** Where a buffer's bytes are; they stay there as long as the buffer lives, if it has its memory to itself. */
export function addressIn(buffer: Buffer | Int32Array): number {
  return Number(load().koffi.address(buffer));
}

let described = false;

/** Makes `msghdr` of sendmsg(2) and recvmsg(2) known by name, for the signatures of functions. */
export function describeMessages(): void {
  if (described) return;
  described = true;
  const { koffi } = load();
  koffi.struct('iovec', { base: 'void *', len: 'size_t' });
  koffi.struct('msghdr', {
    name: 'void *',
    namelen: 'uint32_t',
    iov: 'iovec *',
    iovlen: 'size_t',
    control: 'void *',
    controllen: 'size_t',
    flags: 'int',
  });
}

/** errno of the last call. */
export function errorNumber(): number {
  return load().koffi.errno();
}

/** The name of the last call's error: "EADDRINUSE". */
export function lastError(): string {
  const number = errorNumber();
  return Object.entries(load().koffi.os.errno).find(([, value]) => value === number)?.[0] ?? 'EIO';
}

export const MSG_DONTWAIT = 0x40;
export const AF_UNIX = 1;
export const AF_INET = 2;
export const AF_INET6 = 10;
const SOCK_STREAM = 1;
/** For sockets that do not block and are not inherited. */
export const SOCK_NONBLOCK_CLOEXEC = 0o2004000;

let socket: ((family: number, type: number, protocol: number) => number) | null = null;

/** The descriptor of a stream socket that does not block and is not inherited (numbers are Linux's); below 0: `lastError` says why. */
export function streamSocket(family: number): number {
  socket ??= libc().func('int socket(int family, int type, int protocol)') as NonNullable<typeof socket>;
  return socket(family, SOCK_STREAM | SOCK_NONBLOCK_CLOEXEC, 0);
}

/** struct sockaddr_un. An abstract name (NUL first) ends where the address does, a path by a NUL of its own. */
export function unixAddress(path: string): Buffer {
  const name = encodeText(path);
  const address = Buffer.alloc(2 + name.length + (path.startsWith('\0') ? 0 : 1));
  address.writeUInt16LE(AF_UNIX, 0);
  address.set(name, 2);
  return address;
}
