import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { type AddressInfo, connect, createServer, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, describe, expect, test } from 'vitest';
import { DescriptorConnection, DescriptorStream, descriptorsPass } from './descriptors.ts';

const dir = mkdtempSync(join(tmpdir(), 'sluice-fds-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

describe.skipIf(!descriptorsPass)('a connection that brings descriptors', () => {
  test('has each with the last of its bytes, and those can be gone on with', async () => {
    const path = join(dir, 'stream');
    const echo = createServer((socket) => socket.pipe(socket));
    await once(echo.listen(0, '127.0.0.1'), 'listening');
    const open = async () => {
      const socket = connect((echo.address() as AddressInfo).port, '127.0.0.1').pause();
      await once(socket, 'connect');
      return socket;
    };
    const given = await Promise.all([open(), open()]);
    const fdOf = (socket: Socket) => (socket as unknown as { _handle: { fd: number } })._handle.fd;
    const sender = createServer((socket) => {
      socket.once('data', (asked: Buffer) => {
        const stream = new DescriptorStream();
        socket.write(`${asked.toString()}!`, () => {
          for (const [i, one] of given.entries()) stream.send(fdOf(socket), Buffer.from(`row ${i};`), fdOf(one));
          socket.end('end');
        });
      });
    });
    await once(sender.listen(path), 'listening');
    const connection = new DescriptorConnection(path);
    connection.send(Buffer.from('please'));
    let text = '';
    const found: [text: string, fd: number][] = [];
    for (;;) {
      let received: ReturnType<DescriptorConnection['receive']>;
      try {
        received = connection.receive();
      } catch (error) {
        expect((error as Error).message).toBe('connection closed by the other side');
        break;
      }
      if (received === null) {
        await sleep(1);
        continue;
      }
      text += received.data.toString();
      if (received.fd !== null) found.push([text, received.fd]);
    }
    connection.close();
    expect(text).toBe('please!row 0;row 1;end');
    expect(found.map(([before]) => before)).toEqual(['please!row 0;', 'please!row 0;row 1;']);
    for (const [i, [, fd]] of found.entries()) {
      given[i]!.destroy();
      const socket = new Socket({ fd, readable: true, writable: true });
      socket.write(`by ${i}`);
      expect(String((await once(socket, 'data'))[0])).toBe(`by ${i}`);
      socket.destroy();
    }
    sender.close();
    echo.close();
  });

  test('where nobody listens there is none', () => {
    expect(() => new DescriptorConnection(join(dir, 'nowhere'))).toThrow(/ENOENT/);
  });
});
