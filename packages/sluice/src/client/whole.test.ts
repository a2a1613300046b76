/** Whole exchanges are taken, and whole answers passed on, in one step: it must come to the same as message by message. */
import * as wire from '@sluice/wire';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { feed, makeSession } from '../../../../test/support/fake-session.ts';
import { Tx } from '../server/holder.ts';
import { Keeping } from './home.ts';

const TEXTS = [
  'select 1',
  'select 1',
  'begin',
  'commit',
  'fail',
  ' discard all',
  'deallocate all',
  'drop x',
  'prepare x as fail',
];

/** A PostgreSQL that knows a few words: takes what was written to it, returns what it answers. */
class Backend {
  #taken = 0;
  #skips = false;
  #status: number = Tx.Idle;
  #text = '';
  readonly #named = new Map<string, string>();

  answer(written: readonly number[]): Uint8Array {
    const bytes = Buffer.from(written.slice(this.#taken));
    this.#taken = written.length;
    const answers: Uint8Array[] = [];
    for (let at = 0; at < bytes.length; at += wire.lengthAt(bytes, at) + 1) {
      const type = String.fromCharCode(bytes[at]!);
      const [first = '', second = ''] = bytes.toString('latin1', at + 5, at + wire.lengthAt(bytes, at) + 1).split('\0');
      if (type === 'S') this.#skips = false;
      if (!this.#skips) answers.push(...this.#reply(type, first, second));
    }
    return wire.concat(...answers);
  }

  #reply(type: string, first: string, second: string): Uint8Array[] {
    const ready = () => wire.readyForQuery(this.#status);
    switch (type) {
      case 'P':
        this.#named.set(first, second);
        return [wire.PARSE_COMPLETE];
      case 'B':
        this.#text = this.#named.get(second) ?? 'fail';
        return [wire.BIND_COMPLETE];
      case 'D':
        return [wire.rowDescription([{ name: 'n', type: 23, size: 4 }])];
      case 'C':
        return [wire.CLOSE_COMPLETE];
      case 'E':
        return this.#run(this.#text);
      case 'Q': {
        const done = this.#run(first);
        this.#skips = false;
        return done.length > 1
          ? [wire.rowDescription([{ name: 'n', type: 23, size: 4 }]), ...done, ready()]
          : [...done, ready()];
      }
      case 'S':
        return [ready()];
      default:
        return [];
    }
  }

  #run(text: string): Uint8Array[] {
    const word = text.trim();
    if (word.endsWith('fail')) {
      this.#skips = true;
      if (this.#status === Tx.InBlock) this.#status = Tx.Failed;
      return [wire.errorResponse({ severity: 'ERROR', code: '22012', message: 'it failed' })];
    }
    if (word === 'begin') this.#status = Tx.InBlock;
    if (word === 'commit') this.#status = Tx.Idle;
    const tag = word.toUpperCase();
    return word.startsWith('select')
      ? [wire.dataRow(['5']), wire.dataRow([null]), wire.commandComplete('SELECT 2')]
      : [wire.commandComplete(tag)];
  }
}

const step = fc.record({
  kind: fc.constantFrom('unnamed', 'unnamed', 'simple', 'run', 'run'),
  statement: fc.constantFrom('a', 'a', 'b', 'a longer name'),
  sql: fc.constantFrom(...TEXTS),
  portal: fc.constantFrom('', '', '', 'p'),
  isDescribed: fc.boolean(),
  before: fc.constantFrom(
    null,
    null,
    null,
    wire.parse('', 'select 3'),
    wire.flush(),
    wire.parse('b', 'select 4'),
    wire.sync(),
    wire.concat(wire.close('S', 'a'), wire.sync()),
    wire.concat(wire.parse('a', 'select 6'), wire.sync()),
    wire.concat(wire.parse('b', 'discard all'), wire.sync()),
    wire.concat(wire.parse('b', 'set x = 1'), wire.sync()),
    wire.concat(wire.parse('b', 'prepare y as select 1'), wire.sync()),
    wire.concat(wire.parse('a longer name', 'select 7'), wire.sync()),
  ),
  /** The server is as another one, which has seen nothing of it. */
  isOther: fc.constantFrom(false, false, false, true),
  isAnswered: fc.constantFrom(true, true, true, false),
});
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

function asked({ kind, sql, statement, portal, isDescribed }: Step): Uint8Array {
  if (kind === 'simple') return wire.query(sql);
  return wire.concat(
    ...(kind === 'run' ? [wire.bind(portal, statement, ['5'])] : [wire.parse('', sql), wire.bind(portal, '', ['5'])]),
    ...(isDescribed ? [wire.describe('P', portal)] : []),
    ...[wire.execute(portal), wire.sync()],
  );
}

function make(keeping: Keeping) {
  const made = { ...makeSession(keeping), backend: new Backend() };
  const { serverConn, session } = made;
  const server = session.home.pool.acquire(session.waiter)!.value!;
  /** Answers what the server has been asked: in one piece, or in two. */
  const serve = (inOne: boolean) => {
    for (;;) {
      const bytes = made.backend.answer(serverConn.written);
      if (bytes.length === 0) return;
      feed(server, bytes, inOne ? [] : [bytes.length - 1]);
    }
  };
  return { ...made, server, serve };
}

const seen = ({ session, server, clientConn }: ReturnType<typeof make>) => {
  const { unnamed } = session.statements;
  const { queue } = server;
  return {
    client: Buffer.from(clientConn.written).toString('latin1'),
    state: session.state,
    exchanges: [session.home.traffic.queries, session.home.traffic.transactions, session.home.traffic.binds],
    suspects: session.follow?.suspects,
    known: [server.statements.size, server.statements.oldest?.serverName],
    queue: [queue.length, queue.head, queue.headAction, queue.changing, queue.atRest],
    unnamed: [unnamed.inGroup, unnamed.open, unnamed.there],
    names: [...session.statements.entries()].map(([name]) => name),
    closed: server.closedBecause,
  };
};

test('an exchange asked or answered in one piece comes to the same as in two', () => {
  const keepings = fc.constantFrom(Keeping.Nothing, Keeping.Statements, Keeping.Follow);
  fc.assert(
    fc.property(keepings, fc.array(step, { maxLength: 8 }), (keeping, steps) => {
      const [whole, parted] = [make(keeping), make(keeping)];
      const both = [whole, parted];
      for (const { session } of both) feed(session, wire.concat(wire.parse('a', 'select $1'), wire.sync()), []);
      for (const one of both) one.serve(one === whole);
      for (const one of steps) {
        if (one.before !== null) for (const { session } of both) feed(session, one.before, []);
        if (one.isOther) for (const { server } of both) if (server.settled) server.statements.clear();
        const bytes = asked(one);
        feed(whole.session, bytes, []);
        feed(parted.session, bytes, [bytes.length - 1]);
        if (one.isAnswered) for (const each of both) each.serve(each === whole);
        expect(seen(whole)).toEqual(seen(parted));
      }
      for (const each of both) each.serve(each === whole);
      expect(seen(whole)).toEqual(seen(parted));
      expect(whole.server.closedBecause).toBeNull();
      // With answers under way it depends on which have come.
      if (steps.every(({ isAnswered }) => isAnswered))
        expect(whole.serverConn.written).toEqual(parted.serverConn.written);
    }),
    { numRuns: 500 },
  );
});

test('a run of what makes a server forget its statements goes message by message, so that what follows waits for its answer', () => {
  const made = make(Keeping.Nothing);
  const { session, server } = made;
  const prepared = wire.concat(wire.parse('a', 'select $1'), wire.parse('b', 'discard all'), wire.sync());
  feed(session, prepared, []);
  made.serve(true);
  expect([server.statements.size, server.queue.changing]).toEqual([2, false]);
  feed(session, wire.concat(wire.bind('', 'b', []), wire.execute(''), wire.sync()), []);
  expect(server.queue.changing).toBe(true);
  made.serve(true);
  expect([server.statements.size, server.queue.changing]).toEqual([0, false]);
});
