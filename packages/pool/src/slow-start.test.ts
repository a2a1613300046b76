/** Several hosts, all away and then back: one prober, then 1, 2, 4 dials at once, at the host that answered, however many ask. */
import { EventEmitter } from 'node:events';
import { afterEach, expect, test } from 'vitest';
import { Pool } from './pool.ts';

/** Dials that have not been answered yet, in the order of their making. */
let dials: Dial[] = [];

interface Dial {
  host: string;
  answer: (error: Error | null) => void;
}

class StubClient extends EventEmitter {
  readonly #host: string;
  #dial: Dial | null = null;
  constructor(config: { host: string }) {
    super();
    this.#host = config.host;
  }
  connect(callback: (error: Error | null) => void): void {
    const dial: Dial = {
      host: this.#host,
      answer: (error) => {
        if (!dials.includes(dial)) return;
        dials = dials.filter((each) => each !== dial);
        callback(error);
      },
    };
    this.#dial = dial;
    dials.push(dial);
  }
  query(): Promise<object> {
    return Promise.resolve({ rows: [] });
  }
  end(callback?: () => void): void {
    this.#dial?.answer(new Error('ended'));
    callback?.();
  }
}

const hostsDialled = () => dials.map(({ host }) => host);
const refuse = (dial: Dial) => dial.answer(new Error(`${dial.host} refused`));

/** When somebody dials; what else the same turn brings is there too. */
async function dialling(): Promise<string[]> {
  do await new Promise((resolve) => setTimeout(resolve, 1));
  while (dials.length === 0);
  await new Promise((resolve) => setImmediate(resolve));
  return hostsDialled();
}

let pool: Pool;
afterEach(() => pool.drain({ timeoutMillis: 1 }));

test('a database that comes back meets 1, 2, 4 dials, not all who wait', async () => {
  pool = new Pool({
    hosts: ['a', 'b'],
    max: 12,
    maxDials: 4,
    whenDown: 'wait',
    retryMinMillis: 1,
    retryMaxMillis: 2,
    Client: StubClient,
  });
  const served: unknown[] = [];
  for (let i = 0; i < 12; i++)
    pool.connect().then(
      (client) => served.push(client),
      () => {},
    );
  expect(await dialling()).toEqual(['a', 'a', 'a', 'a']);
  for (const host of ['a', 'b']) {
    for (const dial of [...dials]) refuse(dial);
    if (host === 'a') expect(await dialling()).toEqual(['b', 'b', 'b', 'b']);
  }

  // All away: one at a time goes and looks, host by host, again and again.
  for (let round = 0; round < 5; round++)
    for (const host of ['a', 'b']) {
      expect(await dialling()).toEqual([host]);
      refuse(dials[0]!);
    }

  // The second is back.
  expect(await dialling()).toEqual(['a']);
  refuse(dials[0]!);
  expect(await dialling()).toEqual(['b']);
  dials[0]!.answer(null);
  expect(await dialling()).toEqual(['b', 'b']);
  dials[0]!.answer(null);
  // One of the two is still under way: room for two more.
  expect(await dialling()).toEqual(['b', 'b', 'b']);
  dials[0]!.answer(null);
  expect(await dialling()).toEqual(['b', 'b', 'b', 'b']);
  expect(served).toHaveLength(3);

  // A failure amid the recovery starts it over, at one.
  for (const dial of [...dials]) refuse(dial);
  expect(await dialling()).toEqual(['a', 'a', 'a', 'a']);
  for (const dial of [...dials]) refuse(dial);
  expect(await dialling()).toEqual(['b']);
});
