/** Which descriptors of this process its own epoll watches, by what Linux tells in /proc. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

function isEpoll(fd: string): boolean {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`) === 'anon_inode:[eventpoll]';
  } catch {
    return false; // the folder's own, by which it was listed
  }
}

/** It is the epoll that watches libuv's. */
export function hotDescriptors(): Set<number> {
  for (const fd of readdirSync('/proc/self/fd').filter(isEpoll)) {
    const watched = [...readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1').matchAll(/^tfd:\s*(\d+)/gm)].map(
      ([, each]) => each!,
    );
    if (watched.some(isEpoll)) return new Set(watched.filter((each) => !isEpoll(each)).map(Number));
  }
  return new Set();
}
