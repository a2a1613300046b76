/**
 * Passing open sockets to another process of the same user: SCM_RIGHTS (unix(7)) over a Unix datagram socket, a descriptor and
 * what belongs to it in one message. The receiver's socket is a file in a folder that only its user may enter. Linux: the
 * C library is called through koffi, and no call waits.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { connectedSocket } from './abstract-socket.ts';
import {
  AF_UNIX,
  describeMessages,
  lastError,
  libc,
  MSG_DONTWAIT,
  SOCK_NONBLOCK_CLOEXEC,
  unixAddress,
} from './libc.ts';

const SOCK_DGRAM = 2;
const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
const MSG_NOSIGNAL = 0x4000;
const MSG_CMSG_CLOEXEC = 0x4000_0000;
const MSG_CTRUNC = 0x8;
const MSG_TRUNC = 0x20;
/** struct cmsghdr with one int, as CMSG_LEN and CMSG_SPACE have it on 64 bits. */
const CMSG = { length: 20, space: 24, levelAt: 8, typeAt: 12, fdAt: 16 } as const;

/** The kernel's usual buffer takes a message of some 200 kB; what is larger is not sent. */
export const PARCEL_BYTES = 131_072;

export interface Parcel {
  readonly text: string;
  readonly fd: number;
}

/** Passing descriptors works here. */
export const descriptorsPass: boolean = process.platform === 'linux' && process.versions.bun === undefined;

function calls() {
  const library = libc();
  describeMessages();
  return {
    socket: library.func('int socket(int family, int type, int protocol)'),
    bind: library.func('int bind(int fd, void *address, uint32_t size)'),
    close: library.func('int close(int fd)'),
    send: library.func('int64_t send(int fd, void *data, size_t size, int flags)'),
    sendmsg: library.func('int64_t sendmsg(int fd, msghdr *message, int flags)'),
    recvmsg: library.func('int64_t recvmsg(int fd, _Inout_ msghdr *message, int flags)'),
  };
}

type Calls = ReturnType<typeof calls>;

function open({ socket }: Calls): number {
  const fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK_CLOEXEC, 0);
  if (fd < 0) throw new Error(`socket: ${lastError()}`);
  return fd;
}

export function closeDescriptor(fd: number): void {
  libc().func('int close(int fd)')(fd);
}

/** sendmsg with one descriptor. */
class Courier {
  readonly #calls: Calls;
  readonly #control = Buffer.alloc(CMSG.space);

  constructor(calls: Calls) {
    this.#calls = calls;
    this.#control.writeBigUInt64LE(BigInt(CMSG.length), 0);
    this.#control.writeInt32LE(SOL_SOCKET, CMSG.levelAt);
    this.#control.writeInt32LE(SCM_RIGHTS, CMSG.typeAt);
  }

  /** How many bytes went, and the descriptor with them; null: nothing for now, as the receiver's buffer is full. */
  send(over: number, to: Buffer | null, data: Uint8Array, fd: number): number | null {
    this.#control.writeInt32LE(fd, CMSG.fdAt);
    const message = {
      name: to,
      namelen: to?.length ?? 0,
      iov: [{ base: data, len: data.length }],
      iovlen: 1,
      control: this.#control,
      controllen: CMSG.space,
      flags: 0,
    };
    const sent = Number(this.#calls.sendmsg(over, message, MSG_DONTWAIT | MSG_NOSIGNAL));
    if (sent >= 0) return sent;
    const code = lastError();
    // ETOOMANYREFS: more descriptors under way than this process may have open.
    if (code === 'EAGAIN' || code === 'ENOBUFS' || code === 'ETOOMANYREFS') return null;
    throw new Error(`sendmsg: ${code}`);
  }
}

/** Sends descriptors over a connected Unix stream, each with bytes of what is written there. */
export class DescriptorStream {
  readonly #courier = new Courier(calls());

  /** How many bytes went over `over`, and `fd` with the first; null: try again later. Throws when nobody is there. */
  send(over: number, data: Uint8Array, fd: number): number | null {
    return this.#courier.send(over, null, data, fd);
  }
}

/** What one call has brought: bytes, 0: the end; with them a descriptor or none. Null: nothing is there. Throws the system's error. */
function receiveFrom(
  { recvmsg }: Calls,
  from: number,
  data: Buffer,
  control: Buffer,
): { size: number; fd: number | null; isCut: boolean } | null {
  control.fill(0);
  const message = {
    name: null,
    namelen: 0,
    iov: [{ base: data, len: data.length }],
    iovlen: 1,
    control,
    controllen: CMSG.space,
    flags: 0,
  };
  const size = Number(recvmsg(from, message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC));
  if (size < 0) {
    const code = lastError();
    if (code === 'EAGAIN' || code === 'EINTR') return null;
    throw new Error(`recvmsg: ${code}`);
  }
  const fd = message.controllen < CMSG.length ? null : control.readInt32LE(CMSG.fdAt);
  return { size, fd, isCut: (message.flags & (MSG_TRUNC | MSG_CTRUNC)) !== 0 };
}

/** A connection to a Unix stream whose bytes bring descriptors along: Node's own reads would lose them. */
export class DescriptorConnection {
  readonly #calls = calls();
  readonly #fd: number;
  readonly #data = Buffer.alloc(65_536);
  readonly #control = Buffer.alloc(CMSG.space);

  /** Throws the system's error when nobody listens at this path. */
  constructor(path: string) {
    this.#fd = connectedSocket(path);
  }

  /** For short messages, which always find room. */
  send(message: Uint8Array): void {
    const sent = Number(this.#calls.send(this.#fd, message, message.length, MSG_NOSIGNAL));
    if (sent !== message.length) throw new Error(`send: ${sent < 0 ? lastError() : 'cut off'}`);
  }

  /**
   * What is there: bytes, which are valid until the next call, and the descriptor that came with the last of them, which is the
   * caller's to close. Null: nothing yet. Throws the system's error, and at the end.
   */
  receive(): { readonly data: Buffer; readonly fd: number | null } | null {
    const received = receiveFrom(this.#calls, this.#fd, this.#data, this.#control);
    if (received === null) return null;
    if (received.size === 0) throw new Error('connection closed by the other side');
    if (received.isCut) throw new Error('recvmsg: more descriptors than are taken at once');
    return { data: this.#data.subarray(0, received.size), fd: received.fd };
  }

  close(): void {
    this.#calls.close(this.#fd);
  }
}

export class DescriptorSender {
  readonly #calls = calls();
  readonly #courier = new Courier(this.#calls);
  readonly #fd: number;
  readonly #to: Buffer;

  /** `path`: the receiver's. */
  constructor(path: string) {
    this.#fd = open(this.#calls);
    this.#to = unixAddress(path);
  }

  /**
   * True: the receiver has it, and the descriptor here may be closed. False: its buffer is full, try again later. Throws when the
   * receiver is gone.
   */
  send({ text, fd }: Parcel): boolean {
    return this.#courier.send(this.#fd, this.#to, Buffer.from(text), fd) !== null;
  }

  close(): void {
    this.#calls.close(this.#fd);
  }
}

export class DescriptorReceiver {
  readonly path: string;
  readonly #calls = calls();
  readonly #fd: number;
  readonly #folder: string;
  readonly #data = Buffer.alloc(PARCEL_BYTES);
  readonly #control = Buffer.alloc(CMSG.space);

  /** Makes a folder of its own in `parent`, which both processes must see. */
  constructor(parent: string) {
    this.#folder = mkdtempSync(join(parent, '.sluice-'));
    this.path = join(this.#folder, 'fds');
    this.#fd = open(this.#calls);
    const address = unixAddress(this.path);
    if (this.#calls.bind(this.#fd, address, address.length) < 0) {
      const code = lastError();
      this.close();
      throw new Error(`bind ${this.path}: ${code}`);
    }
  }

  /** The next one that has arrived, or null. Its descriptor is the caller's to close. */
  receive(): Parcel | null {
    const received = receiveFrom(this.#calls, this.#fd, this.#data, this.#control);
    if (received === null) return null;
    if (received.fd === null || received.isCut)
      throw new Error('recvmsg: a message without its descriptor, or cut off');
    return { text: this.#data.toString('utf8', 0, received.size), fd: received.fd };
  }

  close(): void {
    this.#calls.close(this.#fd);
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
