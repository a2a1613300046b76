/**
 * Who is at the other end of a Unix socket: the uid and the process that the kernel reports, and the uid's name in /etc/passwd.
 * Node has no call for it, so the C library's is used through koffi, which is loaded at the first question. Decides nothing.
 */
import { readFileSync } from 'node:fs';
import type { Conn } from './conn.ts';
import { type Library, libc } from './libc.ts';

/** `socket(7)` on Linux: level, option, and struct ucred of three 32-bit numbers (pid, uid, gid). */
const SOL_SOCKET = 1;
const SO_PEERCRED = 17;
const UCRED_BYTES = 12;
const UID_AT = 4;

interface Peer {
  readonly uid: number;
  /** 0: the system does not tell. */
  readonly pid: number;
}

type Lookup = (fd: number) => Peer | null;

let lookup: Lookup | null = null;

/** The uid of the process that connected; null on other than Unix sockets, and where the system cannot tell. Never throws. */
export function peerUid(conn: Conn): number | null {
  return peerOf(conn)?.uid ?? null;
}

/** From now on the connection's address has the process that connected, for the log. Costs a call of the system's, on Unix sockets. */
export function notePeer(conn: Conn): void {
  if (conn.remote.unix) conn.remote.pid = peerOf(conn)?.pid ?? 0;
}

function peerOf(conn: Conn): Peer | null {
  if (!conn.remote.unix || conn.fd < 0) return null;
  lookup ??= loadLookup();
  return lookup(conn.fd);
}

/** Why `peerUid` cannot work here, or null when it can: to be said at start-up where a setting needs it. */
export function peerCredProblem(): string | null {
  lookup ??= loadLookup();
  return lookup === unable
    ? 'the package koffi cannot be loaded, so nobody can be asked who is at a Unix socket'
    : null;
}

/** The name of a user of this machine, or null. Users that only a directory service knows have none here. */
export function userNameOf(uid: number, passwd: string = readPasswd()): string | null {
  for (const line of passwd.split('\n')) {
    const [name, , id] = line.split(':');
    if (name !== undefined && name !== '' && id !== undefined && /^\d+$/.test(id) && Number(id) === uid) return name;
  }
  return null;
}

function readPasswd(): string {
  try {
    return readFileSync('/etc/passwd', 'utf8');
  } catch {
    return '';
  }
}

const unable: Lookup = () => null;

function loadLookup(): Lookup {
  try {
    return process.platform === 'linux' ? linuxLookup(libc()) : bsdLookup(libc());
  } catch {
    return unable;
  }
}

function linuxLookup(library: Library): Lookup {
  const getsockopt = library.func('int getsockopt(int fd, int level, int option, void *value, void *length)');
  const credentials = Buffer.alloc(UCRED_BYTES);
  const length = Buffer.alloc(4);
  return (fd) => {
    length.writeInt32LE(UCRED_BYTES);
    const failed = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, credentials, length) !== 0;
    if (failed || length.readInt32LE() !== UCRED_BYTES) return null;
    return { uid: credentials.readUInt32LE(UID_AT), pid: credentials.readInt32LE() };
  };
}

/** `getpeereid(3)`: macOS and the BSDs. */
function bsdLookup(library: Library): Lookup {
  const getpeereid = library.func('int getpeereid(int fd, void *uid, void *gid)');
  const uid = Buffer.alloc(4);
  const gid = Buffer.alloc(4);
  return (fd) => (getpeereid(fd, uid, gid) === 0 ? { uid: uid.readUInt32LE(), pid: 0 } : null);
}
