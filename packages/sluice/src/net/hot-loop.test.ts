import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

vi.hoisted(() => {
  process.env.SLUICE_EPOLL = 'always';
});

import { hotDescriptors } from '../../../../test/support/hot.ts';
import { closeDescriptor } from './descriptors.ts';
import type { FastConn } from './fast-conn.ts';
import { hotLoop } from './hot-loop.ts';
import { libc } from './libc.ts';
import { type Listener, listen } from './listen.ts';

class Recorder {
  got = '';
  closes: (Error | null)[] = [];
  conn!: FastConn;
  onData(buffer: Buffer, start: number, end: number): void {
    this.got += buffer.toString('latin1', start, end);
    this.heard?.();
  }
  heard: (() => void) | null = null;
  onDrain(): void {
    this.conn.resume();
  }
  onClose(error: Error | null): void {
    this.closes.push(error);
  }
}

const linuxNode = process.platform === 'linux' && process.versions.bun === undefined;

describe.skipIf(!linuxNode)('hot connections', () => {
  let listener: Listener;
  const here: Recorder[] = [];
  const there: Socket[] = [];

  beforeEach(async () => {
    listener = await listen({ host: '127.0.0.1', port: 0, unix: false, backlog: 200 }, (conn) => {
      const recorder = new Recorder();
      recorder.conn = conn as FastConn;
      conn.handler = recorder;
      here.push(recorder);
    });
  });
  afterEach(() => {
    for (const socket of there.splice(0)) socket.destroy();
    for (const { conn } of here.splice(0)) conn.destroy();
    listener.close();
  });

  async function pair(): Promise<{ recorder: Recorder; socket: Socket }> {
    const socket = connect({ port: listener.port, host: '127.0.0.1', noDelay: true });
    socket.on('error', () => {});
    there.push(socket);
    await once(socket, 'connect');
    while (here.length < there.length) await sleep(1);
    return { recorder: here.at(-1)!, socket };
  }
  const untilGot = async (recorder: Recorder, text: string) => {
    while (recorder.got !== text) {
      expect(text.startsWith(recorder.got)).toBe(true);
      await sleep(1);
    }
  };
  /** One that has been read once, and is hot. */
  async function hotPair() {
    const both = await pair();
    both.socket.write('!');
    await untilGot(both.recorder, '!');
    expect(hotDescriptors()).toContain(both.recorder.conn.fd);
    both.recorder.got = '';
    return both;
  }

  test('there is such a loop', () => {
    expect(hotLoop()).not.toBeNull();
  });

  test('what is sent comes back whole and in order, however large and however slowly it is read', async () => {
    const sizes = [1, 60, 511, 512, 513, 2048, 2049, 65_535, 65_536, 65_537, 3_000_000];
    const pairs = [];
    for (let i = 0; i < 12; i++) {
      const both = await hotPair();
      both.recorder.onData = (buffer, start, end) => {
        if (!both.recorder.conn.write(buffer, start, end)) both.recorder.conn.pause();
      };
      if (i % 2 === 0) both.recorder.conn.gather();
      pairs.push(both);
    }
    await Promise.all(
      pairs.map(async ({ socket }, i) => {
        const sent = Buffer.concat(sizes.map((size, k) => Buffer.alloc(size, `${i}.${k};`)));
        const got: Buffer[] = [];
        let size = 0;
        for (const [from, to] of [
          [0, 4_000],
          [4_000, 200_000],
          [200_000, sent.length],
        ] as const)
          socket.write(sent.subarray(from, to));
        while (size < sent.length) {
          const chunk = socket.read() as Buffer | null;
          if (chunk === null) await once(socket, 'readable');
          else got.push(chunk);
          size += chunk?.length ?? 0;
          if (i % 3 === 0) await sleep(1);
        }
        expect(Buffer.concat(got).equals(sent)).toBe(true);
      }),
    );
  });

  test('one that is paused or held hears nothing until it is resumed, and then everything', async () => {
    const { recorder, socket } = await hotPair();
    recorder.conn.pause();
    expect(hotDescriptors()).not.toContain(recorder.conn.fd);
    socket.write('one');
    await sleep(20);
    expect(recorder.got).toBe('');
    recorder.conn.resume();
    await untilGot(recorder, 'one');
    recorder.conn.hold(true);
    socket.write(' two');
    recorder.conn.pause();
    recorder.conn.resume();
    await sleep(20);
    expect(recorder.got).toBe('one');
    recorder.conn.hold(false);
    await untilGot(recorder, 'one two');
    socket.write(' three');
    await untilGot(recorder, 'one two three');
  });

  test('the end and a reset are told once, after what came before them', async () => {
    const ended = await hotPair();
    ended.socket.end('bye');
    while (ended.recorder.closes.length === 0) await sleep(1);
    const reset = await hotPair();
    reset.socket.resetAndDestroy();
    while (reset.recorder.closes.length === 0) await sleep(1);
    await sleep(5);
    expect(ended.recorder.got).toBe('bye');
    expect(ended.recorder.closes).toEqual([null]);
    expect(reset.recorder.closes).toMatchObject([{ code: 'ECONNRESET' }]);
  });

  test('one that another closes in the same turn hears nothing any more', async () => {
    const pairs = [await hotPair(), await hotPair(), await hotPair()];
    for (const { recorder } of pairs)
      recorder.heard = () => {
        for (const other of pairs) if (other.recorder !== recorder) other.recorder.conn.destroy();
      };
    // All in one turn of this process's: each has something when the loop looks.
    for (const { socket } of pairs) socket.write('me');
    while (pairs.filter(({ recorder }) => recorder.closes.length > 0).length < 2) await sleep(1);
    await sleep(5);
    expect(pairs.map(({ recorder }) => recorder.got).sort()).toEqual(['', '', 'me']);
  });

  test.each([
    ['end', 'hot', 'hot'],
    ['reset', 'hot', 'hot'],
    ['end', 'hot', 'cold'],
    ['reset', 'hot', 'cold'],
    ['end', 'cold', 'hot'],
    ['reset', 'cold', 'hot'],
  ])('the %s of one, %s, is told before what another, %s, has sent after it', async (end, one, other) => {
    for (let i = 0; i < 10; i++) {
      const ended = one === 'hot' ? await hotPair() : await pair();
      const asks = other === 'hot' ? await hotPair() : await pair();
      let closedBefore: boolean | null = null;
      asks.recorder.heard = () => {
        closedBefore = ended.recorder.closes.length === 1;
      };
      // From a timer: libuv looks first, when both have happened.
      await sleep(2);
      if (end === 'end') ended.socket.destroy();
      else ended.socket.resetAndDestroy();
      asks.socket.write('is it there?');
      while (closedBefore === null) await sleep(1);
      expect(closedBefore).toBe(true);
    }
  });

  test('errors are those that Node has', async () => {
    const { recorder, socket } = await hotPair();
    socket.resetAndDestroy();
    while (recorder.closes.length === 0) await sleep(1);
    const expected = { message: 'read ECONNRESET', code: 'ECONNRESET', errno: -104, syscall: 'read' };
    expect({ ...recorder.closes[0], message: recorder.closes[0]?.message }).toEqual(expected);
    const second = await hotPair();
    second.socket.resetAndDestroy();
    second.recorder.conn.write(Buffer.from('too late'), 0, 8);
    while (second.recorder.closes.length === 0) await sleep(1);
    const { message, code, syscall } = second.recorder.closes[0] as NodeJS.ErrnoException;
    expect([message, code, syscall]).toEqual(['ECONNRESET: connection reset by peer, write', 'ECONNRESET', 'write']);
  });

  test('a descriptor that is used again brings its bytes to its new connection alone', async () => {
    const used = new Set<number>();
    let again = 0;
    for (let i = 0; i < 100; i++) {
      const { recorder, socket } = await hotPair();
      const { fd } = recorder.conn;
      if (used.has(fd)) again++;
      used.add(fd);
      socket.write(`<${i}>`);
      await untilGot(recorder, `<${i}>`);
      if (i % 3 === 0) recorder.conn.destroy();
      else if (i % 3 === 1) recorder.conn.end();
      else socket.destroy();
      if (i % 3 === 0) {
        socket.write('late');
        expect(recorder.got).toBe(`<${i}>`);
      }
      while (recorder.closes.length === 0) await sleep(1);
      expect(recorder.got).toBe(`<${i}>`);
    }
    expect(again).toBeGreaterThan(10);
  });

  test('one whose descriptor somebody else holds too is forgotten when it is let go', async () => {
    const { recorder, socket } = await hotPair();
    const { fd } = recorder.conn;
    const second = libc().func('int dup(int fd)')(fd) as number;
    recorder.conn.letGo();
    expect(hotDescriptors()).not.toContain(fd);
    socket.write('for somebody else');
    await sleep(5);
    expect(recorder.got).toBe('');
    expect(recorder.closes).toEqual([]);
    closeDescriptor(second);
  });

  test('while some are busy, promises, ticks, immediates, timers and new connections get their turn', async () => {
    const { recorder, socket } = await hotPair();
    // Without an end: each answer asks for the next question.
    recorder.heard = () => recorder.conn.write(Buffer.from('pong'), 0, 4);
    socket.on('data', () => socket.write('ping'));
    socket.write('ping');
    const happened: string[] = [];
    recorder.heard = () => {
      recorder.conn.write(Buffer.from('pong'), 0, 4);
      if (happened.length > 0) return;
      happened.push('asked');
      void Promise.resolve().then(() => happened.push('promise'));
      process.nextTick(() => happened.push('tick'));
      setImmediate(() => happened.push('immediate'));
      setTimeout(() => happened.push('timer'), 2);
    };
    while (happened.length < 5) await sleep(1);
    expect(new Set(happened)).toEqual(new Set(['asked', 'promise', 'tick', 'immediate', 'timer']));
    for (let i = 0; i < 5; i++) await hotPair();
    expect(hotDescriptors().size).toBeGreaterThan(5);
  });

  test('what a promise writes late leaves without anything else happening', async () => {
    const { recorder, socket } = await hotPair();
    recorder.conn.gather();
    recorder.heard = () => void Promise.resolve().then(() => recorder.conn.write(Buffer.from('later'), 0, 5));
    for (let i = 0; i < 20; i++) {
      socket.write('now');
      expect(String((await once(socket, 'data'))[0])).toBe('later');
    }
  });
});
