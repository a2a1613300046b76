import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { dropHandshakes, takeHandshakes } from './syn-filter.ts';

test.skipIf(process.platform !== 'linux')(
  'nobody gets through while handshakes are dropped, who is connected goes on, and who came meanwhile gets through later',
  async () => {
    const server = createServer((socket) => socket.pipe(socket));
    await once(server.listen(0, '127.0.0.1'), 'listening');
    const { port } = server.address() as AddressInfo;
    const { fd } = (server as unknown as { _handle: { fd: number } })._handle;
    const early = connect(port, '127.0.0.1');
    await once(early, 'connect');
    expect(dropHandshakes(fd)).toBe(true);
    const late: Socket = connect(port, '127.0.0.1');
    const connected = once(late, 'connect').then(() => 'connected');
    early.write('still here');
    expect((await once(early, 'data')).toString()).toBe('still here');
    expect(await Promise.race([connected, sleep(300, 'not yet')])).toBe('not yet');
    takeHandshakes(fd);
    expect(await connected).toBe('connected');
    late.write('at last');
    expect((await once(late, 'data')).toString()).toBe('at last');
    early.destroy();
    late.destroy();
    server.close();
  },
);

test('a descriptor that is none is told by false, and by nothing else', () => {
  expect(dropHandshakes(-1)).toBe(false);
  takeHandshakes(-1);
});
