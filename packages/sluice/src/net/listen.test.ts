import { spawnSync } from 'node:child_process';
import { describe, expect, test } from 'vitest';
import type { Conn } from './conn.ts';
import { listen } from './listen.ts';

const GREET = `require('node:net').connect(+process.argv[1], '127.0.0.1').end('hi', () => process.exit())`;

describe.skipIf(process.platform !== 'linux')('a listener that closes after the last one', () => {
  test('lets in who has connected and was not accepted yet', async () => {
    let arrived = (_text: string) => {};
    const greeting = new Promise<string>((resolve) => {
      arrived = resolve;
    });
    const accept = (conn: Conn) => {
      conn.handler = {
        onData: (buffer, start, end) => arrived(buffer.toString('utf8', start, end)),
        onDrain() {},
        onClose: () => arrived('closed'),
      };
    };
    const listener = await listen({ host: '127.0.0.1', port: 0, unix: false, backlog: 5 }, accept);
    // While this waits, nobody accepts anything here.
    expect(spawnSync(process.execPath, ['-e', GREET, String(listener.port)]).status).toBe(0);
    listener.closeAfterLast();
    expect(await greeting).toBe('hi');
  });
});
