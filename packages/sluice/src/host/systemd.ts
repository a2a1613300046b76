/**
 * systemd: says when the daemon serves, reloads and stops (sd_notify(3)), and takes listening sockets that systemd opened for it
 * (sd_listen_fds(3)). Without systemd nothing here does anything.
 */
import { readFileSync, readlinkSync } from 'node:fs';
import { AF_UNIX, libc, MSG_DONTWAIT, unixAddress } from '../net/libc.ts';

/** The first descriptor that systemd passes on. */
const FIRST_FD = 3;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;

/** A listening socket that was handed in. */
export interface PassedSocket {
  readonly fd: number;
  readonly unix: boolean;
}

/** The sockets of socket activation; none when they are for another process. */
export function passedSockets(env: NodeJS.ProcessEnv = process.env): PassedSocket[] {
  const { LISTEN_PID, LISTEN_FDS } = env;
  if (LISTEN_PID === undefined || Number(LISTEN_PID) !== process.pid) return [];
  const count = Number(LISTEN_FDS);
  if (!Number.isInteger(count) || count < 1) return [];
  return Array.from({ length: count }, (_, i) => ({ fd: FIRST_FD + i, unix: isUnixSocket(FIRST_FD + i) }));
}

function isUnixSocket(fd: number): boolean {
  const inode = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/self/fd/${fd}`))?.[1];
  if (inode === undefined) throw new Error(`systemd passed descriptor ${fd}, which is no socket; see the .socket unit`);
  return readFileSync('/proc/net/unix', 'utf8')
    .split('\n')
    .some((line) => line.trim().split(/\s+/)[6] === inode);
}

/** What the service manager is told, if there is one. */
export class ServiceManager {
  #isStopping = false;

  up(): void {
    notifySystemd('READY=1');
  }

  fares(status: string): void {
    // One that does not read is not waited for with it.
    notifySystemd(`STATUS=${status}`, MSG_DONTWAIT);
  }

  hearsOfReload(reload: () => void): void {
    // Having been told that it stops, it would take it for up again.
    const tell = (state: string) => this.#isStopping || notifySystemd(state);
    tell(`RELOADING=1\nMONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`);
    try {
      reload();
    } finally {
      tell('READY=1');
    }
  }

  stopping(): void {
    if (!this.#isStopping) notifySystemd('STOPPING=1');
    this.#isStopping = true;
  }
}

let calls: ReturnType<typeof load> | null = null;

function load() {
  const library = libc();
  return {
    socket: library.func('int socket(int family, int type, int protocol)'),
    sendto: library.func('int64_t sendto(int fd, void *data, uint64_t size, int flags, void *to, uint32_t length)'),
    close: library.func('int close(int fd)'),
  };
}

/** Sends a state ("READY=1", "RELOADING=1", "STOPPING=1") to the service manager, if there is one. Never throws. */
export function notifySystemd(state: string, flags = 0): void {
  const path = process.env.NOTIFY_SOCKET;
  if (path === undefined || path === '' || process.platform !== 'linux') return;
  try {
    calls ??= load();
    const fd = calls.socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return;
    const address = unixAddress(path.startsWith('@') ? `\0${path.slice(1)}` : path);
    const data = Buffer.from(state);
    calls.sendto(fd, data, data.length, flags, address, address.length);
    calls.close(fd);
  } catch {
    // A service manager that cannot be told is no reason to stop serving.
  }
}
