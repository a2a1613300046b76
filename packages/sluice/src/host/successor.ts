/**
 * Taking the place of a running pooler (-R): its listening sockets are let go of for this process, and it serves its clients
 * until they leave. Asked for over its console, through the Unix socket, as the user that both run as. No connection is
 * moved from one process to the other, so no query is lost.
 */
import { connect } from 'node:net';
import { lengthAt, parseErrorFields, query, startupMessage, terminate } from '@sluice/wire';
import type { Config } from '../config/index.ts';
import { unixPath } from '../net/dial.ts';

const ANSWER_MS = 5_000;

/** Rejects with an error that says why the running pooler could not be asked, or would not. */
export async function succeed({ global }: Config): Promise<void> {
  if (global.unixSocketDir === '')
    throw new Error('-R needs unix_socket_dir: the running pooler is asked through its Unix socket');
  const path = unixPath(global.unixSocketDir, global.listenPort);
  const socket = connect(path);
  socket.setTimeout(ANSWER_MS, () => socket.destroy(new Error(`no answer within ${ANSWER_MS / 1000} s`)));
  socket.write(startupMessage({ major: 3, minor: 0, params: { user: 'pgbouncer', database: 'pgbouncer' } }));
  try {
    await ready(socket);
    socket.write(query('SHUTDOWN HAND_OVER'));
    await ready(socket);
    socket.end(terminate());
  } catch (error) {
    socket.destroy();
    throw new Error(`cannot take over from the pooler at ${path}: ${(error as Error).message}`);
  }
}

/** Resolves with the next ReadyForQuery; rejects with the error that comes before it. */
function ready(socket: ReturnType<typeof connect>): Promise<void> {
  return new Promise((resolve, reject) => {
    let pending: Buffer = Buffer.alloc(0);
    const over = (error?: Error) => {
      socket.removeAllListeners('data');
      socket.removeAllListeners('error');
      socket.removeAllListeners('close');
      socket.on('error', () => {});
      if (error === undefined) resolve();
      else reject(error);
    };
    socket.on('error', over);
    socket.on('close', () => over(new Error('it closed the connection')));
    socket.on('data', (chunk: Buffer) => {
      pending = Buffer.concat([pending, chunk]);
      while (pending.length >= 5 && pending.length > lengthAt(pending, 0)) {
        const end = lengthAt(pending, 0) + 1;
        if (pending[0] === 0x45) return over(new Error(parseErrorFields(pending, 5, end).message));
        if (pending[0] === 0x5a) return over();
        pending = pending.subarray(end);
      }
    });
  });
}
