/** When a query counts as left open: not before nothing has moved on it for the whole of the time that it is given. */
import { EventEmitter } from 'node:events';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Conn } from './conn.ts';
import { quietOrOpen } from './open-query.ts';
import type { RawClient } from './raw-client.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function busyWith(query: object, isTheHolders: boolean) {
  const stream = { bytesRead: 0, bytesWritten: 0, destroy: () => {} };
  const connection = Object.assign(new EventEmitter(), { stream });
  const client = Object.assign(new EventEmitter(), { connection, readyForQuery: false, _activeQuery: query });
  const conn = new Conn(client as unknown as RawClient, {} as never, '', 0);
  conn.watch(
    () => {},
    () => 0,
  );
  if (isTheHolders) conn.alive.add(query);
  let outcome: object | null | 'waits' = 'waits';
  void quietOrOpen(conn, 1_000).then((open) => {
    outcome = open;
  });
  const after = async (ms: number) => {
    await vi.advanceTimersByTimeAsync(ms);
    return outcome;
  };
  const end = () => {
    client.readyForQuery = true;
    connection.emit('readyForQuery', { status: 'T' });
  };
  return { stream, client, conn, after, end };
}

test('it is given as long again whenever something has moved', async () => {
  const cursor = {};
  const { stream, after } = busyWith(cursor, true);
  for (let i = 0; i < 10; i++) {
    stream[i % 2 ? 'bytesRead' : 'bytesWritten']++;
    expect(await after(900)).toBe('waits');
  }
  expect(await after(2_000)).toBe(cursor);
});

test('so is one that has taken the place of another', async () => {
  const [first, second] = [{}, {}];
  const { client, conn, after } = busyWith(first, true);
  await after(900);
  client._activeQuery = second;
  conn.alive.add(second);
  expect(await after(1_000)).toBe('waits');
  expect(await after(1_000)).toBe(second);
});

test('a query that ends by itself may take for ever', async () => {
  const { after, end } = busyWith({}, false);
  expect(await after(1_000_000)).toBe('waits');
  end();
  expect(await after(0)).toBe(null);
});

test('what has ended is not open', async () => {
  const { after, end } = busyWith({}, true);
  await after(900);
  end();
  expect(await after(5_000)).toBe(null);
});
