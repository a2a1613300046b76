/** What must not be left behind: connections of dials that failed or are not wanted, places beyond the size, queries and cancels under way. */
import { EventEmitter } from 'node:events';
import net from 'node:net';
import pg from 'pg';
import { describe, expect, onTestFinished, test } from 'vitest';
import { at, failure, makePool, outside, pause, until } from './support.ts';

/** Clients that tell of their making. */
function counted() {
  const made: pg.ClientConfig[] = [];
  class Client extends pg.Client {
    constructor(config: pg.ClientConfig) {
      super(config);
      made.push(config);
    }
  }
  return { made, Client };
}

async function listening(onConnection: (socket: net.Socket) => void): Promise<number> {
  const server = net.createServer(onConnection);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  return (server.address() as net.AddressInfo).port;
}

describe('a dial', () => {
  test('whose login fails at the client leaves no connection open', async () => {
    let open = 0;
    // Asks for a password in clear, and waits for ever.
    const port = await listening((socket) => {
      open++;
      socket.on('close', () => open--);
      socket.on('error', () => {});
      socket.on('data', () => socket.write(Buffer.from([0x52, 0, 0, 0, 8, 0, 0, 0, 3])));
    });
    const password = () => Promise.reject(new Error('the vault is away'));
    const pool = makePool({ host: '127.0.0.1', port, ssl: false, password, retryMinMillis: 1, retryMaxMillis: 1 });
    for (let i = 0; i < 3; i++) expect((await failure(pool.connect())).message).toMatch(/the vault is away/);
    await until(() => open === 0);
  });

  test('has the time of dialTimeoutMillis, though requests wait shorter', async () => {
    const { made, Client } = counted();
    const pool = makePool({ connectionTimeoutMillis: 4_000, dialTimeoutMillis: 5_000, Client: Client as never });
    await pool.query('SELECT 1');
    expect(made.map(({ connectionTimeoutMillis }) => connectionTimeoutMillis)).toEqual([0]);
    expect(pool.options.connectionTimeoutMillis).toBe(4_000);
  });

  test.each([
    ['one', {}],
    ['several', { hosts: ['127.0.0.1:1', `${at().host}:${at().port}`] }],
  ] as const)(
    'that is not wanted any more when its config has been made makes no client (%s host)',
    async (_, hosts) => {
      const { made, Client } = counted();
      let go: () => void;
      const gate = new Promise<void>((resolve) => {
        go = resolve;
      });
      const beforeConnect = async (config: object) => {
        await gate;
        return config;
      };
      const pool = makePool({ ...hosts, max: 1, beforeConnect: beforeConnect as never, Client: Client as never });
      const request = failure(pool.connect());
      await pause(10);
      await pool.drain({ timeoutMillis: 1 });
      go!();
      expect((await request).code).toBe('SLUICE_POOL_CLOSED');
      await pause(20);
      expect(made).toEqual([]);
    },
  );
});

test('a client of another make that cannot be ended before it is connected does no harm when its dial fails', async () => {
  class Client extends EventEmitter {
    connect(callback: (error: Error) => void) {
      setImmediate(callback, new Error('nobody there'));
    }
    query() {}
    end() {
      throw new Error('not connected');
    }
  }
  const pool = makePool({ Client: Client as never, max: 1, retryMinMillis: 1 });
  for (let i = 0; i < 2; i++) expect((await failure(pool.connect())).message).toMatch(/nobody there/);
  expect(pool.totalCount).toBe(0);
});

describe('connections beyond the size', () => {
  test('go as they come back when the pool was made smaller, whoever waits', async () => {
    const pool = makePool({ max: 4 });
    let over = false;
    const flows = Array.from({ length: 10 }, async () => {
      while (!over) await pool.query('SELECT pg_sleep(0.002)');
    });
    await until(() => pool.totalCount === 4);
    pool.resize({ max: 1 });
    await until(() => pool.totalCount === 1);
    over = true;
    await Promise.all(flows);
    expect(pool.totalCount).toBe(1);
  });

  test('go at once when they are idle, those of the overflow, too', async () => {
    const pool = makePool({ max: 4, maxOverflow: 3, idleTimeoutMillis: 0 });
    await Promise.all([1, 2, 3, 4].map(() => pool.query('SELECT pg_sleep(0.02)')));
    expect(pool.totalCount).toBe(4);
    pool.resize({ max: 1 });
    await until(() => pool.totalCount === 1);
  });

  test('that were dialled for who has been served meanwhile go at once (maxOverflow)', async () => {
    const pool = makePool({ max: 1, maxOverflow: 3, idleTimeoutMillis: 0 });
    const first = await pool.connect();
    const others = [1, 2, 3].map(() => pool.query('SELECT 1'));
    first.release();
    await Promise.all(others);
    await until(() => pool.totalCount === 1);
  });
});

describe('a connection given back', () => {
  test('to be closed with a query under way stops the query at the server', async () => {
    const admin = await outside();
    const pool = makePool({ max: 1, application_name: 'given back running' });
    const client = await pool.connect();
    client.on('error', () => {});
    client.query('SELECT pg_sleep(60)').catch(() => {});
    const running = async () =>
      (
        await admin.query(
          "SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND application_name = 'given back running'",
        )
      ).rowCount!;
    await until(async () => (await running()) === 1);
    client.release(true);
    await until(async () => (await running()) === 0);
  });

  test('is nobody else’s while a cancel request for it is under way', async () => {
    const { host, port: database } = at();
    // Lets everything through but cancel requests, which it never answers.
    const port = await listening((socket) => {
      socket.on('error', () => {});
      socket.once('data', (first) => {
        if (first.length >= 16 && first.readInt32BE(4) === 80_877_102) return;
        const onward = net.connect(database!, host!);
        onward.on('error', () => {});
        onward.write(first);
        socket.pipe(onward).pipe(socket);
        socket.on('close', () => onward.destroy());
      });
    });
    const pool = makePool({ host: '127.0.0.1', port, max: 1, commandTimeoutMillis: 100, cancelTimeoutMillis: 2_000 });
    const first = await pool.connect();
    const slow = failure(first.query('SELECT pg_sleep(1)'));
    first.release();
    const asked = { text: 'SELECT pg_backend_pid() AS pid', timeoutMillis: 10_000 };
    const { rows } = await pool.query(asked as pg.QueryConfig);
    expect(rows[0].pid).not.toBe((first as unknown as { processID: number }).processID);
    expect((await slow).message).toMatch(/whether it took effect is not known/);
  });
});
