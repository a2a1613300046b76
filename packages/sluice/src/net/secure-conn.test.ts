import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { type AddressInfo, connect as connectPlain, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect, createServer as createTlsServer, type SecureVersion, type TLSSocket } from 'node:tls';
import { Worker } from 'node:worker_threads';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { Authority, OPENSSL, type Pair } from '../../../../test/support/certificates.ts';
import { defaultGlobals } from '../config/index.ts';
import type { Conn } from './conn.ts';
import { dial } from './dial.ts';
import { type Listener, listen } from './listen.ts';
import { acceptTls } from './tls-conn.ts';
import { loadTls, type TlsContexts } from './tls-context.ts';

const dir = mkdtempSync(join(tmpdir(), 'sluice-secure-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** Passes on what it is given in pieces of `sizes`, in turn. In a thread of its own, whose turns are not ours. */
const CHOPPY = `
const { connect, createServer } = require('node:net');
const { parentPort, workerData: { port, sizes } } = require('node:worker_threads');
const pass = async (from, to) => {
  let turn = 0;
  for await (const chunk of from)
    for (let at = 0; at < chunk.length; ) {
      const size = sizes[turn++ % sizes.length];
      to.write(chunk.subarray(at, at + size));
      at += size;
      await new Promise((resolve) => setImmediate(resolve));
    }
  to.end();
};
const server = createServer((socket) => {
  const other = connect(port, '127.0.0.1').setNoDelay(true);
  socket.setNoDelay(true).on('error', () => other.destroy());
  other.on('error', () => socket.destroy());
  pass(socket, other).catch(() => other.destroy());
  pass(other, socket).catch(() => socket.destroy());
});
server.listen(0, '127.0.0.1', () => parentPort.postMessage(server.address().port));
`;

const listening = (server: Server) =>
  new Promise<number>((resolve) =>
    server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port)),
  );

describe.skipIf(!OPENSSL)('TLS above a plain connection', () => {
  let pair: Pair;
  let contexts: TlsContexts;
  let listener: Listener;
  let open = 0;
  /** How often what comes is sent back. */
  let multiply = 1;
  let closes: (Error | null)[] = [];
  let failures: Error[] = [];
  const servers: Server[] = [];
  const proxies: Worker[] = [];
  const sockets: (Socket | TLSSocket)[] = [];

  beforeAll(async () => {
    pair = new Authority(dir, 'ours').issue('localhost');
    const settings = {
      clientTlsSslmode: 'require',
      clientTlsKeyFile: pair.key,
      clientTlsCertFile: pair.cert,
      serverTlsSslmode: 'require',
    } as const;
    contexts = loadTls({ ...defaultGlobals(), ...settings }, (path) => readFileSync(path, 'utf8'));
    listener = await listen({ host: '127.0.0.1', port: 0, unix: false, backlog: 100 }, (plain) => {
      const { conn, ready } = acceptTls(plain, contexts.client, { direct: false, rest: new Uint8Array(0) });
      ready.catch((error: Error) => failures.push(error));
      echo(conn);
    });
  });
  afterAll(() => listener.close());
  afterEach(async () => {
    for (const socket of sockets.splice(0)) socket.destroy();
    while (open > 0) await sleep(1);
    for (const server of servers.splice(0)) server.close();
    await Promise.all(proxies.splice(0).map((proxy) => proxy.terminate()));
    [closes, failures, multiply] = [[], [], 1];
  });

  const echo = (conn: Conn) => {
    conn.handler = {
      onData(buffer, start, end) {
        const chunk =
          multiply === 1
            ? buffer.subarray(start, end)
            : Buffer.alloc((end - start) * multiply, buffer.subarray(start, end));
        if (!conn.write(chunk, 0, chunk.length)) conn.pause();
      },
      onDrain: () => conn.resume(),
      onClose: (error) => {
        open--;
        closes.push(error);
      },
    };
    open++;
  };
  const client = async (port: number, version?: SecureVersion) => {
    const versions = version === undefined ? {} : { minVersion: version, maxVersion: version };
    const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false, ...versions });
    sockets.push(socket.setNoDelay(true));
    socket.on('error', () => {});
    await once(socket, 'secureConnect');
    return socket;
  };
  const echoed = async (socket: Socket, size: number) => {
    const got: Buffer[] = [];
    let have = 0;
    for await (const chunk of socket.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      got.push(chunk);
      have += chunk.length;
      if (have >= size) break;
    }
    return Buffer.concat(got);
  };
  const through = async (sizes: readonly number[], port: number): Promise<number> => {
    const proxy = new Worker(CHOPPY, { eval: true, workerData: { port, sizes } });
    proxies.push(proxy);
    return (await once(proxy, 'message'))[0];
  };

  describe.each(['TLSv1.2', 'TLSv1.3'] as const)('%s', (version) => {
    test.each([[[1]], [[5, 1]], [[4, 6, 1, 22]], [[1_000, 3]], [[16_405, 17, 40_000]]])(
      'takes records in pieces of %j bytes, the handshake’s too',
      async (sizes) => {
        const socket = await client(await through(sizes, listener.port), version);
        const scale = Math.min(40_000, Math.max(...sizes) * 40);
        for (let i = 1; i <= 4; i++) {
          const sent = Buffer.alloc(scale * i + 1, `${i} of some.`);
          socket.write(sent);
          expect((await echoed(socket, sent.length)).equals(sent)).toBe(true);
        }
        expect(closes).toEqual([]);
      },
    );

    test('many connections at once are not mixed up, with records in pieces', async () => {
      const port = await through([3, 700, 16_000, 60_000], listener.port);
      const all = await Promise.all(Array.from({ length: 30 }, () => client(port, version)));
      await Promise.all(
        all.map(async (socket, number) => {
          for (let round = 0; round < 5; round++) {
            const sent = Buffer.alloc(1 + number * 1_777 + round * 9_000, `${number}:${round};`);
            socket.write(sent);
            expect((await echoed(socket, sent.length)).equals(sent), `${number}, ${round}`).toBe(true);
          }
        }),
      );
    });

    test('ends with an error, and once, when a record was changed on its way; others go on', async () => {
      const other = await client(listener.port, version);
      const raw = connectPlain(listener.port, '127.0.0.1');
      sockets.push(raw);
      const socket = connect({ socket: raw, rejectUnauthorized: false, minVersion: version, maxVersion: version });
      socket.on('error', () => {});
      await once(socket, 'secureConnect');
      socket.write('fine');
      expect((await echoed(socket, 4)).toString()).toBe('fine');
      raw.write(Buffer.concat([Buffer.from([23, 3, 3, 0, 32]), Buffer.alloc(32, 7)]));
      while (closes.length === 0) await sleep(1);
      await sleep(5);
      expect(closes).toEqual([
        expect.objectContaining({ message: expect.stringMatching(/bad record mac|cipher operation failed/) }),
      ]);
      other.write('and here');
      expect((await echoed(other, 8)).toString()).toBe('and here');
    });
  });

  test.each(['K', 'k'])('goes on when the other side changes its keys (%s)', async (command) => {
    const args = ['s_client', '-connect', `127.0.0.1:${listener.port}`, '-tls1_3'];
    const run = spawn('openssl', args, { stdio: ['pipe', 'pipe', 'pipe'] });
    let out = '';
    for (const stream of [run.stdout, run.stderr])
      stream.on('data', (chunk: Buffer) => {
        out += chunk.toString();
      });
    const said = async (text: string) => {
      while (!out.includes(text)) {
        expect(run.exitCode, out).toBeNull();
        await sleep(2);
      }
    };
    await said('SSL handshake has read');
    for (const word of ['before', 'after', 'much later']) {
      run.stdin.write(`${word}!\n`);
      await said(`${word}!`);
      run.stdin.write(`${command}\n`);
      await said('KEYUPDATE');
      out = '';
    }
    run.stdin.end('Q\n');
    await once(run, 'close');
    while (closes.length === 0) await sleep(1);
    expect(closes).toEqual([null]);
  });

  test.each([
    ['-tls1_3', '512'],
    ['-tls1_2', '512'],
    ['-tls1_2', '2048'],
  ])(
    'goes on, and so does everybody else, with one who takes small records only (%s, %s bytes)',
    async (version, size) => {
      const cipher = version === '-tls1_2' ? ['-cipher', 'ECDHE-ECDSA-AES256-SHA384'] : [];
      const args = [
        's_client',
        '-connect',
        `127.0.0.1:${listener.port}`,
        '-quiet',
        version,
        '-maxfraglen',
        size,
        ...cipher,
      ];
      const run = spawn('openssl', args, { stdio: ['pipe', 'pipe', 'ignore'] });
      let back = 0;
      run.stdout.on('data', (chunk: Buffer) => {
        back += chunk.length;
      });
      // What is echoed is answered by much more, in one piece.
      multiply = 60;
      const others = await Promise.all([client(listener.port, 'TLSv1.2'), client(listener.port, 'TLSv1.3')]);
      const line = Buffer.from(`${'x'.repeat(3_999)}\n`);
      for (let round = 1; round <= 4; round++) {
        run.stdin.write(line);
        for (const other of others) {
          other.write('here');
          expect((await echoed(other, 4 * multiply)).toString()).toBe('here'.repeat(multiply));
        }
        while (back < round * line.length * multiply) {
          expect(run.exitCode).toBeNull();
          await sleep(1);
        }
      }
      for (const other of others) {
        other.write('and here');
        expect((await echoed(other, 8 * multiply)).toString()).toBe('and here'.repeat(multiply));
      }
      expect(closes).toEqual([]);
      run.kill();
      await once(run, 'close');
    },
  );

  test('a stranger’s ciphertext that looks like a record leaves nothing behind for others', async () => {
    const other = await client(listener.port, 'TLSv1.3');
    const raw = connectPlain(listener.port, '127.0.0.1').setNoDelay(true);
    sockets.push(raw);
    let held: Buffer[] | null = null;
    const tap = new Duplex({
      read() {},
      write(chunk: Buffer, _encoding, done) {
        if (held === null) raw.write(chunk);
        else held.push(chunk);
        done();
      },
    });
    raw.on('data', (chunk) => tap.push(chunk));
    const stranger = connect({ socket: tap, rejectUnauthorized: false, minVersion: 'TLSv1.3' });
    stranger.on('error', () => {});
    stranger.resume();
    await once(stranger, 'secureConnect');
    for (;;) {
      held = [];
      stranger.write('y'.repeat(40));
      while (held.length === 0) await new Promise((resolve) => setImmediate(resolve));
      const record = Buffer.concat(held);
      held = null;
      const body = record.subarray(5);
      const size = body[0] === 23 ? 5 + body.readUInt16BE(3) : 0;
      if (size <= body.length) {
        raw.write(record);
        continue;
      }
      // Its header alone, and then what begins like another record of just that length, though it is the rest of this one, and a lie behind it.
      raw.write(record.subarray(0, 5));
      await sleep(5);
      raw.write(
        Buffer.concat([body, Buffer.from([23, 3, 3, 64, 0]), Buffer.alloc(size - body.length, 9)]).subarray(0, size),
      );
      await sleep(5);
      other.write('here');
      expect((await echoed(other, 4)).toString()).toBe('here');
      break;
    }
  });

  test('does not negotiate anew', async () => {
    const socket = await client(listener.port, 'TLSv1.2');
    const refused = once(socket, 'error');
    socket.renegotiate({}, () => {});
    expect(((await refused)[0] as Error).message).toMatch(/renegotiation/i);
    while (closes.length === 0) await sleep(1);
  });

  test.each([
    ['what is no TLS', Buffer.from('GET / HTTP/1.1\r\n\r\n'), /http request/],
    ['a record that is too long', Buffer.from([22, 3, 1, 255, 255, 1, 2, 3]), /record|length|packet/],
    ['a message that is none', Buffer.concat([Buffer.from([22, 3, 1, 0, 100, 99]), Buffer.alloc(99)]), /message/],
  ])('fails at %s, and says why', async (_what, bytes, reason) => {
    const raw = connectPlain(listener.port, '127.0.0.1');
    sockets.push(raw);
    raw.on('error', () => {});
    raw.write(bytes);
    const closed = once(raw.resume(), 'close');
    while (failures.length === 0) await sleep(1);
    expect(failures[0]!.message).toMatch(/^TLS handshake error: /);
    expect(failures[0]!.message).toMatch(reason);
    await closed;
    while (closes.length === 0) await sleep(1);
    expect(closes).toHaveLength(1);
  });

  test('whoever goes in the middle of the handshake is gone, and no failure of TLS', async () => {
    const raw = connectPlain(listener.port, '127.0.0.1');
    raw.write(Buffer.from([22, 3, 1, 2, 0, 1]));
    await sleep(5);
    raw.destroy();
    while (failures.length === 0) await sleep(1);
    expect(failures[0]!.name).toBe('ConnectionEnded');
  });

  describe('towards a server', () => {
    test.each([
      ['TLSv1.2', [65_536]],
      ['TLSv1.3', [65_536]],
      ['TLSv1.2', [7, 900]],
      ['TLSv1.3', [7, 900]],
    ] as const)('%s, in pieces of %j', async (version, sizes) => {
      const settings = { key: readFileSync(pair.key), cert: readFileSync(pair.cert), ALPNProtocols: ['postgresql'] };
      const server = createTlsServer({ ...settings, minVersion: version, maxVersion: version }, (socket) => {
        socket.on('error', () => {});
        socket.pipe(socket);
      });
      servers.push(server as unknown as Server);
      const port = await through(sizes, await listening(server as unknown as Server));
      const tls = { context: contexts.server, required: true, direct: true };
      const conn = await dial({ host: '127.0.0.1', port, timeoutMs: 0, tls }).conn;
      expect(conn.tls!.description).toMatch(version);
      const got: Buffer[] = [];
      conn.handler = {
        onData: (buffer, start, end) => got.push(Buffer.from(buffer.subarray(start, end))),
        onDrain() {},
        onClose: (error) => closes.push(error),
      };
      conn.resume();
      const sent = Buffer.alloc(200_003, 'to the server and back;');
      conn.write(sent, 0, sent.length);
      while (Buffer.concat(got).length < sent.length) await sleep(2);
      expect(Buffer.concat(got).equals(sent)).toBe(true);
      conn.end();
      while (closes.length === 0) await sleep(1);
      expect(closes).toEqual([null]);
    });
  });
});
