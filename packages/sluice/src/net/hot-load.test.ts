import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test, vi } from 'vitest';

vi.hoisted(() => {
  delete process.env.SLUICE_EPOLL;
});

import { hotDescriptors } from '../../../../test/support/hot.ts';
import type { Conn } from './conn.ts';
import { listen } from './listen.ts';

test.skipIf(process.platform !== 'linux')(
  'a connection is hot while there is load, cold before and after, and loses nothing',
  async () => {
    let conn!: Conn;
    let got = '';
    const listener = await listen({ host: '127.0.0.1', port: 0, unix: false, backlog: 1 }, (accepted) => {
      conn = accepted;
      conn.handler = {
        onData(buffer, start, end) {
          got += buffer.toString('latin1', start, end);
          conn.write(buffer, start, end);
        },
        onDrain() {},
        onClose() {},
      };
    });
    const socket = connect({ port: listener.port, host: '127.0.0.1', noDelay: true });
    let sent = '';
    const echo = async (text: string) => {
      socket.write(text);
      sent += text;
      expect(String((await once(socket, 'data'))[0])).toBe(text);
    };
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 20; i++) await echo(`${i};`);
      expect(hotDescriptors()).not.toContain(conn.fd);
      for (let i = 0; !hotDescriptors().has(conn.fd); i++) for (let k = 0; k < 500; k++) await echo(`${i}.${k};`);
      while (hotDescriptors().has(conn.fd)) await sleep(1);
    }
    await echo('last');
    expect(got).toBe(sent);
    socket.destroy();
    listener.close();
  },
);
