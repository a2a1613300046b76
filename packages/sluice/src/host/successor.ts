/**
 * Taking the place of a running pooler (-R): its listening sockets are let go of for this process, and it serves its clients
 * until they leave. Asked for over its console, through the Unix socket, as the user that both run as. No connection is
 * moved from one process to the other, so no query is lost.
 */
import { parseErrorFields, query, startupMessage, terminate } from '@sluice/wire';
import type { Config } from '../config/index.ts';
import type { Conn } from '../net/conn.ts';
import { dial, unixPath } from '../net/dial.ts';
import { PacketReader } from '../net/packet-reader.ts';

/** For the connection, and for the answers. */
const ANSWER_MS = 5_000;
const MESSAGE_BYTES = 65_536;

/** Rejects with an error that says why the running pooler could not be asked, or would not. */
export async function succeed({ global }: Config): Promise<void> {
  const { unixSocketDir: host, listenPort: port } = global;
  if (host === '') throw new Error('-R needs unix_socket_dir: the running pooler is asked through its Unix socket');
  try {
    const conn = await dial({ host, port, timeoutMs: ANSWER_MS }).conn;
    const late = () => conn.destroy(new Error(`no answer within ${ANSWER_MS / 1000} s`));
    const timer = setTimeout(late, ANSWER_MS);
    await handOver(conn).finally(() => clearTimeout(timer));
  } catch (error) {
    throw new Error(`cannot take over from the pooler at ${unixPath(host, port)}: ${(error as Error).message}`);
  }
}

async function handOver(conn: Conn): Promise<void> {
  const reader = new PacketReader(conn, MESSAGE_BYTES);
  const send = (message: Uint8Array) => conn.write(message, 0, message.length);
  conn.resume();
  try {
    send(startupMessage({ major: 3, minor: 0, params: { user: 'pgbouncer', database: 'pgbouncer' } }));
    await ready(reader);
    send(query('SHUTDOWN HAND_OVER'));
    await ready(reader);
    send(terminate());
    conn.end();
  } catch (error) {
    conn.destroy();
    throw error;
  }
}

/** Resolves with the next ReadyForQuery; rejects with the error that comes before it. */
async function ready(reader: PacketReader): Promise<void> {
  for (;;) {
    const { type, body } = await reader.next();
    if (type === 0x45) throw new Error(parseErrorFields(body, 0, body.length).message);
    if (type === 0x5a) return;
  }
}
