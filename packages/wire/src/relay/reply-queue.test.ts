import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DESCRIBED_EXCHANGE, PLAIN_EXCHANGE } from './exchange.ts';
import { Action, type Effect, Reply, ReplyQueue } from './reply-queue.ts';

const kinds = (queue: ReplyQueue): Reply[] => {
  const found: Reply[] = [];
  while (queue.length > 0) {
    found.push(queue.head);
    queue.pop();
  }
  return found;
};

const sent = (queue: ReplyQueue, ...all: Reply[]) => {
  for (const kind of all) queue.sent(kind);
};

const { Parse, Bind, Describe, Execute, Close, Sync, Query, CopyEnd } = Reply;

describe('order', () => {
  test('replies come in the order of what was sent, however long the pipeline', () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom(Parse, Bind, Describe, Execute, Close, Sync, Query), { maxLength: 200 }),
        (all) => {
          const queue = new ReplyQueue();
          sent(queue, ...all);
          expect(kinds(queue)).toEqual(all);
        },
      ),
    );
  });

  test('interleaved sending and answering never mixes up the ring', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.boolean(), fc.constantFrom(Parse, Bind, Execute, Sync, Query)), { maxLength: 500 }),
        (steps) => {
          const queue = new ReplyQueue();
          const model: Reply[] = [];
          for (const [send, kind] of steps) {
            if (send) {
              queue.sent(kind);
              model.push(kind);
            } else if (model.length > 0) {
              expect(queue.head).toBe(model.shift());
              queue.pop();
            }
            expect(queue.length).toBe(model.length);
          }
        },
      ),
    );
  });

  test('a whole exchange at once is what its messages are one by one', () => {
    const kind = fc.constantFrom(Parse, Bind, Describe, Execute, Close, Sync, Query, CopyEnd);
    const doing = fc.oneof(kind, fc.constantFrom('data', 'copy', 'failed', 'pop', 'changes'));
    fc.assert(
      fc.property(
        fc.array(doing, { maxLength: 30 }),
        fc.constantFrom(PLAIN_EXCHANGE, DESCRIBED_EXCHANGE),
        (all, replies) => {
          const seen = [true, false].map((atOnce) => {
            const queue = new ReplyQueue();
            for (const one of all) {
              if (typeof one === 'number') queue.sent(one);
              else if (one === 'data') queue.dataSent();
              else if (one === 'changes') queue.changesBooks();
              else if (queue.length === 0) continue;
              else if (one === 'copy') queue.copyInStarted();
              else if (one === 'failed') queue.failed();
              else queue.pop();
            }
            const log: string[] = [];
            const effect = {
              harmless: true as const,
              confirm: () => log.push('confirmed'),
              revert: (itself: boolean) => log.push(`reverted ${itself}`),
            };
            if (!atOnce || !queue.exchangeSent(replies, effect))
              for (const [i, reply] of replies.entries()) queue.sent(reply, Action.Forward, i === 0 ? effect : null);
            const state = () => [
              queue.length,
              queue.head,
              queue.syncMissing,
              queue.unsure,
              queue.changing,
              queue.atRest,
            ];
            const states = [state()];
            // What comes after it is taken the same way too.
            queue.sent(CopyEnd);
            queue.sent(Sync);
            while (queue.length > 1) {
              if (queue.length % 3 === 0) queue.failed();
              if (queue.length > 0) queue.pop();
              states.push(state());
            }
            return { states, log };
          });
          expect(seen[0]).toEqual(seen[1]);
        },
      ),
      { numRuns: 2_000 },
    );
  });

  test('a reply that nobody owes is a bug', () => {
    expect(() => new ReplyQueue().pop()).toThrow('nobody owed');
  });
});

describe('errors', () => {
  test('in a simple query: ReadyForQuery still comes', () => {
    const queue = new ReplyQueue();
    sent(queue, Query, Query);
    queue.failed();
    expect(kinds(queue)).toEqual([Query, Query]);
  });

  test('in a pipeline: everything up to the Sync is skipped, what follows it is not', () => {
    const queue = new ReplyQueue();
    sent(queue, Parse, Bind, Execute, Sync, Parse, Sync);
    queue.pop();
    queue.failed();
    expect(kinds(queue)).toEqual([Sync, Parse, Sync]);
  });

  test('before the Sync was sent: what is sent until then is ignored, and it is missed', () => {
    const queue = new ReplyQueue();
    sent(queue, Parse, Bind);
    queue.failed();
    expect([queue.length, queue.skipping, queue.syncMissing]).toEqual([0, true, true]);
    expect(queue.sent(Bind)).toBe(false);
    expect(queue.sent(Query)).toBe(false);
    expect(queue.sent(Sync)).toBe(true);
    expect([queue.skipping, queue.syncMissing]).toEqual([false, false]);
    expect(kinds(queue)).toEqual([Sync]);
  });

  test('at the Sync itself, as a deferred constraint fails: the ReadyForQuery is still owed', () => {
    const queue = new ReplyQueue();
    sent(queue, Sync);
    queue.failed();
    expect(kinds(queue)).toEqual([Sync]);
  });
});

describe('a missing Sync', () => {
  test('is known until one is sent', () => {
    const queue = new ReplyQueue();
    expect(queue.syncMissing).toBe(false);
    sent(queue, Parse);
    queue.pop();
    expect(queue.syncMissing).toBe(true);
    sent(queue, Sync);
    expect(queue.syncMissing).toBe(false);
  });

  test('a Parse that we answer ourselves never reached the server', () => {
    const queue = new ReplyQueue();
    queue.sent(Parse, Action.Answer);
    expect(queue.syncMissing).toBe(false);
  });
});

describe('copy in', () => {
  test('simple: data may follow, CopyDone ends it', () => {
    const queue = new ReplyQueue();
    sent(queue, Query);
    queue.copyInStarted();
    expect(queue.copyIn).toBe(true);
    expect(queue.sent(Sync)).toBe(false);
    queue.sent(CopyEnd);
    expect(queue.copyIn).toBe(false);
    expect(kinds(queue)).toEqual([Query]);
  });

  test('extended, with the Sync sent right behind the Execute: the server swallows that one', () => {
    const queue = new ReplyQueue();
    sent(queue, Parse, Bind, Execute, Sync);
    queue.pop();
    queue.pop();
    queue.copyInStarted();
    expect(queue.copyIn).toBe(true);
    sent(queue, CopyEnd, Sync);
    expect(kinds(queue)).toEqual([Execute, Sync]);
  });

  test('sent as a whole before the server has begun: the first Sync is swallowed, the second answered', () => {
    const queue = new ReplyQueue();
    sent(queue, Execute, Sync, CopyEnd, Sync);
    queue.copyInStarted();
    expect(queue.copyIn).toBe(false);
    expect(kinds(queue)).toEqual([Execute, Sync]);
  });

  test('a CopyDone without a copy is ignored by the server', () => {
    const queue = new ReplyQueue();
    expect(queue.sent(CopyEnd)).toBe(false);
    sent(queue, Query, CopyEnd, Query);
    expect(kinds(queue)).toEqual([Query, Query]);
  });

  test('a failed copy leaves nothing behind', () => {
    const queue = new ReplyQueue();
    sent(queue, Query);
    queue.copyInStarted();
    queue.failed();
    expect([queue.copyIn, queue.length]).toEqual([false, 1]);
  });

  test('a query behind a simple copy is owed its reply: the copy may have failed by its data before', () => {
    const queue = new ReplyQueue();
    sent(queue, Query);
    queue.copyInStarted();
    sent(queue, Query);
    queue.failed();
    queue.pop();
    expect(kinds(queue)).toEqual([Query]);
    const early = new ReplyQueue();
    sent(early, Query, Query);
    early.copyInStarted();
    expect(kinds(early)).toEqual([Query, Query]);
  });

  test('after a Sync into a copy that fails nobody knows whether it is answered', () => {
    const queue = new ReplyQueue();
    sent(queue, Query);
    queue.copyInStarted();
    queue.dataSent();
    queue.sent(Sync);
    queue.failed();
    queue.pop();
    expect([queue.length, queue.untrusted]).toEqual([0, true]);
    const well = new ReplyQueue();
    sent(well, Query);
    well.copyInStarted();
    well.dataSent();
    well.sent(Sync);
    sent(well, CopyEnd);
    well.completed();
    well.failed();
    expect(well.untrusted).toBe(false);
  });

  test('a Sync sent with the command, before any data, is swallowed whatever becomes of the copy', () => {
    const queue = new ReplyQueue();
    sent(queue, Parse, Bind, Execute, Sync);
    queue.pop();
    queue.pop();
    queue.copyInStarted();
    queue.dataSent();
    sent(queue, CopyEnd, Sync);
    queue.failed();
    expect(kinds(queue)).toEqual([Sync]);
    expect(queue.untrusted).toBe(false);
  });
});

describe('whether books are sure', () => {
  const effect = { confirm() {}, revert() {} };
  test('they are not from the Sync of messages that change them to its answer', () => {
    const queue = new ReplyQueue();
    queue.sent(Parse, Action.Forward, effect);
    expect(queue.unsure).toBe(false);
    sent(queue, Sync, Bind, Sync);
    expect(queue.unsure).toBe(true);
    queue.pop();
    expect(queue.unsure).toBe(true);
    queue.pop();
    expect(queue.unsure).toBe(false);
  });

  test('an error leaves them unsure until the Sync is answered', () => {
    const queue = new ReplyQueue();
    queue.sent(Parse, Action.Forward, effect);
    sent(queue, Sync);
    queue.failed();
    expect(queue.unsure).toBe(true);
    queue.pop();
    expect(queue.unsure).toBe(false);
  });

  test('a change that shows with a query’s answer counts with it; harmless effects do not count', () => {
    const queue = new ReplyQueue();
    queue.sent(Parse, Action.Forward, { ...effect, harmless: true });
    sent(queue, Sync);
    expect(queue.unsure).toBe(false);
    queue.changesBooks();
    sent(queue, Query);
    expect(queue.unsure).toBe(true);
    queue.clear();
    expect(queue.unsure).toBe(false);
  });
});

describe('effects', () => {
  class Book implements Effect {
    static log: string[] = [];
    readonly name: string;
    constructor(name: string) {
      this.name = name;
    }
    confirm() {
      Book.log.push(`+${this.name}`);
    }
    revert() {
      Book.log.push(`-${this.name}`);
    }
  }

  test('hold when the reply comes, are undone newest first when the server skips', () => {
    Book.log = [];
    const queue = new ReplyQueue();
    for (const name of ['a', 'b', 'c']) queue.sent(Parse, Action.Forward, new Book(name));
    sent(queue, Sync);
    queue.pop();
    queue.failed();
    expect(Book.log).toEqual(['+a', '-c', '-b']);
  });

  test('survive the growing of the ring, each with its own message', () => {
    Book.log = [];
    const queue = new ReplyQueue();
    for (let i = 0; i < 100; i++)
      queue.sent(i % 3 === 0 ? Parse : Bind, Action.Forward, i % 3 === 0 ? new Book(String(i)) : null);
    for (let i = 0; i < 100; i++) queue.pop();
    expect(Book.log).toEqual(Array.from({ length: 34 }, (_, i) => `+${i * 3}`));
  });

  test('are undone when the connection is gone', () => {
    Book.log = [];
    const queue = new ReplyQueue();
    queue.sent(Parse, Action.Skip, new Book('x'));
    queue.clear();
    expect([Book.log, queue.length]).toEqual([['-x'], 0]);
  });
});
