/** The log's file: lines appended as they come, the file opened again when it was moved away (SIGHUP, RELOAD). */
import { closeSync, openSync, writeSync } from 'node:fs';
import type { LogSink } from '../telemetry/log.ts';

export class LogFile implements LogSink {
  readonly path: string;
  #fd: number;
  /** A line was written in part: the disk was full. */
  #isCut = false;

  /** Throws the system's error when the file cannot be opened for appending. */
  constructor(path: string) {
    this.path = path;
    this.#fd = openSync(path, 'a', 0o644);
  }

  write(line: string): void {
    const bytes = Buffer.from(`${this.#isCut ? '\n' : ''}${line}\n`);
    try {
      const written = writeSync(this.#fd, bytes);
      this.#isCut = written === 0 ? this.#isCut : written < bytes.length;
    } catch {
      // A full disk must not end the pooler; standard error still has the line where it is open.
    }
  }

  /** After a rotation: the path may name another file now. The old one is kept when it cannot be opened. */
  reopen(): void {
    const fd = openSync(this.path, 'a', 0o644);
    closeSync(this.#fd);
    this.#fd = fd;
    this.#isCut = false;
  }

  close(): void {
    closeSync(this.#fd);
  }
}
