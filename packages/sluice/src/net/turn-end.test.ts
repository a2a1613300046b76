import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Conn } from './conn.ts';
import { type Listener, listen } from './listen.ts';
import { fastConnsWork } from './straight-read.ts';
import { LATE_BYTES } from './turn-end.ts';

const IGNORE = { onData() {}, onDrain() {}, onClose() {} };

/** Connections that gather, and what has come out at their other ends. */
describe.skipIf(!fastConnsWork)('a connection that gathers', () => {
  let listener: Listener;
  const accepted: Conn[] = [];
  const others: { socket: Socket; got: string; ended: Promise<unknown> }[] = [];

  beforeEach(async () => {
    listener = await listen({ host: '127.0.0.1', port: 0, unix: false, backlog: 200 }, (conn) => {
      conn.handler = IGNORE;
      conn.gather();
      accepted.push(conn);
    });
  });
  afterEach(() => {
    for (const { socket } of others.splice(0)) socket.destroy();
    for (const conn of accepted.splice(0)) conn.destroy();
    listener.close();
  });

  async function open(count: number): Promise<void> {
    for (let i = 0; i < count; i++) {
      const socket = connect(listener.port, '127.0.0.1');
      const other = { socket, got: '', ended: once(socket, 'close') };
      socket.on('data', (data) => {
        other.got += data;
      });
      await once(socket, 'connect');
      others.push(other);
      while (accepted.length <= i) await new Promise(setImmediate);
    }
  }
  const say = (conn: Conn, text: string) => conn.write(Buffer.from(text), 0, Buffer.byteLength(text));

  test('sends everything in order, short and long, alone and in between others', async () => {
    await open(3);
    const expected = ['', '', ''];
    for (let turn = 0; turn < 50; turn++) {
      for (let i = 0; i < 30; i++) {
        const which = (i * 7 + turn) % 3;
        const text = `<${turn}.${i}${'x'.repeat(i % 11 === 0 ? LATE_BYTES * 2 : i % 5 === 0 ? LATE_BYTES - 8 : i)}>`;
        expected[which] += text;
        say(accepted[which]!, text);
      }
      await new Promise(setImmediate);
    }
    for (const conn of accepted) conn.end();
    await Promise.all(others.map(({ ended }) => ended));
    expect(others.map(({ got }) => got)).toEqual(expected);
  });

  test('more connections than are kept back lose nothing', async () => {
    await open(150);
    for (let turn = 0; turn < 3; turn++) {
      accepted.forEach((conn, i) => {
        say(conn, `${turn}:${i};`);
      });
      await new Promise(setImmediate);
    }
    for (const conn of accepted) conn.end();
    await Promise.all(others.map(({ ended }) => ended));
    expect(others.map(({ got }) => got)).toEqual(others.map((_, i) => `0:${i};1:${i};2:${i};`));
  });

  test.each(['end', 'destroy'] as const)('what was said before %s arrives', async (how) => {
    await open(1);
    say(accepted[0]!, 'last words');
    accepted[0]![how]();
    await others[0]!.ended;
    expect(others[0]!.got).toBe('last words');
  });
});
