/** Connections that our own epoll accepts, as descriptors without a handle of Node's. */
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { connect, type NetConnectOpts, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

vi.hoisted(() => {
  process.env.SLUICE_EPOLL = 'always';
});

import { hotDescriptors } from '../../../../test/support/hot.ts';
import { Recorder } from '../../../../test/support/recorder.ts';
import type { FastConn } from './fast-conn.ts';
import { type Listener, type ListenTarget, listen } from './listen.ts';

const until = async (is: () => boolean) => {
  while (!is()) await sleep(1);
};

const linuxNode = process.platform === 'linux' && process.versions.bun === undefined;

describe.skipIf(!linuxNode)('a hot listening socket', () => {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-listener-'));
  let here: Recorder<FastConn>[] = [];
  let there: Socket[] = [];
  let listeners: Listener[] = [];

  beforeEach(() => {
    [here, there, listeners] = [[], [], []];
  });
  afterEach(() => {
    for (const socket of there) socket.destroy();
    for (const { conn } of here) conn.destroy();
    for (const listener of listeners) listener.close();
    rmSync(join(folder, 'socket'), { force: true });
  });

  const TARGETS = {
    IPv4: { host: '127.0.0.1', port: 0, unix: false },
    IPv6: { host: '::1', port: 0, unix: false },
    'a Unix socket': { host: join(folder, 'socket'), port: 6432, unix: true },
  };
  type Kind = keyof typeof TARGETS;

  async function hot(kind: Kind): Promise<{ listener: Listener; enter: () => Promise<Pair> }> {
    const target: ListenTarget = { ...TARGETS[kind], backlog: 100 };
    const listener = await listen(target, (conn) => {
      const recorder = new Recorder(conn as FastConn);
      conn.handler = recorder;
      here.push(recorder);
    });
    listeners.push(listener);
    const place: NetConnectOpts = target.unix ? { path: target.host } : { host: target.host, port: listener.port };
    const enter = async () => {
      const socket = connect({ ...place, noDelay: true });
      socket.on('error', () => {});
      there.push(socket);
      await once(socket, 'connect');
      await until(() => here.length === there.length);
      return { recorder: here.at(-1)!, socket };
    };
    // libuv accepts the first.
    await enter();
    expect(hotDescriptors()).toContain(listener.fd);
    return { listener, enter };
  }
  interface Pair {
    recorder: Recorder<FastConn>;
    socket: Socket;
  }

  describe.each(Object.keys(TARGETS) as Kind[])('on %s', (kind) => {
    test('lets people in who are hot before they have said anything, heard, answered and known by their addresses', async () => {
      const { enter } = await hot(kind);
      const { recorder, socket } = await enter();
      const { conn } = recorder;
      expect(hotDescriptors()).toContain(conn.fd);
      socket.write('ping');
      await until(() => recorder.got === 'ping');
      conn.write(Buffer.from('pong'), 0, 4);
      expect(String((await once(socket, 'data'))[0])).toBe('pong');
      if (kind === 'a Unix socket') {
        expect(conn.remote).toEqual({ address: 'unix', port: 6432, unix: true, pid: 0 });
        return;
      }
      expect(conn.remote).toEqual({ address: socket.localAddress, port: socket.localPort, unix: false, pid: 0 });
      expect(conn.local).toEqual({ address: socket.remoteAddress, port: socket.remotePort, unix: false, pid: 0 });
    });

    test('what one has sent with its connection, and its end, are heard in order and once', async () => {
      const { enter } = await hot(kind);
      for (let i = 0; i < 5; i++) {
        const { recorder, socket } = await enter();
        socket.end(`last words ${i}`);
        await until(() => recorder.closes.length > 0);
        expect([recorder.got, recorder.closes, recorder.conn.fd]).toEqual([`last words ${i}`, [null], -1]);
      }
    });

    test('who is destroyed, ended, paused, held and written more than the system takes is as anybody else', async () => {
      const { enter } = await hot(kind);
      const destroyed = await enter();
      destroyed.recorder.conn.destroy(new Error('enough'));
      expect(destroyed.recorder.closes).toEqual([]);
      await once(destroyed.socket.resume(), 'close');
      await until(() => destroyed.recorder.closes.length > 0);
      expect(destroyed.recorder.closes).toMatchObject([{ message: 'enough' }]);

      const ended = await enter();
      let heard = '';
      ended.socket.on('data', (chunk) => {
        heard += chunk.toString();
      });
      ended.recorder.conn.write(Buffer.from('goodbye'), 0, 7);
      ended.recorder.conn.end();
      await once(ended.socket, 'close');
      expect(heard).toBe('goodbye');

      const paused = await enter();
      paused.recorder.conn.pause();
      expect(hotDescriptors()).not.toContain(paused.recorder.conn.fd);
      paused.socket.write('one ');
      await sleep(20);
      paused.recorder.conn.hold(true);
      paused.recorder.conn.resume();
      await sleep(20);
      expect(paused.recorder.got).toBe('');
      paused.recorder.conn.hold(false);
      await until(() => paused.recorder.got === 'one ');
      paused.socket.end('two');
      await until(() => paused.recorder.closes.length > 0);
      expect([paused.recorder.got, paused.recorder.closes]).toEqual(['one two', [null]]);

      const full = await enter();
      full.socket.pause();
      const block = Buffer.alloc(65_536, 'full ');
      let written = 0;
      for (; !full.recorder.conn.full; written += block.length) full.recorder.conn.write(block, 0, block.length);
      full.socket.write('asked meanwhile');
      await until(() => full.recorder.got === 'asked meanwhile');
      let got = 0;
      full.socket.on('data', (chunk: Buffer) => {
        got += chunk.length;
      });
      full.socket.resume();
      await until(() => got === written && full.recorder.drains === 1);
    });

    test('closed, it takes nobody any more, and who is in stays in', async () => {
      const { listener, enter } = await hot(kind);
      const { recorder, socket } = await enter();
      const { fd } = listener;
      listener.close();
      expect(hotDescriptors()).not.toContain(fd);
      await expect(enter()).rejects.toMatchObject({ code: expect.stringMatching(/ECONNREFUSED|ENOENT/) });
      socket.write('still here');
      await until(() => recorder.got === 'still here');
      expect(existsSync(join(folder, 'socket'))).toBe(false);
    });

    test('cooled, it goes on by libuv, and is hot again with the next who comes', async () => {
      const { listener, enter } = await hot(kind);
      const before = await enter();
      // As the loop does it when nothing happens for a while.
      for (const { conn } of here) conn.cool();
      listener.cool();
      expect(hotDescriptors()).not.toContain(listener.fd);
      const after = await enter();
      expect(hotDescriptors()).toContain(listener.fd);
      for (const { recorder, socket } of [before, after, await enter()]) {
        socket.write('hello');
        await until(() => recorder.got === 'hello');
      }
    });
  });

  test('a thousand who come and go at once are all served, and no descriptor is left', async () => {
    const { listener } = await hot('IPv4');
    const before = hotDescriptors().size;
    const visit = (i: number) =>
      new Promise<string>((resolve, reject) => {
        const socket = connect({ port: listener.port, host: '127.0.0.1' }, () => socket.write(`${i}`));
        socket.on('data', (data) => socket.end(() => resolve(String(data))));
        socket.on('error', reject);
      });
    const served = setInterval(() => {
      for (const { conn, got } of here)
        if (got !== '' && !conn.closed) {
          conn.write(Buffer.from(got), 0, got.length);
          conn.end();
        }
    }, 1);
    const answers: string[] = [];
    for (let i = 0; i < 1000; i += 50)
      answers.push(...(await Promise.all(Array.from({ length: 50 }, (_, j) => visit(i + j)))));
    clearInterval(served);
    expect(answers).toEqual(Array.from({ length: 1000 }, (_, i) => `${i}`));
    await until(() => here.slice(1).every(({ closes }) => closes.length === 1));
    expect(hotDescriptors().size).toBe(before);
  });
});
