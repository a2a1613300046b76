/** Rows that take descriptors along (SHOW FDS for another pooler): each leaves in a message of its own, in its order. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Conn } from '../net/conn.ts';
import { DescriptorStream } from '../net/descriptors.ts';
import { type Carried, rowMessage, type Table } from './table.ts';

/** How long a receiver that takes no more is left alone. */
const PAUSE_MS = 2;

/** `passed` is called for each that has gone. Ends early when the receiver is gone. */
export async function passRows(
  conn: Conn,
  rows: Table['rows'],
  carries: readonly Carried[],
  passed: (carried: Carried) => void,
): Promise<void> {
  const stream = new DescriptorStream();
  for (const [i, carried] of carries.entries())
    if (await pass(conn, stream, rowMessage(rows[i]!), carried)) passed(carried);
}

/** False: it did not go, since it is not there any more or nobody takes it. */
async function pass(conn: Conn, stream: DescriptorStream, message: Uint8Array, carried: Carried): Promise<boolean> {
  for (;;) {
    if (conn.closed || !carried.possible()) return false;
    // What was written before must be out first.
    const sent = conn.queued > 0 ? null : stream.send(conn.fd, message, carried.fd);
    if (sent === null) {
      await delay(PAUSE_MS);
      continue;
    }
    if (sent < message.length) conn.write(message, sent, message.length);
    return true;
  }
}
