import { spawn } from 'node:child_process';
import { expect, test } from 'vitest';
import type { Conn } from './conn.ts';
import { listen } from './listen.ts';
import { fastConnsWork } from './straight-read.ts';

/** Connects, says something and resets the connection, all before the other side looks. */
const LEAVING = `
  const socket = require('node:net').connect(Number(process.argv[1]), '127.0.0.1', () => {
    socket.write('last words', () => setTimeout(() => { socket.resetAndDestroy(); }, 50));
  });
`;

test.runIf(fastConnsWork)(
  'what the other side said before it was gone is heard, though a write has failed',
  async () => {
    let got = '';
    let ended: (error: Error | null) => void = () => {};
    const end = new Promise<Error | null>((resolve) => {
      ended = resolve;
    });
    let accepted: (conn: Conn) => void = () => {};
    const arrival = new Promise<Conn>((resolve) => {
      accepted = resolve;
    });
    const listener = await listen({ host: '127.0.0.1', port: 0, unix: false, backlog: 1 }, (conn) => {
      conn.handler = {
        onData(buffer, start, stop) {
          got += buffer.toString('latin1', start, stop);
        },
        onDrain() {},
        onClose: (error) => ended(error),
      };
      accepted(conn);
    });
    const child = spawn(process.execPath, ['-e', LEAVING, String(listener.port)], { stdio: 'inherit' });
    const conn = await arrival;
    // Nothing is read meanwhile.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 400);
    const bytes = Buffer.from('too late');
    for (let i = 0; i < 3; i++) conn.write(bytes, 0, bytes.length);
    expect(await end).toMatchObject({ code: expect.stringMatching(/EPIPE|ECONNRESET/) });
    expect(got).toBe('last words');
    child.kill();
    listener.close();
  },
);
