/**
 * An accepted connection that is a descriptor and nothing else: while our own epoll reads it (hot-loop.ts) there is nothing
 * that Node's handle around it would be for, and making and closing one costs more than the rest of a short connection's
 * plumbing. `settled` makes one when there is need of it. Linux, with koffi, as the hot loop.
 */
import { AF_INET, AF_INET6, addressIn, libc, SOCK_NONBLOCK_CLOEXEC } from './libc.ts';
import type { OnRead, SocketHandle } from './straight-read.ts';

/** What Node makes a socket's handle with: `TCP` and `Pipe`, as found on a listening one. 0: not a listening one. */
export type HandleKind = {
  new (type: 0): SocketHandle & { open(fd: number): number };
  readonly prototype: { readonly open?: unknown } | undefined;
};

/** struct sockaddr_storage; where sockaddr_in and sockaddr_in6 have their address. */
const ADDRESS_BYTES = 128;
const INET_AT = 4;
const INET6_AT = 8;
const SCOPE_AT = 24;
/** INET6_ADDRSTRLEN. */
const TEXT_BYTES = 46;

interface Calls {
  accept(fd: number, address: number, size: number, flags: number): number;
  close(fd: number): number;
  getsockname(fd: number, address: number, size: number): number;
  inetNtop(family: number, source: number, text: number, size: number): unknown;
  ifIndexToName(index: number, name: number): number;
  readonly addressAt: number;
  readonly sizeAt: number;
  readonly textAt: number;
}

const ADDRESS = Buffer.allocUnsafeSlow(ADDRESS_BYTES);
const SIZE = new Int32Array(new ArrayBuffer(4));
const TEXT = Buffer.allocUnsafeSlow(TEXT_BYTES);

let calls: Calls | null = null;

function load(): Calls {
  const library = libc();
  return {
    accept: library.func('int accept4(int fd, uintptr_t address, uintptr_t size, int flags)'),
    close: library.func('int close(int fd)'),
    getsockname: library.func('int getsockname(int fd, uintptr_t address, uintptr_t size)'),
    inetNtop: library.func('uintptr_t inet_ntop(int family, uintptr_t source, uintptr_t text, uint32_t size)'),
    ifIndexToName: library.func('uintptr_t if_indextoname(unsigned int index, uintptr_t name)'),
    addressAt: addressIn(ADDRESS),
    sizeAt: addressIn(SIZE),
    textAt: addressIn(TEXT),
  };
}

/** The next connection of a listening socket; null: errno says why there is none. Throws without koffi. */
export function acceptBare(listening: number, kind: HandleKind): BareHandle | null {
  calls ??= load();
  SIZE[0] = ADDRESS_BYTES;
  const fd = calls.accept(listening, calls.addressAt, calls.sizeAt, SOCK_NONBLOCK_CLOEXEC);
  return fd < 0 ? null : new BareHandle(fd, kind);
}

interface Name {
  address?: string;
  port?: number;
}

/** Of a link-local IPv6 address: the interface, as Node writes it behind. */
function zone(): string {
  if (ADDRESS[INET6_AT] !== 0xfe || (ADDRESS[INET6_AT + 1]! & 0xc0) !== 0x80) return '';
  const found = calls!.ifIndexToName(ADDRESS.readUInt32LE(SCOPE_AT), calls!.textAt);
  return found === 0 ? '' : `%${TEXT.toString('latin1', 0, TEXT.indexOf(0))}`;
}

/** Writes what `ADDRESS` holds into `name`; nothing for a Unix socket. */
function readAddress(name: Name): void {
  const family = ADDRESS.readUInt16LE(0);
  if (family === AF_INET) {
    name.address = `${ADDRESS[INET_AT]}.${ADDRESS[INET_AT + 1]}.${ADDRESS[INET_AT + 2]}.${ADDRESS[INET_AT + 3]}`;
  } else if (family === AF_INET6) {
    const { inetNtop, addressAt, textAt } = calls!;
    inetNtop(AF_INET6, addressAt + INET6_AT, textAt, TEXT_BYTES);
    name.address = TEXT.toString('latin1', 0, TEXT.indexOf(0)) + zone();
  } else return;
  name.port = ADDRESS.readUInt16BE(2);
}

export class BareHandle implements SocketHandle {
  readonly fd: number;
  onread: OnRead = () => {};
  readonly #kind: HandleKind;
  /** Of the other side. */
  readonly #name: Name = {};

  /** `ADDRESS` is the other side's. */
  constructor(fd: number, kind: HandleKind) {
    this.fd = fd;
    this.#kind = kind;
    readAddress(this.#name);
  }

  /** Node's handle for the descriptor, in place of this one. Throws the system's error. */
  settled(): SocketHandle {
    const handle = new this.#kind(0);
    const failure = handle.open(this.fd);
    if (failure !== 0) throw Object.assign(new Error(`open: error ${failure}`), { errno: failure });
    return handle;
  }

  getpeername(out: Name): number {
    const { address, port } = this.#name;
    if (address !== undefined) out.address = address;
    if (port !== undefined) out.port = port;
    return 0;
  }

  getsockname(out: Name): number {
    SIZE[0] = ADDRESS_BYTES;
    const failure = calls!.getsockname(this.fd, calls!.addressAt, calls!.sizeAt);
    if (failure === 0) readAddress(out);
    return failure;
  }

  close(): void {
    calls!.close(this.fd);
  }
}
