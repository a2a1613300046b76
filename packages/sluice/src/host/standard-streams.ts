/**
 * Standard output and error, whose other end may go at any time (a log reader that dies, a terminal that is closed): what cannot be
 * written there is lost, and nothing else. Node would end the process at the next line.
 */
import { closeSync, openSync } from 'node:fs';
import { isatty } from 'node:tty';

/** Before anything is written. */
export function outliveReaders(): void {
  let terminals = [0, 1, 2].filter((fd) => isatty(fd));
  for (const stream of [process.stdout, process.stderr])
    stream.on('error', ({ code }: NodeJS.ErrnoException) => {
      if (code !== 'EIO') return;
      leave(terminals);
      terminals = [];
    });
}

/** Terminals that are gone. At its exit Node puts them back as they were, and aborts where it cannot (ResetStdio in its src/node.cc). */
function leave(terminals: readonly number[]): void {
  for (const fd of terminals) {
    closeSync(fd);
    // The lowest that is free, which is `fd` unless another thread was faster.
    const opened = openSync('/dev/null', 'r+');
    if (opened !== fd) closeSync(opened);
  }
}
