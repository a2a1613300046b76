/** The file with the process's number: made at start, removed at the end, and a sign that another instance runs. */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';

/** Throws when the process that a file names is alive; a file left by a dead one is no obstacle. True: there is such a one. */
export function checkPidFile(path: string): boolean {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw new Error(`pidfile ${path} cannot be read: ${(error as Error).message}`);
  }
  const pid = Number.parseInt(text, 10);
  if (pid !== process.pid && isAlive(pid))
    throw new Error(`pidfile ${path} exists, another instance running (process ${pid})? Stop it, or remove the file`);
  return true;
}

/** The process that a file names, if it is alive; 0: there is none. */
export function livingProcessIn(path: string): number {
  try {
    const pid = Number.parseInt(readFileSync(path, 'utf8'), 10);
    return isAlive(pid) ? pid : 0;
  } catch {
    return 0;
  }
}

/** False for what is no process's number. */
export function isAlive(pid: number): boolean {
  try {
    return pid > 0 && process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Throws when the file cannot be written. */
export function writePidFile(path: string): void {
  writeFileSync(path, `${process.pid}\n`);
}

/** Removes the file when it is ours still: after a take-over it is the successor's. */
export function removePidFile(path: string): void {
  try {
    if (Number.parseInt(readFileSync(path, 'utf8'), 10) === process.pid) rmSync(path);
  } catch {
    // It is gone already.
  }
}

/** Where somebody else has removed it. What keeps it from being written is no reason to end. */
export function restorePidFile(path: string): void {
  try {
    if (!existsSync(path)) writePidFile(path);
  } catch {
    // Its folder may be gone, too.
  }
}
