/** Accepted connections that libuv reads: with Node's socket around them only from where there is need of one. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

vi.hoisted(() => {
  process.env.SLUICE_EPOLL = 'never';
});

import { Recorder } from '../../../../test/support/recorder.ts';
import { type Listener, listen } from './listen.ts';
import { fastConnsWork } from './straight-read.ts';

describe.runIf(fastConnsWork)('an accepted connection', () => {
  let listener: Listener;
  let socket: Socket;
  let recorder: Recorder;
  let heard: string;

  beforeEach(async () => {
    const accepted = new Promise<Recorder>((resolve) => {
      listen({ host: '127.0.0.1', port: 0, unix: false, backlog: 5 }, (conn) => {
        const made = new Recorder(conn);
        conn.handler = made;
        resolve(made);
      }).then((made) => {
        listener = made;
        socket = connect({ port: made.port, host: '127.0.0.1', noDelay: true });
        socket.on('error', () => {});
        heard = '';
        socket.on('data', (chunk) => {
          heard += chunk.toString('latin1');
        });
      });
    });
    recorder = await accepted;
  });
  afterEach(() => {
    socket.destroy();
    recorder.conn.destroy();
    listener.close();
  });

  const until = async (is: () => boolean) => {
    while (!is()) await sleep(1);
  };
  const say = (text: string) => recorder.conn.write(Buffer.from(text), 0, Buffer.byteLength(text));

  test('hears, answers and knows both ends', async () => {
    socket.write('ping');
    await until(() => recorder.got === 'ping');
    say('pong');
    await until(() => heard === 'pong');
    const { conn } = recorder;
    expect(conn.remote).toEqual({ address: '127.0.0.1', port: socket.localPort, unix: false, pid: 0 });
    expect(conn.local).toEqual({ address: '127.0.0.1', port: listener.port, unix: false, pid: 0 });
  });

  test('is told of the end once, when the other side has ended it', async () => {
    socket.end('last words');
    await until(() => recorder.closes.length > 0);
    expect(recorder.got).toBe('last words');
    await sleep(20);
    expect(recorder.closes).toEqual([null]);
  });

  test('is told of a reset, with the error', async () => {
    socket.write('x');
    await until(() => recorder.got === 'x');
    socket.resetAndDestroy();
    await until(() => recorder.closes.length > 0);
    expect(recorder.closes).toEqual([expect.objectContaining({ code: 'ECONNRESET' })]);
  });

  test('destroyed by its owner it says so later, once, and the other side sees the end', async () => {
    const ended = once(socket, 'close');
    recorder.conn.destroy();
    expect(recorder.closes).toEqual([]);
    expect(recorder.conn.fd).toBe(-1);
    await ended;
    await until(() => recorder.closes.length > 0);
    say('to nobody');
    recorder.conn.destroy();
    await sleep(20);
    expect(recorder.closes).toEqual([null]);
  });

  test('destroyed with an error it tells the error', async () => {
    recorder.conn.destroy(new Error('no more'));
    await until(() => recorder.closes.length > 0);
    expect(recorder.closes).toEqual([expect.objectContaining({ message: 'no more' })]);
  });

  test('is not read while it is paused or held, and then all of it is', async () => {
    const { conn } = recorder;
    conn.pause();
    socket.write('one ');
    await sleep(20);
    conn.hold(true);
    conn.resume();
    await sleep(20);
    expect(recorder.got).toBe('');
    conn.hold(false);
    await until(() => recorder.got === 'one ');
    conn.pause();
    socket.end('two');
    await sleep(20);
    expect([recorder.got, recorder.closes]).toEqual(['one ', []]);
    conn.resume();
    await until(() => recorder.closes.length > 0);
    expect([recorder.got, recorder.closes]).toEqual(['one two', [null]]);
  });

  test.each([false, true])(
    'what does not fit waits, in order; reading goes on as it was (paused: %s)',
    async (paused) => {
      const { conn } = recorder;
      socket.pause();
      if (paused) conn.pause();
      const block = Buffer.alloc(65_536);
      let written = 0;
      let hash = 0;
      while (!conn.full) {
        block.fill(++hash % 251);
        conn.write(block, 0, block.length);
        written += block.length;
      }
      say('behind it');
      socket.write('asked meanwhile');
      if (!paused) await until(() => recorder.got === 'asked meanwhile');
      socket.resume();
      await until(() => recorder.drains > 0);
      await until(() => heard.length >= written + 9);
      expect(heard.slice(written)).toBe('behind it');
      for (let i = 0, at = 0; at < written; at += block.length) expect(heard.charCodeAt(at + 1)).toBe(++i % 251);
      if (paused) {
        expect(recorder.got).toBe('');
        conn.resume();
        await until(() => recorder.got === 'asked meanwhile');
      }
      expect(conn.queued).toBe(0);
    },
  );

  test('ended by its owner, everything written arrives first, and what the other side still says is not heard', async () => {
    const ended = once(socket, 'end');
    const block = Buffer.alloc(3_000_000, 'z');
    recorder.conn.write(block, 0, block.length);
    say('!');
    recorder.conn.end();
    socket.write('too late');
    await ended;
    expect(heard.length).toBe(block.length + 1);
    expect(heard.endsWith('z!')).toBe(true);
    expect(recorder.got).toBe('');
  });
});
