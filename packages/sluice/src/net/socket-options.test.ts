import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { describe, expect, test } from 'vitest';
import { type Conn, DISCARD } from './conn.ts';
import { dial } from './dial.ts';
import { libc } from './libc.ts';
import { type Listener, listen } from './listen.ts';
import { setListenerOptions, setSocketOptions } from './socket-options.ts';

const SOCKET = 1;
const [SNDBUF, RCVBUF, KEEPALIVE] = [7, 8, 9];
const TCP = 6;
const NODELAY = 1;
const [KEEPIDLE, KEEPINTVL, KEEPCNT, DEFER_ACCEPT, USER_TIMEOUT] = [4, 5, 6, 9, 18];

/** What the kernel has. */
function option(fd: number, level: number, name: number): number {
  const getsockopt = libc().func('int getsockopt(int fd, int level, int option, void *value, void *length)');
  const value = Buffer.alloc(4);
  const length = Buffer.from([4, 0, 0, 0]);
  expect(getsockopt(fd, level, name, value, length)).toBe(0);
  return value.readInt32LE();
}

/** A listener that was given these settings, and a connection that came after. */
async function accepted(settings: Parameters<typeof setListenerOptions>[1]): Promise<[Listener, Conn]> {
  let arrived = (_conn: Conn) => {};
  const conn = new Promise<Conn>((resolve) => {
    arrived = resolve;
  });
  const listener = await listen({ host: '127.0.0.1', port: 0, unix: false, backlog: 5 }, (each) => arrived(each));
  setListenerOptions(listener.fd, settings);
  connect(listener.port, '127.0.0.1')
    .on('error', () => {})
    .write('x');
  return [listener, await conn];
}

describe.skipIf(process.platform !== 'linux')('socket options', () => {
  test('tcp_defer_accept and tcp_socket_buffer are set where clients come in; the kernel doubles buffers', async () => {
    const [listener, conn] = await accepted({ tcpDeferAccept: true, tcpSocketBuffer: 32_768, tcpKeepalive: true });
    expect(option(listener.fd, TCP, DEFER_ACCEPT)).toBe(1);
    for (const name of [SNDBUF, RCVBUF]) expect(option(conn.fd, SOCKET, name)).toBe(65_536);
    setListenerOptions(listener.fd, { tcpDeferAccept: false, tcpSocketBuffer: 0, tcpKeepalive: false });
    expect(option(listener.fd, TCP, DEFER_ACCEPT)).toBe(0);
    conn.destroy();
    listener.close();
  });

  test('buffers are left to the system without a setting', async () => {
    const [listener, conn] = await accepted({ tcpDeferAccept: false, tcpSocketBuffer: 0, tcpKeepalive: false });
    for (const name of [SNDBUF, RCVBUF]) expect(option(conn.fd, SOCKET, name)).toBeGreaterThan(65_536);
    conn.destroy();
    listener.close();
  });

  test('keepalive by the system’s own values comes with the listener', async () => {
    for (const tcpKeepalive of [true, false]) {
      const [listener, conn] = await accepted({ tcpDeferAccept: false, tcpSocketBuffer: 0, tcpKeepalive });
      const own = { tcpKeepidleMs: 0, tcpKeepintvlMs: 0, tcpKeepcnt: 0, tcpUserTimeoutMs: 0 };
      setSocketOptions(conn, { tcpKeepalive, ...own }, true);
      expect(option(conn.fd, SOCKET, KEEPALIVE)).toBe(tcpKeepalive ? 1 : 0);
      conn.destroy();
      listener.close();
    }
  });

  test('keepalive and user timeout are set on each connection', async () => {
    const [listener, conn] = await accepted({ tcpDeferAccept: false, tcpSocketBuffer: 0, tcpKeepalive: false });
    setSocketOptions(conn, {
      tcpKeepalive: true,
      tcpKeepidleMs: 11_000,
      tcpKeepintvlMs: 12_000,
      tcpKeepcnt: 3,
      tcpUserTimeoutMs: 1_400,
    });
    expect(option(conn.fd, SOCKET, KEEPALIVE)).toBe(1);
    const names = [KEEPIDLE, KEEPINTVL, KEEPCNT, USER_TIMEOUT];
    expect(names.map((name) => option(conn.fd, TCP, name))).toEqual([11, 12, 3, 1_400]);
    conn.destroy();
    listener.close();
  });

  describe('tcp_socket_buffer towards a server', () => {
    const socketBuffer = 32_768;

    test.each(['127.0.0.1', 'localhost'])(
      'is set before the connection to %s is made, and TCP_NODELAY with it',
      async (host) => {
        const sent = Buffer.alloc(300_000, 'x');
        const server = createServer((socket) => socket.on('error', () => {}).end(sent)).listen(0, '127.0.0.1');
        await once(server, 'listening');
        const { port } = server.address() as AddressInfo;
        const conn = await dial({ host, port, timeoutMs: 5_000, socketBuffer }).conn;
        for (const name of [SNDBUF, RCVBUF]) expect(option(conn.fd, SOCKET, name)).toBe(2 * socketBuffer);
        expect(option(conn.fd, TCP, NODELAY)).toBe(1);
        const received: Buffer[] = [];
        await new Promise<void>((closed) => {
          conn.handler = {
            ...DISCARD,
            onData: (bytes, from, to) => received.push(Buffer.from(bytes.subarray(from, to))),
            onClose: () => closed(),
          };
          conn.resume();
        });
        expect(Buffer.concat(received).equals(sent)).toBe(true);
        server.close();
      },
    );

    test('who does not listen is told by the system’s error, and who gives up by his own', async () => {
      const server = createServer().listen(0, '127.0.0.1');
      await once(server, 'listening');
      const { port } = server.address() as AddressInfo;
      const given = dial({ host: '127.0.0.1', port, timeoutMs: 5_000, socketBuffer });
      given.abort();
      await expect(given.conn).rejects.toThrow('aborted');
      await new Promise((closed) => server.close(closed));
      const refused = dial({ host: 'localhost', port, timeoutMs: 5_000, socketBuffer }).conn;
      await expect(refused).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    });
  });
});
