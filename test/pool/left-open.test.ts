/** Cursors, streams and COPYs that the function of a transaction leaves open: it ends all the same, and says what was wrong. */
import { EventEmitter } from 'node:events';
import Cursor from 'pg-cursor';
import QueryStream from 'pg-query-stream';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Pool, Transaction } from '../../packages/pool/src/index.ts';
import { failure, makePool, outside, until } from './support.ts';

beforeAll(async () => {
  await (await outside()).query('DROP TABLE IF EXISTS left_open; CREATE TABLE left_open (n int)');
});
beforeEach(async () => {
  await (await outside()).query('TRUNCATE left_open');
});

const rows = async (pool: Pool) => (await pool.query('SELECT n FROM left_open ORDER BY n')).rows.map(({ n }) => n);
const insert = (n: number) => `INSERT INTO left_open VALUES (${n})`;
const MANY = 'SELECT generate_series(1, 100000) AS many';

/** A COPY FROM STDIN without a stream around it, as libraries that send it see the protocol. */
class CopyIn {
  readonly text = 'COPY left_open FROM STDIN';
  readonly begun: Promise<void>;
  connection: any = null;
  handleCopyInResponse: () => void = () => {};

  constructor() {
    this.begun = new Promise((resolve) => {
      this.handleCopyInResponse = resolve;
    });
  }

  submit(connection: any): void {
    this.connection = connection;
    connection.query(this.text);
  }

  handleError(_error: Error): void {}
  handleCommandComplete(): void {}
  handleReadyForQuery(): void {}
}

/** One that can be given up, and then tells of its failure, as pg-copy-streams' does. */
class ClosableCopyIn extends CopyIn {
  readonly events = new EventEmitter();
  on = this.events.on.bind(this.events);

  destroy(): void {
    this.connection.sendCopyFail('given up');
  }

  override handleError(error: Error): void {
    this.events.emit('error', error);
  }
}

const OPENED: Record<string, (tx: Transaction) => Promise<unknown>> = {
  'a cursor that was never read': async (tx) => tx.client.query(new Cursor(MANY)),
  'a cursor that was read in part': (tx) => tx.client.query(new Cursor(MANY)).read(1),
  'a cursor that is being read': async (tx) => {
    tx.client
      .query(new Cursor(MANY))
      .read(50_000)
      .catch(() => {});
  },
  'a stream': async (tx) => {
    const stream = tx.client.query(new QueryStream(MANY));
    await new Promise((resolve) => stream.once('data', resolve));
    stream.pause();
  },
  'a COPY': async (tx) => {
    const copy = tx.client.query(new ClosableCopyIn() as never) as unknown as CopyIn;
    await copy.begun;
    copy.connection.sendCopyFromChunk(Buffer.from('7\n'));
  },
};

/** Nobody asks it to end. */
const openForGood = async (tx: Transaction) => {
  const copy = tx.query(new CopyIn() as never) as unknown as CopyIn;
  await copy.begun;
};

describe.each(Object.entries(OPENED))('%s', (_, open) => {
  test('is closed when the function fails, and its error passed on', async () => {
    const pool = makePool({ max: 1, resetTimeoutMillis: 600_000 });
    const work = pool.transaction(async (tx) => {
      await tx.query(insert(1));
      await open(tx);
      throw new Error('no');
    });
    expect((await failure(work)).message).toBe('no');
    expect(await rows(pool)).toEqual([]);
    expect(pool.stats().opened).toBe(1);
  });

  test('is closed with the nested one that fails, and the one around it goes on', async () => {
    const pool = makePool({ max: 1, resetTimeoutMillis: 600_000 });
    await pool.transaction(async (tx) => {
      await tx.query(insert(1));
      const nested = tx.transaction(async (inner) => {
        await inner.query(insert(2));
        await open(inner);
        throw new Error('no');
      });
      expect((await failure(nested)).message).toBe('no');
      await tx.query(insert(3));
    });
    expect(await rows(pool)).toEqual([1, 3]);
    expect(pool.stats().opened).toBe(1);
  });

  test('is not committed around, and the error names it', async () => {
    const pool = makePool({ max: 1, resetTimeoutMillis: 300 });
    const work = pool.transaction(async (tx) => {
      await tx.query(insert(1));
      await open(tx);
    });
    const error = await failure(work);
    expect(error.code).toBe('SLUICE_TRANSACTION_ABORTED');
    expect(error.message).toMatch(/left a query open.*300 ms.*cursor\.close\(\).*(?:generate_series|COPY left_open)/);
    expect(await rows(pool)).toEqual([]);
  });

  test('does not outlast the deadline', async () => {
    const pool = makePool({ max: 1, resetTimeoutMillis: 600_000 });
    await pool.query('SELECT 1');
    const work = pool.transaction(
      async (tx) => {
        await tx.query(insert(1));
        await open(tx);
      },
      { deadline: Date.now() + 1_000 },
    );
    expect(await failure(work)).toMatchObject({ code: 'SLUICE_QUERY_CANCELLED', reason: 'timeout' });
    expect(await rows(pool)).toEqual([]);
  });
});

describe('what cannot be closed', () => {
  test.each(['fails', 'ends'])('costs the connection when the function %s', async (how) => {
    const pool = makePool({ max: 1, resetTimeoutMillis: 100 });
    const work = pool.transaction(async (tx) => {
      await tx.query(insert(1));
      await openForGood(tx);
      if (how === 'fails') throw new Error('no');
    });
    expect((await failure(work)).message).toMatch(how === 'fails' ? /^no$/ : /left a query open.*COPY left_open/);
    expect(await rows(pool)).toEqual([]);
    expect(pool.stats().opened).toBe(2);
  });

  test('costs all that the connection was about, also in a nested one', async () => {
    const pool = makePool({ max: 1, resetTimeoutMillis: 100 });
    const work = pool.transaction(async (tx) => {
      await tx.query(insert(1));
      const nested = tx.transaction(async (inner) => {
        await openForGood(inner);
        throw new Error('no');
      });
      expect((await failure(nested)).message).toBe('no');
      await tx.query(insert(2));
    });
    expect((await failure(work)).message).toMatch(/not queryable|terminated/);
    expect(await rows(pool)).toEqual([]);
  });

  test('nor has ended, when the function fails: a query that nobody awaited', async () => {
    const pool = makePool({ max: 1, resetTimeoutMillis: 100 });
    const work = pool.transaction(async (tx) => {
      tx.query('SELECT pg_sleep(600) /* not awaited */').catch(() => {});
      throw new Error('no');
    });
    expect((await failure(work)).message).toBe('no');
    const other = await outside();
    await until(async () => {
      const running =
        "SELECT FROM pg_stat_activity WHERE query LIKE '%/* not awaited */' AND state = 'active' AND pid <> pg_backend_pid()";
      return (await other.query(running)).rowCount === 0;
    });
  });
});

test('what comes to its end by itself is waited for, and committed', async () => {
  const pool = makePool({ max: 1 });
  let seen = 0;
  await pool.transaction(async (tx) => {
    await tx.query(insert(1));
    tx.client.query(new QueryStream(MANY)).on('data', () => seen++);
  });
  await pool.transaction(async (tx) => {
    const cursor = tx.client.query(new Cursor(MANY));
    await cursor.read(1);
    void cursor.close();
    for await (const _ of tx.client.query(new QueryStream(MANY))) break;
    tx.query(insert(2)).catch(() => {});
  });
  expect([seen, await rows(pool), pool.stats().opened]).toEqual([100_000, [1, 2], 1]);
});

test('cursors behind one another are closed one after the other', async () => {
  const pool = makePool({ max: 1, resetTimeoutMillis: 600_000 });
  const work = pool.transaction(async (tx) => {
    await tx.query(insert(1));
    for (let i = 0; i < 3; i++) tx.client.query(new Cursor(MANY));
    throw new Error('no');
  });
  // pg warns of the queue.
  process.noDeprecation = true;
  expect((await failure(work)).message).toBe('no');
  process.noDeprecation = false;
  expect([await rows(pool), pool.stats().opened]).toEqual([[], 1]);
});

test('a cursor that comes behind the ROLLBACK of a nested one is left alone', async () => {
  const pool = makePool({ max: 1 });
  let behindRollback = () => {};
  pool.on('connect', (client: any) => {
    const { query } = client;
    client.query = (...args: unknown[]) => {
      const [asked] = args as [{ text?: string } | string];
      if (String((asked as { text?: string }).text ?? asked).startsWith('ROLLBACK TO')) queueMicrotask(behindRollback);
      return query.apply(client, args);
    };
  });
  const read = await pool.transaction(async (tx) => {
    let cursor: Cursor | undefined;
    behindRollback = () => {
      cursor = tx.client.query(new Cursor(MANY));
    };
    await failure(tx.transaction(() => Promise.reject(new Error('no'))));
    const many = (await cursor!.read(2)).length;
    await cursor!.close();
    return many;
  });
  expect(read).toBe(2);
});

describe('a nested transaction that nobody awaits', () => {
  // pg warns of queries that stand in line, once a process; that two of the application's do is what is tried here.
  const warned = process.listeners('warning');
  beforeAll(() => void process.removeAllListeners('warning'));
  afterAll(async () => {
    await new Promise((resolve) => setImmediate(resolve));
    for (const listener of warned) process.on('warning', listener as () => void);
  });

  test.each<[string, (tx: Transaction) => Promise<unknown>]>([
    [
      'beside it',
      async (tx) => {
        await (tx.query(new Cursor(MANY)) as any).read(1);
        tx.transaction((inner) => inner.query(insert(1))).catch(() => {});
      },
    ],
    [
      'beside it, in a nested one',
      (tx) =>
        tx.transaction(async (nested) => {
          await (nested.query(new Cursor(MANY)) as any).read(1);
          nested.transaction((inner) => inner.query(insert(1))).catch(() => {});
        }),
    ],
    [
      'around it',
      async (tx) => {
        tx.transaction(async (nested) => (nested.query(new Cursor(MANY)) as any).read(1)).catch(() => {});
        return tx.query(insert(1));
      },
    ],
  ])('%s ends all the same', async (_what, fn) => {
    const pool = makePool({ max: 1, resetTimeoutMillis: 200 });
    await pool.transaction(fn).catch((error) => expect(error.poolCode).toBe('SLUICE_TRANSACTION_ABORTED'));
    expect((await pool.query('SELECT 1 AS n')).rows).toEqual([{ n: 1 }]);
    expect(pool.waitingCount).toBe(0);
  });
});
