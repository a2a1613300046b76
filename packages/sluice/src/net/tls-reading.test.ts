import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { type AddressInfo, connect as connectPlain, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect, type TLSSocket } from 'node:tls';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { Authority, OPENSSL } from '../../../../test/support/certificates.ts';
import { defaultGlobals } from '../config/index.ts';
import type { Conn } from './conn.ts';
import { type Listener, listen } from './listen.ts';
import { acceptByNode } from './node-tls.ts';
import { SecureConn } from './secure-conn.ts';
import { acceptTls } from './tls-conn.ts';
import { type ClientTls, loadTls } from './tls-context.ts';

const NOTHING = new Uint8Array(0);

const byNode: typeof acceptTls = (plain, { context }, { rest }) =>
  acceptByNode(plain, { context: context!, asks: false, needs: false }, rest, (shown) => ({
    description: shown.description(),
    endPoint: null,
    peerName: null,
  }))!;

describe.skipIf(!OPENSSL).each([
  ['by OpenSSL', acceptTls],
  ['by Node', byNode],
])('a connection on TLS, %s,', (way, accept) => {
  const dir = mkdtempSync(join(tmpdir(), 'sluice-tls-read-'));
  let tls: ClientTls;
  let listener: Listener;
  let accepted: Conn | null = null;
  let client: TLSSocket;
  let got: Buffer[];
  let closes: (Error | null)[];
  /** What is done with each chunk. */
  let heard: (conn: Conn, chunk: Buffer) => void;

  const echo = createServer((socket) => socket.pipe(socket));

  beforeAll(async () => {
    await new Promise<void>((resolve) => echo.listen(0, '127.0.0.1', resolve));
    const { key, cert } = new Authority(dir, 'ours').issue('localhost');
    const settings = { clientTlsSslmode: 'require', clientTlsKeyFile: key, clientTlsCertFile: cert } as const;
    tls = loadTls({ ...defaultGlobals(), ...settings, serverTlsSslmode: 'disable' }, (path) =>
      readFileSync(path, 'utf8'),
    ).client;
    listener = await listen({ host: '127.0.0.1', port: 0, unix: false, backlog: 5 }, (plain) => {
      const { conn, ready } = accept(plain, tls, { direct: false, rest: NOTHING });
      expect(conn instanceof SecureConn).toBe(way === 'by OpenSSL');
      const ofThis = closes;
      conn.handler = {
        onData(buffer, start, end) {
          got.push(Buffer.from(buffer.subarray(start, end)));
          heard(conn, got.at(-1)!);
        },
        onDrain: () => conn.resume(),
        onClose: (error) => ofThis.push(error),
      };
      ready.then(
        () => {
          accepted = conn;
        },
        () => {},
      );
    });
  });
  afterAll(() => {
    listener.close();
    echo.close();
    rmSync(dir, { recursive: true, force: true });
  });
  afterEach(() => {
    client.destroy();
    accepted?.destroy();
    accepted = null;
  });

  const begin = async (): Promise<Conn> => {
    [got, closes, heard] = [[], [], () => {}];
    client = connect({
      port: listener.port,
      host: '127.0.0.1',
      rejectUnauthorized: false,
      ALPNProtocols: ['postgresql'],
    });
    client.on('error', () => {});
    await once(client, 'secureConnect');
    client.write('!');
    while (accepted === null || got.length === 0) await sleep(1);
    got.length = 0;
    return accepted;
  };
  /** Another socket of this process, which has nothing to do with it. */
  const somebodyReads = async () => {
    const socket = connectPlain((echo.address() as AddressInfo).port, '127.0.0.1');
    socket.write('x');
    await once(socket, 'data');
    socket.destroy();
  };
  const all = () => Buffer.concat(got);
  const bytes = (size: number, name: string) => Buffer.alloc(size, `${name}.`);

  test('sends back what it gets whole and in order, in records of every size, however slowly that is read', async () => {
    await begin();
    heard = (conn, chunk) => {
      if (!conn.write(chunk, 0, chunk.length)) conn.pause();
    };
    const sizes = [1, 60, 16_383, 16_384, 16_385, 40_000, 65_537, 3_000_000];
    const sent = Buffer.concat(sizes.map((size) => bytes(size, `of ${size}`)));
    client.write(sent);
    const back: Buffer[] = [];
    for (let size = 0; size < sent.length; await sleep(1)) {
      const chunk = client.read() as Buffer | null;
      if (chunk !== null) back.push(chunk);
      size += chunk?.length ?? 0;
    }
    expect(Buffer.concat(back).equals(sent)).toBe(true);
  });

  test('hears nothing while it is paused or held, though several records have come at once, and then all in order', async () => {
    const conn = await begin();
    // Each record is one chunk; the first pauses it, and so does each after it.
    heard = () => conn.pause();
    // A record has 16 kB at most, and the system has several of them for one read.
    const expected = bytes(400_000, 'several records');
    client.write(expected);
    while (all().length < expected.length) {
      const before = got.length;
      await sleep(3);
      expect(got.length).toBeLessThanOrEqual(before + 1);
      const paused = got.length;
      await sleep(3);
      expect(got.length).toBe(paused);
      conn.resume();
      expect(got.length).toBe(paused); // not within the call
    }
    expect(all().equals(expected)).toBe(true);
    heard = () => {};
    conn.resume();
    conn.hold(true);
    client.write('held');
    await sleep(10);
    expect(all().length).toBe(expected.length);
    conn.hold(false);
    while (all().length < expected.length + 4) await sleep(1);
    expect(closes).toEqual([]);
  });

  test('hears of the end once, after everything that came before it, though it was paused', async () => {
    const conn = await begin();
    heard = () => conn.pause();
    const sent = bytes(110_000, 'last words');
    client.end(sent);
    await sleep(10);
    while (all().length < sent.length) {
      expect(closes).toEqual([]);
      await somebodyReads();
      conn.resume();
      await sleep(1);
    }
    conn.resume();
    while (closes.length === 0) await sleep(1);
    await sleep(5);
    expect(closes).toEqual([null]);
    expect(all().equals(sent)).toBe(true);
  });

  test('that is ended while it is paused throws away what comes, and closes when the other side does', async () => {
    const conn = await begin();
    heard = () => conn.pause();
    client.write(bytes(40_000, 'x'));
    while (got.length === 0) await sleep(1);
    const before = all().length;
    conn.end();
    client.write(bytes(40_000, 'y'));
    await once(client.resume(), 'end');
    client.end();
    while (closes.length === 0) await sleep(1);
    expect(closes).toEqual([null]);
    expect(all().length).toBe(before);
  });
});
