import { readFileSync } from 'node:fs';
import { beforeEach, describe, expect, test } from 'vitest';
import {
  type Entry,
  EntryState,
  FairQueue,
  isCondemned,
  Limit,
  nextWake,
  Pool,
  PoolSet,
  StaleEntryError,
  Waiter,
} from './index.ts';
import { DEFAULT_POLICY, type PoolPolicy } from './policy.ts';
import { renderStates } from './states-doc.ts';

interface Call {
  what: 'open' | 'check' | 'reset' | 'close';
  entry: Entry<string>;
  reason?: string;
}

let now = 0;
let calls: Call[] = [];
const set = () => new PoolSet<string>();

/** What the next draws of chance are: 0 where nothing is said. */
let chance: number[] = [];

function makePool(
  policy: Partial<PoolPolicy> = {},
  extra: { limits?: Limit[]; set?: PoolSet<string>; name?: string; queue?: FairQueue<string> } = {},
): Pool<string> {
  return new Pool<string>({
    name: 'test',
    policy: { ...DEFAULT_POLICY, lifetimeJitter: 0, ...policy },
    env: { now: () => now, random: () => chance.shift() ?? 0 },
    port: {
      open: (entry) => calls.push({ what: 'open', entry }),
      check: (entry) => calls.push({ what: 'check', entry }),
      reset: (entry) => calls.push({ what: 'reset', entry }),
      close: (entry, reason) => calls.push({ what: 'close', entry, reason }),
    },
    ...extra,
  });
}

class Asker {
  readonly got: Entry<string>[] = [];
  readonly refused: string[] = [];
  readonly waiter = new Waiter<string>({
    served: (entry) => this.got.push(entry),
    refused: (reason) => this.refused.push(reason),
  });
}

const ask = (pool: Pool<string>, deadline = Number.POSITIVE_INFINITY): Asker => {
  const asker = new Asker();
  asker.waiter.deadline = deadline;
  const entry = pool.acquire(asker.waiter);
  if (entry !== null) asker.got.push(entry);
  return asker;
};

/** Answers what the port was asked, oldest first. */
const answer = (what: Call['what']): Entry<string> => {
  const index = calls.findIndex((call) => call.what === what);
  if (index < 0) throw new Error(`the port was not asked to ${what}`);
  const [{ entry }] = calls.splice(index, 1) as [Call];
  const { pool } = entry;
  if (what === 'open') pool.opened(entry);
  else if (what === 'check') pool.checked(entry, true);
  else if (what === 'reset') pool.resetDone(entry, true);
  else pool.closed(entry);
  return entry;
};

/** A pool's first entry, held by whoever asked. */
const first = (pool: Pool<string>): Entry<string> => {
  ask(pool);
  return answer('open');
};

const release = (pool: Pool<string>, entry: Entry<string>, as: 'clean' | 'reset' | 'cancels' = 'clean') =>
  pool.release(entry, entry.generation, as);

beforeEach(() => {
  now = 1_000;
  calls = [];
  chance = [];
});

describe('chance', () => {
  test('each entry’s lifetime is shortened by its own share of the jitter', () => {
    const pool = makePool({ maxSize: 2, lifetimeMs: 1_000, lifetimeJitter: 0.2 });
    chance = [0.5, 1];
    const [one, two] = [first(pool), first(pool)];
    expect([one.expiresAt - now, two.expiresAt - now]).toEqual([900, 800]);
  });

  test('after a failure the next dial is drawn from the second half of the pause', () => {
    const pool = makePool({ retryMinMs: 100, retryMaxMs: 10_000 });
    for (const [drawn, pause] of [
      [0, 100],
      [1, 100],
      [0.5, 300],
    ] as const) {
      chance = [drawn];
      now += pause;
      pool.adder.failed(new Error('down'), now);
      expect(pool.adder.nextDialAt - now).toBe(pause);
    }
  });
});

describe('hand-out', () => {
  test('who asks is never called back while asking: what is free at that moment is the answer', () => {
    const pool = makePool({ maxSize: 2, order: 'fifo', checkDelayMs: 100 });
    const [one, two] = [first(pool), first(pool)];
    release(pool, one);
    now += 200;
    release(pool, two);
    // The first needs a check by now and the second does not.
    const got: string[] = [];
    const waiter = new Waiter<string>({ served: () => got.push('called'), refused: () => got.push('refused') });
    const entry = pool.acquire(waiter);
    expect([entry, got]).toEqual([two, []]);
    answer('check');
    expect(ask(pool).got).toEqual([one]);
  });

  test('the first request dials; the entry goes to whoever waits first', () => {
    const pool = makePool({ maxSize: 1 });
    const [a, b] = [ask(pool), ask(pool)];
    answer('open');
    expect([a.got.length, b.got.length]).toEqual([1, 0]);
    release(pool, a.got[0]!);
    expect(b.got).toEqual(a.got);
  });

  test('a newcomer never passes a waiter', () => {
    const pool = makePool({ maxSize: 1 });
    const holder = ask(pool);
    answer('open');
    const first = ask(pool);
    release(pool, holder.got[0]!);
    const second = ask(pool);
    expect([first.got.length, second.got.length]).toEqual([1, 0]);
  });

  test('a higher priority goes before, equal ones in order', () => {
    const pool = makePool({ maxSize: 1 });
    const holder = ask(pool);
    answer('open');
    const askers = [0, 1, 0, 2, 1].map((priority) => {
      const asker = new Asker();
      asker.waiter.priority = priority;
      pool.acquire(asker.waiter);
      return asker;
    });
    const order: number[] = [];
    let entry = holder.got[0]!;
    for (let i = 0; i < 5; i++) {
      release(pool, entry);
      const served = askers.findIndex((asker, j) => asker.got.length > 0 && !order.includes(j));
      order.push(served);
      entry = askers[served]!.got[0]!;
    }
    expect(order).toEqual([3, 1, 4, 0, 2]);
  });

  test('lifo hands out the one used last, fifo the one unused longest', () => {
    for (const [order, expected] of [
      ['lifo', 1],
      ['fifo', 0],
    ] as const) {
      const pool = makePool({ order });
      const askers = [ask(pool), ask(pool)];
      answer('open');
      answer('open');
      const entries = askers.map((asker) => asker.got[0]!);
      for (const entry of entries) release(pool, entry);
      expect(ask(pool).got[0]).toBe(entries[expected]);
    }
  });

  test('a stale handle is refused with a coded error and touches nobody', () => {
    const pool = makePool({ maxSize: 1 });
    const a = ask(pool);
    const entry = answer('open');
    const { generation } = entry;
    release(pool, entry);
    const b = ask(pool);
    expect(() => pool.release(entry, generation)).toThrow(StaleEntryError);
    expect(entry.state).toBe(EntryState.Linked);
    expect([a.got.length, b.got.length]).toEqual([1, 1]);
  });
});

describe('limits', () => {
  test('entries that are opening and closing count', () => {
    const pool = makePool({ maxSize: 2 });
    for (let i = 0; i < 5; i++) ask(pool);
    expect(calls.filter(({ what }) => what === 'open')).toHaveLength(2);
    const entry = answer('open');
    pool.discard(entry, entry.generation, 'dirty');
    expect(pool.size).toBe(2);
    expect(calls.filter(({ what }) => what === 'open')).toHaveLength(1);
    answer('close');
    expect(calls.filter(({ what }) => what === 'open')).toHaveLength(2);
  });

  test('the reserve opens once a waiter has waited long enough', () => {
    const pool = makePool({ maxSize: 1, reserveSize: 1, reserveDelayMs: 500 });
    ask(pool);
    answer('open');
    const late = ask(pool);
    now += 499;
    pool.tick();
    expect(calls).toHaveLength(0);
    now += 1;
    pool.tick();
    answer('open');
    expect([late.got.length, pool.stats.reserveDials]).toEqual([1, 1]);
  });

  test('a shared limit: the idle entry of another pool makes room', () => {
    const limits = [new Limit('db', 1)];
    const shared = set();
    const [a, b] = [makePool({}, { limits, set: shared, name: 'a' }), makePool({}, { limits, set: shared, name: 'b' })];
    release(a, first(a));
    const waiting = ask(b);
    expect(calls).toMatchObject([{ what: 'close', reason: 'evicted' }]);
    answer('close');
    answer('open');
    expect(waiting.got).toHaveLength(1);
  });

  test('a place given up for an older neighbour goes to the neighbour, not back to who gave it up', () => {
    const limits = [new Limit('db', 1)];
    const shared = set();
    const [a, b] = [makePool({}, { limits, set: shared, name: 'a' }), makePool({}, { limits, set: shared, name: 'b' })];
    const holder = ask(a);
    answer('open');
    const old = ask(b);
    now += 300;
    const young = ask(a);
    a.release(holder.got[0]!, holder.got[0]!.generation);
    expect(answer('close').closeReason).toBe('evicted');
    answer('open');
    expect([old.got.length, young.got.length]).toEqual([1, 0]);
  });

  test('one neighbour that waits for one place gets one', () => {
    const limits = [new Limit('db', 2)];
    const shared = set();
    const [a, b] = [makePool({}, { limits, set: shared, name: 'a' }), makePool({}, { limits, set: shared, name: 'b' })];
    const holders = [ask(a), ask(a)];
    answer('open');
    answer('open');
    const waiting = ask(b);
    for (const { got } of holders) a.release(got[0]!, got[0]!.generation);
    expect([a.count(EntryState.Idle), a.count(EntryState.Closing)]).toEqual([1, 1]);
    answer('close');
    answer('open');
    expect(waiting.got.length).toBe(1);
  });

  test('a pool that was shut while it was kept from dialling blocks nobody any more', () => {
    const limits = [new Limit('db', 1)];
    const shared = set();
    const [a, b] = [makePool({}, { limits, set: shared, name: 'a' }), makePool({}, { limits, set: shared, name: 'b' })];
    const holder = ask(a);
    answer('open');
    ask(b);
    expect(shared.blocked).toBe(1);
    b.shut();
    shared.remove(b);
    expect(shared.blocked).toBe(0);
    a.release(holder.got[0]!, holder.got[0]!.generation);
    expect(a.count(EntryState.Idle)).toBe(1);
  });

  test('who is out of patience may take others out of the queue, who are, too', () => {
    const pool = makePool({ maxSize: 1 });
    first(pool);
    const refused: string[] = [];
    const waiters = ['a', 'b', 'c'].map((name) => {
      const waiter = new Waiter<string>({
        served: () => {},
        refused: () => {
          refused.push(name);
          if (name === 'a') pool.cancel(waiters[1]!);
        },
      });
      waiter.deadline = now + 10;
      pool.acquire(waiter);
      return waiter;
    });
    now += 20;
    pool.tick();
    expect([refused, pool.queue.length]).toEqual([['a', 'c'], 0]);
  });

  test('one waiter too many is refused', () => {
    const pool = makePool({ maxSize: 1, maxWaiters: 1 });
    ask(pool);
    expect(ask(pool).refused).toEqual(['queue full']);
  });
});

describe('lifecycle', () => {
  test('an entry idle for too long is checked before it is handed out; a dead one is replaced', () => {
    const pool = makePool({ checkDelayMs: 100, maxSize: 1 });
    release(pool, first(pool));
    now += 101;
    const asker = ask(pool);
    expect(asker.got).toHaveLength(0);
    const { entry } = calls.find(({ what }) => what === 'check')!;
    calls = [];
    pool.checked(entry, false);
    answer('close');
    answer('open');
    expect(asker.got).toHaveLength(1);
  });

  test('a life that is over ends at the release, and while idle', () => {
    const pool = makePool({ lifetimeMs: 1_000 });
    const [a, b] = [ask(pool), ask(pool)];
    answer('open');
    answer('open');
    release(pool, b.got[0]!);
    now += 1_000;
    release(pool, a.got[0]!);
    expect(calls).toMatchObject([{ what: 'close', reason: 'lifetime over' }]);
    pool.tick();
    expect(calls).toHaveLength(2);
  });

  test('idle entries close down to the minimum, and the minimum is filled again', () => {
    const pool = makePool({ minSize: 1, idleTimeoutMs: 100 });
    const askers = [ask(pool), ask(pool), ask(pool)];
    for (let i = 0; i < 3; i++) answer('open');
    for (const asker of askers) release(pool, asker.got[0]!);
    now += 100;
    pool.tick();
    expect(calls.filter(({ what }) => what === 'close')).toHaveLength(2);
    pool.lost([...pool.lists[EntryState.Idle]!][0]!);
    expect(calls.filter(({ what }) => what === 'open')).toHaveLength(1);
  });

  test('minIdle is kept free beside what is in use, as far as maxSize allows, and shrinks to no less', () => {
    const pool = makePool({ maxSize: 5, minIdle: 2, maxDials: 9, idleTimeoutMs: 100 });
    const opens = () => calls.filter(({ what }) => what === 'open').length;
    pool.tick();
    expect(opens()).toBe(2);
    answer('open');
    answer('open');
    const held = [ask(pool), ask(pool)];
    expect(pool.count(EntryState.Linked)).toBe(2);
    expect(opens()).toBe(2);
    // What is on its way counts, and so does who waits.
    pool.tick();
    expect(opens()).toBe(2);
    const waiter = ask(pool);
    expect(opens()).toBe(3);
    pool.tick();
    expect(opens()).toBe(3);
    for (let i = 0; i < 3; i++) answer('open');
    expect([waiter.got.length, pool.size, pool.count(EntryState.Idle)]).toEqual([1, 5, 2]);
    for (const asker of [...held, waiter]) release(pool, asker.got[0]!);
    expect(pool.count(EntryState.Idle)).toBe(5);
    now += 100;
    pool.tick();
    expect(calls.filter(({ what }) => what === 'close')).toHaveLength(3);
    now += 1_000;
    pool.tick();
    expect(calls.filter(({ what }) => what === 'close')).toHaveLength(3);
  });

  test('after a failed dial one dial at a time probes, less and less often; each success makes room for one more', () => {
    const pool = makePool({ maxSize: 8, maxDials: 4, retryMinMs: 100, retryMaxMs: 350 });
    for (let i = 0; i < 8; i++) ask(pool);
    const opens = () => calls.filter(({ what }) => what === 'open').length;
    expect(opens()).toBe(4);
    for (const { entry } of calls.splice(0)) pool.openFailed(entry, new Error('down'));
    const pauses: number[] = [];
    for (let i = 0; i < 4; i++) {
      const since = now;
      while (opens() === 0) {
        now += 10;
        pool.tick();
      }
      pauses.push(now - since);
      expect(opens()).toBe(1);
      pool.openFailed(calls.pop()!.entry, new Error('down'));
    }
    // Four that failed together are one failure.
    expect(pauses).toEqual([100, 200, 350, 350]);
    now += 350;
    pool.tick();
    answer('open');
    expect(opens()).toBe(2);
    answer('open');
    expect(opens()).toBe(3);
    answer('open');
    expect(opens()).toBe(4);
  });

  test('a reset runs between holders; one that fails closes the entry', () => {
    const pool = makePool({ maxSize: 1 });
    const entry = first(pool);
    const next = ask(pool);
    release(pool, entry, 'reset');
    expect(next.got).toHaveLength(0);
    answer('reset');
    expect(next.got).toEqual([entry]);
    release(pool, entry, 'reset');
    pool.resetDone(calls.pop()!.entry, false);
    expect(calls).toMatchObject([{ what: 'close', reason: 'reset failed' }]);
  });

  test.each(['reset', 'check'] as const)('a %s that takes long is not counted on by those who wait', (what) => {
    const pool = makePool({ maxSize: 2, checkDelayMs: 100 });
    const entry = first(pool);
    if (what === 'check') {
      release(pool, entry);
      now += 101;
    } else release(pool, entry, 'reset');
    const asker = ask(pool);
    expect(calls.map((call) => call.what)).toEqual([what]);
    expect(nextWake(pool)).toBe(now + 250);
    now += 249;
    pool.tick();
    expect(calls).toHaveLength(1);
    now += 1;
    pool.tick();
    answer('open');
    expect(asker.got).toHaveLength(1);
    expect(asker.got[0]).not.toBe(entry);
    answer(what);
    expect(pool.count(EntryState.Idle)).toBe(1);
  });

  test('an entry with a cancel on its way is kept aside until it has landed', () => {
    const pool = makePool({ maxSize: 1 });
    const entry = first(pool);
    const next = ask(pool);
    release(pool, entry, 'cancels');
    expect(next.got).toHaveLength(0);
    pool.cancelsLanded(entry, 'clean');
    expect(next.got).toEqual([entry]);
  });
});

describe('modes', () => {
  test('a paused pool hands nothing out; resume serves in order', () => {
    const pool = makePool({ maxSize: 1 });
    const entry = first(pool);
    pool.pause(false);
    const waiting = ask(pool);
    release(pool, entry);
    expect(waiting.got).toHaveLength(0);
    pool.resume();
    expect(waiting.got).toEqual([entry]);
  });

  test('of all that are retired none is handed out meanwhile, though somebody waits', () => {
    const pool = makePool({ maxSize: 3, checkDelayMs: 10, order: 'fifo' });
    const entries = [first(pool), first(pool), first(pool)];
    for (const entry of entries.slice(0, 2)) release(pool, entry);
    now += 20;
    release(pool, entries[2]!);
    // The first is being checked for him, the second would have to be, the third is fit.
    const waiting = ask(pool);
    expect(calls.map(({ what }) => what)).toEqual(['check']);
    pool.retireAll('retired');
    expect(waiting.got).toEqual([]);
    expect(calls.filter(({ reason }) => reason === 'retired')).toHaveLength(3);
  });

  test('in turns, and checked before every use: what was checked for him is his, though the turn has gone on', () => {
    const pool = makePool({ maxSize: 3, checkDelayMs: 0, order: 'fifo' });
    for (const entry of [first(pool), first(pool), first(pool)]) release(pool, entry);
    now += 1;
    const waiting = ask(pool);
    now += 1;
    const checked = answer('check');
    expect(waiting.got).toEqual([checked]);
    expect(calls).toEqual([]);
    release(pool, checked);
    now += 1;
    // A check that nobody waits for any more counts for nothing later.
    const left = ask(pool);
    pool.cancel(left.waiter);
    answer('check');
    now += 1;
    expect(ask(pool).got).toEqual([]);
    expect(calls.map(({ what }) => what)).toEqual(['check']);
  });

  test('one that goes to be reset is held no more: who may take no reserved place gets another that is idle', () => {
    const queue = new FairQueue<string>({
      reserved: 1,
      capacity: { held: () => pool.count(EntryState.Linked), max: () => 3 },
    });
    const pool: Pool<string> = makePool({ maxSize: 3 }, { queue });
    const [one, two] = [first(pool), first(pool)];
    const waiting = ask(pool);
    answer('open');
    expect([waiting.got, pool.count(EntryState.Idle)]).toEqual([[], 1]);
    pool.release(one!, one!.generation, 'reset');
    expect(waiting.got).toHaveLength(1);
    release(pool, two!);
  });

  test('a minimum beyond what is dialled at once is filled though nobody asks, also after the database was away', () => {
    const pool = makePool({ minSize: 7, maxSize: 10, maxDials: 2, retryMinMs: 100 });
    pool.tick();
    for (let i = 0; i < 7; i++) answer('open');
    expect(pool.count(EntryState.Idle)).toBe(7);
    now += 5_000;
    for (const entry of [...pool.entries()]) pool.lost(entry);
    while (calls.some(({ what }) => what === 'open')) {
      const [{ entry }] = calls.splice(0, 1) as [Call];
      pool.openFailed(entry, new Error('it is down'));
    }
    now += 1_000;
    pool.tick();
    for (let i = 0; i < 7; i++) answer('open');
    expect(pool.count(EntryState.Idle)).toBe(7);
  });

  test('without any trust an idle entry is checked each time, but not one that was dialled just now', () => {
    const pool = makePool({ checkDelayMs: 0 });
    const first = ask(pool);
    const entry = answer('open');
    expect(first.got).toEqual([entry]);
    pool.release(entry, entry.generation);
    const second = ask(pool);
    expect(second.got).toEqual([]);
    answer('check');
    expect(second.got).toEqual([entry]);
  });

  test('without any trust what comes back is checked for who waits for it, too', () => {
    const pool = makePool({ checkDelayMs: 0, maxSize: 1 });
    const entry = first(pool)!;
    const waiting = ask(pool);
    release(pool, entry);
    expect([waiting.got, calls.map(({ what }) => what)]).toEqual([[], ['check']]);
    answer('check');
    expect(waiting.got).toEqual([entry]);
  });

  test('an idle entry of which nothing is known any more is checked, however long others are trusted', () => {
    const pool = makePool({ checkDelayMs: Number.POSITIVE_INFINITY });
    const first = ask(pool);
    const entry = answer('open');
    pool.release(entry, entry.generation);
    entry.provenAt = Number.NEGATIVE_INFINITY;
    const second = ask(pool);
    expect([first.got.length, second.got.length]).toEqual([1, 0]);
    answer('check');
    expect(second.got).toEqual([entry]);
  });

  test('what is held through a pause stays after it, unless something else has condemned it', () => {
    const pool = makePool();
    const [spared, condemned] = [ask(pool), ask(pool)];
    for (let i = 0; i < 2; i++) answer('open');
    const [first, second] = [spared.got[0]!, condemned.got[0]!];
    pool.pause(true);
    pool.retire(second, 'retired');
    expect([first.retiring, second.retiring]).toEqual(['paused', 'retired']);
    pool.resume();
    pool.release(first, first.generation);
    pool.release(second, second.generation);
    expect([first.state, second.closeReason]).toEqual([EntryState.Idle, 'retired']);
    // A shutdown waits for its holder as well; what condemns it does not.
    const third = ask(pool).got[0]!;
    pool.drain();
    pool.shut();
    expect(isCondemned(third)).toBe(false);
    pool.retire(third, 'retired');
    expect(isCondemned(third)).toBe(true);
  });

  test('what is due stays due until it is looked at, though the clock has gone past it', () => {
    const pool = makePool({ maxSize: 2, maxDials: 1, retryMinMs: 100, reserveSize: 1, reserveDelayMs: 500 });
    for (let i = 0; i < 3; i++) ask(pool);
    pool.openFailed(calls.pop()!.entry, new Error('down'));
    expect(nextWake(pool)).toBe(now + 100);
    now += 101;
    expect(nextWake(pool)).toBe(now - 1);
    pool.tick();
    expect(nextWake(pool)).toBe(Number.POSITIVE_INFINITY);
    answer('open');
    answer('open');
    // The third waits for the reserve.
    expect(nextWake(pool)).toBe(now - 101 + 500);
    now += 500;
    expect(nextWake(pool)).toBe(now - 101);
  });

  test('what its holder has not proven lately is checked before the next one gets it', () => {
    const pool = makePool({ maxSize: 1, checkDelayMs: 100 });
    const holder = ask(pool);
    holder.got.push(answer('open'));
    const next = ask(pool);
    now += 1_000;
    const entry = holder.got[0]!;
    pool.release(entry, entry.generation, 'clean', now - 500);
    expect([next.got.length, calls.map(({ what }) => what)]).toEqual([0, ['check']]);
    pool.checked(entry, true);
    expect(next.got).toEqual([entry]);
    pool.release(entry, entry.generation, 'clean', now - 50);
    expect(ask(pool).got).toEqual([entry]);
  });

  test('who waits for a check that takes long gets another one checked, with and without neighbours', () => {
    for (const set of [undefined, new PoolSet<string>()]) {
      const pool = makePool({ maxSize: 2, maxDials: 2, checkDelayMs: 0 }, set === undefined ? {} : { set });
      const holders = [ask(pool), ask(pool)];
      const entries = holders.map(() => answer('open'));
      for (const entry of entries) pool.release(entry!, entry!.generation);
      calls.length = 0;
      const waiter = ask(pool);
      const [hanging] = calls.splice(0);
      expect(hanging).toMatchObject({ what: 'check' });
      expect(nextWake(pool)).toBe(now + 250);
      now += 249;
      pool.tick();
      expect(calls).toEqual([]);
      now += 1;
      pool.tick();
      expect(calls).toMatchObject([{ what: 'check' }]);
      expect(calls[0]!.entry).not.toBe(hanging!.entry);
      pool.checked(calls[0]!.entry, true);
      expect(waiter.got).toEqual([calls[0]!.entry]);
      pool.checked(hanging!.entry, false);
    }
  });

  test('made smaller, it closes what is beyond its size as that comes back, though others wait', () => {
    const pool = makePool({ maxSize: 3, maxDials: 3 });
    const holders = [ask(pool), ask(pool), ask(pool)];
    for (const holder of holders) holder.got.push(answer('open'));
    const next = ask(pool);
    pool.setPolicy({ ...pool.policy, maxSize: 1 });
    for (const { got } of holders.slice(0, 2)) pool.release(got[0]!, got[0]!.generation);
    expect(calls.map(({ what, reason }) => [what, reason])).toEqual([
      ['close', 'resized'],
      ['close', 'resized'],
    ]);
    expect(next.got).toEqual([]);
    const last = holders[2]!.got[0]!;
    pool.release(last, last.generation);
    expect(next.got).toEqual([last]);
  });

  test('the minimum is filled again while the one that was lost is still closing', () => {
    const pool = makePool({ minSize: 1 });
    pool.tick();
    pool.retire(answer('open'), 'retired');
    expect(calls.map(({ what }) => what)).toEqual(['close', 'open']);
  });

  test('a server that closes what it has just let in is not asked again at once', () => {
    const pool = makePool({ minSize: 3, retryMinMs: 100, retryMaxMs: 1_000 });
    pool.tick();
    for (let i = 0; i < 3; i++) pool.lost(answer('open'));
    expect(calls.filter(({ what }) => what === 'open')).toEqual([]);
    expect(nextWake(pool)).toBe(now + 1_000);
    // Who asks has one dialled at once.
    const asker = ask(pool);
    expect(asker.got).toEqual([answer('open')]);
    now += 1_000;
    pool.tick();
    const entry = answer('open');
    now += 2_000;
    // One that has stood for a while says nothing about the next.
    pool.lost(entry);
    expect(calls.filter(({ what }) => what === 'open').length).toBeGreaterThan(0);
  });

  test('room goes to whoever has waited longest, also where what is dialled opens at once', () => {
    const limits = [new Limit('shared', 2)];
    const both = set();
    const closing: Entry<string>[] = [];
    const atOnce = (name: string, close: (entry: Entry<string>) => unknown) =>
      new Pool<string>({
        name,
        policy: { ...DEFAULT_POLICY, lifetimeJitter: 0 },
        env: { now: () => now, random: () => 0 },
        port: { open: (entry) => entry.pool.opened(entry), check() {}, reset() {}, close },
        limits,
        set: both,
      });
    const first = atOnce('first', (entry) => closing.push(entry));
    const second = atOnce('second', (entry) => closing.push(entry));
    const third = atOnce('third', (entry) => entry.pool.closed(entry));
    const held = ask(first).got[0]!;
    const idle = ask(third).got[0]!;
    third.release(idle, idle.generation);
    first.discard(held, held.generation, 'dirty');
    const asked = [];
    for (const pool of [first, second, first]) {
      asked.push(ask(pool));
      now += 5;
    }
    // What closes leaves room for the oldest; what is idle elsewhere makes room for the next, in whichever pool.
    first.closed(closing.shift()!);
    expect(asked.map(({ got }) => got.length)).toEqual([1, 1, 0]);
  });

  test('room that is made for a neighbour is not taken by those who wait in the pool that made it', () => {
    const limits = [new Limit('shared', 3)];
    const all = set();
    const dialled: string[] = [];
    const named = (name: string) =>
      new Pool<string>({
        name,
        policy: { ...DEFAULT_POLICY, lifetimeJitter: 0, checkDelayMs: 0 },
        env: { now: () => now, random: () => 0 },
        port: {
          open: (entry) => dialled.push(entry.pool.name),
          check: (entry) => calls.push({ what: 'check', entry }),
          reset() {},
          close: (entry) => entry.pool.closed(entry),
        },
        limits,
        set: all,
      });
    const [busy, older, oldest] = [named('busy'), named('older'), named('oldest')];
    const held = [1, 2, 3].map(() => {
      ask(busy);
      const entry = [...busy.lists[EntryState.Opening]!][0]!;
      busy.opened(entry);
      return entry;
    });
    dialled.length = 0;
    for (const pool of [oldest, older, busy]) {
      ask(pool);
      now += 5;
    }
    for (const entry of held) release(busy, entry);
    ask(busy);
    // Two are being checked for those who wait, one is idle; now one of the two is found dead.
    expect([busy.count(EntryState.Checking), busy.count(EntryState.Idle)]).toEqual([2, 1]);
    busy.checked(calls.pop()!.entry, false);
    expect(dialled).toEqual(['oldest', 'older']);
  });

  test("a minimum takes no room from a neighbour's waiter, and gets it when nobody waits any more", () => {
    const limits = [new Limit('shared', 2)];
    const both = set();
    const lean = makePool({ maxSize: 2, minSize: 1 }, { limits, set: both });
    const busy = makePool({ maxSize: 3 }, { limits, set: both });
    const [one, two] = [first(busy), first(busy)];
    const waiting = ask(busy);
    both.tick();
    busy.discard(one!, one!.generation, 'dirty');
    answer('close');
    expect([lean.size, busy.size]).toEqual([0, 2]);
    answer('open');
    expect(waiting.got).toHaveLength(1);
    busy.discard(two!, two!.generation, 'dirty');
    answer('close');
    both.tick();
    expect([lean.size, busy.size]).toEqual([1, 1]);
  });

  test('draining refuses newcomers, serves those queued, closes what comes back', () => {
    const pool = makePool({ maxSize: 1 });
    const entry = first(pool);
    const queued = ask(pool);
    pool.drain();
    expect(ask(pool).refused).toEqual(['pool closed']);
    release(pool, entry);
    expect(queued.got).toEqual([entry]);
    release(pool, entry);
    expect(calls).toMatchObject([{ what: 'close', reason: 'drained' }]);
  });

  test('deadlines are kept, each waiter ending once', () => {
    const pool = makePool({ maxSize: 1 });
    const entry = first(pool);
    const late = ask(pool, now + 100);
    now += 100;
    pool.tick();
    pool.tick();
    release(pool, entry);
    expect([late.refused, late.got]).toEqual([['timeout'], []]);
  });
});

test('docs/states.md is what the tables say', () => {
  expect(readFileSync(new URL('../../../docs/states.md', import.meta.url), 'utf8')).toBe(renderStates());
});
