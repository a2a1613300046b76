/** A recorded conversation, cut at every point and with bytes changed: the relay must come to the same end, or refuse. */
import { type Entry, FifoQueue, Waiter } from '@sluice/core';
import * as wire from '@sluice/wire';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Conn, ConnHandler } from '../net/conn.ts';
import { type ServerHolder, Tx } from '../server/holder.ts';
import { Server } from '../server/server.ts';
import { StatementStore } from '../server/statements.ts';
import { Classifier } from '../sql/classifier.ts';
import { Clock } from '../telemetry/clock.ts';
import { Traffic } from '../telemetry/traffic.ts';
import { type ClientHome, type ClientRegistry, Keeping } from './home.ts';
import { ClientSession } from './session.ts';
import { SessionState } from './side.ts';

class FakeConn implements Conn {
  handler: ConnHandler = { onData() {}, onDrain() {}, onClose() {} };
  queued = 0;
  closed = false;
  tls = null;
  readonly fd = -1;
  remote = { address: '127.0.0.1', port: 1, unix: false };
  local = { address: '127.0.0.1', port: 2, unix: false };
  readonly written: number[] = [];
  paused = false;
  write(buffer: Uint8Array, start: number, end: number): boolean {
    this.written.push(...buffer.subarray(start, end));
    return this.queued === 0;
  }
  gather(): void {}
  pause(): void {
    this.paused = true;
  }
  resume(): void {
    this.paused = false;
  }
  hold(): void {}
  end(): void {
    this.closed = true;
  }
  destroy(): void {
    this.closed = true;
  }
}

const names = new wire.ParameterNames();
const identity = { user: 'alice', id: 1, processId: 1, cancelKey: new Uint8Array(4), host: 'x', port: 1, tls: null };

class Collector implements ServerHolder {
  readonly got: number[] = [];
  exchanges = 0;
  parameters = 0;
  errors = 0;
  lost = 0;
  relay(buffer: Uint8Array, from: number, to: number): void {
    this.got.push(...buffer.subarray(from, to));
  }
  keepRelayed(): void {}
  answerDue(kind: wire.Reply): void {
    this.got.push(...(kind === wire.Reply.Parse ? wire.PARSE_COMPLETE : wire.CLOSE_COMPLETE));
  }
  exchangeEnded(): void {
    this.exchanges++;
  }
  errorRelayed(): boolean {
    this.errors++;
    return true;
  }
  planRejected(): boolean {
    return false;
  }

  discarded(): void {}
  parameterChanged(): void {
    this.parameters++;
  }
  serverScanned(): void {}
  serverLost(): void {
    this.lost++;
  }
  serverDrained(): void {}
}

function makeServer(): { server: Server; holder: Collector; conn: FakeConn } {
  const conn = new FakeConn();
  const watcher = { answerMs: 0, serverClosed() {}, connectionBroke() {}, failedItself() {}, unaskedMessage() {} };
  const entry = {} as Entry<Server>;
  const server = new Server(conn, entry, identity, new wire.Parameters(names), watcher, new StatementStore(), 0);
  const holder = new Collector();
  server.holder = holder;
  return { server, holder, conn };
}

const text = (value: string) => new TextEncoder().encode(value);

/** What a server sent in a real order: simple, extended with a withheld Parse, an error, a copy, parameters, a notice. */
const FROM_SERVER = wire.concat(
  wire.rowDescription([{ name: 'n', type: 23, size: 4 }]),
  wire.dataRow(['1']),
  wire.dataRow([null]),
  wire.commandComplete('SELECT 2'),
  wire.readyForQuery(Tx.Idle),
  wire.BIND_COMPLETE,
  wire.rowDescription([{ name: 'x', type: 25, size: -1 }]),
  wire.dataRow(['some longer text '.repeat(5)]),
  wire.commandComplete('SELECT 1'),
  wire.readyForQuery(Tx.InBlock),
  wire.noticeResponse({ severity: 'NOTICE', code: '00000', message: 'mind the gap' }),
  wire.PARSE_COMPLETE,
  wire.errorResponse({ severity: 'ERROR', code: '42P01', message: 'relation "x" does not exist' }),
  wire.readyForQuery(Tx.Failed),
  wire.parameterStatus('TimeZone', 'Asia/Tokyo'),
  wire.commandComplete('ROLLBACK'),
  wire.readyForQuery(Tx.Idle),
  wire.copyResponse('G', 1),
  wire.commandComplete('COPY 2'),
  wire.readyForQuery(Tx.Idle),
);

/** The same as the client must see it: the withheld Parse's answer stands before its Bind's. */
const TO_CLIENT = (() => {
  const at = wire.concat(
    wire.rowDescription([{ name: 'n', type: 23, size: 4 }]),
    wire.dataRow(['1']),
    wire.dataRow([null]),
    wire.commandComplete('SELECT 2'),
    wire.readyForQuery(Tx.Idle),
  ).length;
  return wire.concat(FROM_SERVER.subarray(0, at), wire.PARSE_COMPLETE, FROM_SERVER.subarray(at));
})();

function expectReplies(server: Server): void {
  const { queue } = server;
  queue.sent(wire.Reply.Query);
  queue.sent(wire.Reply.Parse, wire.Action.Answer);
  for (const kind of [wire.Reply.Bind, wire.Reply.Describe, wire.Reply.Execute, wire.Reply.Sync]) queue.sent(kind);
  for (const kind of [wire.Reply.Parse, wire.Reply.Bind, wire.Reply.Execute, wire.Reply.Sync]) queue.sent(kind);
  queue.sent(wire.Reply.Query);
  queue.sent(wire.Reply.Query);
  queue.sent(wire.Reply.CopyEnd);
}

const feed = (handler: ConnHandler, bytes: Uint8Array, cuts: readonly number[]) => {
  const edges = [0, ...[...cuts].sort((a, b) => a - b), bytes.length];
  for (let i = 1; i < edges.length; i++) {
    const chunk = Buffer.from(bytes.subarray(edges[i - 1], edges[i]));
    if (chunk.length === 0) continue;
    handler.onData(chunk, 0, chunk.length);
    // What was handed over is valid during the call only.
    chunk.fill(0xee);
  }
};

describe('from the server', () => {
  const check = (cuts: readonly number[]) => {
    const { server, holder } = makeServer();
    expectReplies(server);
    feed(server, FROM_SERVER, cuts);
    expect(Buffer.from(holder.got).equals(Buffer.from(TO_CLIENT))).toBe(true);
    expect([
      holder.exchanges,
      holder.errors,
      holder.parameters,
      server.settled,
      server.status,
      server.closedBecause,
    ]).toEqual([5, 1, 1, true, Tx.Idle, null]);
  };

  test('cut in two at every point', () => {
    for (let cut = 0; cut <= FROM_SERVER.length; cut++) check([cut]);
  });

  test('byte by byte, and cut at random', () => {
    check(Array.from({ length: FROM_SERVER.length }, (_, i) => i));
    fc.assert(
      fc.property(fc.array(fc.nat(FROM_SERVER.length), { maxLength: 12 }), (cuts) => check(cuts)),
      { numRuns: 300 },
    );
  });

  test('with a byte changed: it is relayed, or the connection is given up; nothing else', () => {
    fc.assert(
      fc.property(fc.nat(FROM_SERVER.length - 1), fc.nat(255), fc.nat(FROM_SERVER.length), (at, value, cut) => {
        const { server } = makeServer();
        expectReplies(server);
        const mutated = FROM_SERVER.slice();
        mutated[at] = value;
        feed(server, mutated, [cut]);
        if (server.settled) expect(server.queue.length).toBe(0);
      }),
      { numRuns: 2_000 },
    );
  });
});

/** Named and unnamed statements, a pipeline, a copy, a simple query; `closes`: with the Close of the named one. */
const conversation = (named: string, unnamed: string, closes: boolean) =>
  wire.concat(
    wire.query('select 1'),
    wire.parse(named, 'select $1::int', [23]),
    wire.describe('S', named),
    wire.bind('', named, ['5']),
    wire.execute(''),
    wire.sync(),
    wire.parse(unnamed, 'select 2'),
    wire.bind('portal', unnamed),
    wire.execute('portal', 3),
    wire.close('P', 'portal'),
    wire.sync(),
    wire.query('copy t from stdin'),
    wire.copyData(text('1\n2\n')),
    wire.copyDone(),
    wire.bind('', named, ['6']),
    ...(closes ? [wire.close('S', named)] : []),
    wire.sync(),
  );

const FROM_CLIENT = conversation('named', '', true);
/**
 * The same with the names that the server knows the statements by, and without the Close. The unnamed one passes as it is where its
 * Bind is in the same piece.
 */
const TO_SERVER = conversation('PGBOUNCER_1', '', false);
const KEPT = conversation('PGBOUNCER_1', 'PGBOUNCER_2', false);
/** Where a cut parts the unnamed statement from the names of its Bind. */
const parts = (() => {
  const from = Buffer.from(FROM_CLIENT).indexOf(Buffer.from(wire.parse('', 'select 2')));
  const to = Buffer.from(FROM_CLIENT).indexOf(Buffer.from(wire.bind('portal', ''))) + 5 + 'portal'.length + 2;
  return (cut: number) => cut > from && cut < to;
})();

/** What names a statement is held until it is sure that what came before holds. */
const ANSWERS = [
  wire.concat(wire.commandComplete('SELECT 1'), wire.readyForQuery(Tx.Idle)),
  wire.concat(
    ...[wire.PARSE_COMPLETE, wire.parameterDescription([23]), wire.rowDescription([{ name: 'n', type: 23, size: 4 }])],
    ...[wire.BIND_COMPLETE, wire.commandComplete('SELECT 1'), wire.readyForQuery(Tx.Idle)],
  ),
  wire.concat(
    ...[wire.PARSE_COMPLETE, wire.BIND_COMPLETE, wire.commandComplete('SELECT 1'), wire.CLOSE_COMPLETE],
    wire.readyForQuery(Tx.Idle),
  ),
  wire.concat(wire.copyResponse('G', 1), wire.commandComplete('COPY 2'), wire.readyForQuery(Tx.InBlock)),
];

function makeSession(keeping: Keeping = Keeping.Follow): {
  session: ClientSession;
  serverConn: FakeConn;
  clientConn: FakeConn;
} {
  const { server, conn: serverConn } = makeServer();
  server.holder = null;
  const entry = { value: server, generation: 1 } as Entry<Server>;
  const pool = { acquire: () => entry, cancel: () => true, release() {}, discard() {}, queue: new FifoQueue<Server>() };
  const home = {
    pool,
    traffic: new Traffic(),
    mode: 'transaction',
    maxPrepared: 100,
    keeping,
    resetAlways: false,
    waitDeadline: () => Number.POSITIVE_INFINITY,
  } as unknown as ClientHome;
  const registry = {
    statements: new StatementStore(),
    classifier: new Classifier(),
    maxPacketSize: 1 << 20,
    refuseWork: () => null,
    sessionWaits() {},
    warn() {},
    sessionEnds() {},
    sessionClosed() {},
    serverLostByClient() {},
    stopServer: (server: Server, reason: string) => server.close(reason),
    report(error: Error) {
      throw error;
    },
    describeRefusal: () => ({ message: 'x', sqlState: '08P01' }),
  } as unknown as ClientRegistry;
  const clientConn = new FakeConn();
  const who = { id: 1, user: 'u', database: 'd', cancelKey: new Uint8Array(4), processId: 1 };
  const session = new ClientSession(clientConn, who, home, registry, new wire.Parameters(names), new Clock());
  expect(session.waiter).toBeInstanceOf(Waiter);
  return { session, serverConn, clientConn };
}

describe('from the client', () => {
  const check = (cuts: readonly number[]) => {
    const { session, serverConn, clientConn } = makeSession();
    feed(session, FROM_CLIENT, cuts);
    expect([session.state, clientConn.written.length]).toEqual([SessionState.Linked, 0]);
    expect(serverConn.written.length).toBeLessThan(TO_SERVER.length);
    for (const answer of ANSWERS) feed(session.server!, answer, []);
    // Parted, they may have come together again while they waited.
    const expected = cuts.some(parts) ? [TO_SERVER, KEPT] : [TO_SERVER];
    expect(expected.map((bytes) => Buffer.from(bytes))).toContainEqual(Buffer.from(serverConn.written));
    expect(session.state).toBe(SessionState.Linked);
  };

  test('cut in two at every point', () => {
    for (let cut = 0; cut <= FROM_CLIENT.length; cut++) check([cut]);
  });

  test('byte by byte, and cut at random', () => {
    check(Array.from({ length: FROM_CLIENT.length }, (_, i) => i));
    fc.assert(
      fc.property(fc.array(fc.nat(FROM_CLIENT.length), { maxLength: 12 }), (cuts) => check(cuts)),
      { numRuns: 300 },
    );
  });

  test('with a byte changed: it passes, waits for more, or ends that session; nothing throws', () => {
    fc.assert(
      fc.property(fc.nat(FROM_CLIENT.length - 1), fc.nat(255), fc.nat(FROM_CLIENT.length), (at, value, cut) => {
        const { session } = makeSession();
        const mutated = FROM_CLIENT.slice();
        mutated[at] = value;
        feed(session, mutated, [cut]);
        expect([SessionState.Linked, SessionState.Idle, SessionState.Closed]).toContain(session.state);
      }),
      { numRuns: 2_000 },
    );
  });
});

describe('a whole exchange in one chunk', () => {
  const exchange = (sql: string, portal: string, isDescribed: boolean) =>
    wire.concat(
      ...[wire.parse('', sql), wire.bind(portal, '', ['5'])],
      ...(isDescribed ? [wire.describe('P', portal)] : []),
      ...[wire.execute(portal), wire.sync()],
    );
  const answer = (isDescribed: boolean, fails: boolean) =>
    fails
      ? [wire.PARSE_COMPLETE, wire.errorResponse({ severity: 'ERROR', code: '22012', message: 'division by zero' })]
      : [
          ...[wire.PARSE_COMPLETE, wire.BIND_COMPLETE],
          ...(isDescribed ? [wire.rowDescription([{ name: 'n', type: 23, size: 4 }])] : []),
          wire.commandComplete('SELECT 1'),
        ];
  const stateOf = ({ queue }: Server) => [queue.length, queue.head, queue.headAction, queue.changing, queue.atRest];
  const step = fc.record({
    sql: fc.constantFrom('select 1', 'select 1', 'select $1', ' discard all', 'deallocate x', 'prepare x as select 1'),
    portal: fc.constantFrom('', '', '', 'p'),
    isDescribed: fc.boolean(),
    fails: fc.boolean(),
    status: fc.constantFrom(Tx.Idle, Tx.InBlock),
    before: fc.constantFrom(null, null, wire.parse('', 'select 3'), wire.flush(), wire.parse('a', 'select 4')),
    isAnswered: fc.boolean(),
  });

  test('comes to the same as in two', () => {
    const keepings = fc.constantFrom(Keeping.Nothing, Keeping.Statements, Keeping.Follow);
    fc.assert(
      fc.property(keepings, fc.array(step, { maxLength: 8 }), (keeping, steps) => {
        const [whole, parted] = [makeSession(keeping), makeSession(keeping)];
        const both = [whole, parted];
        const owed: Uint8Array[] = [];
        for (const { sql, portal, isDescribed, fails, status, before, isAnswered } of steps) {
          if (before !== null) for (const { session } of both) feed(session, before, []);
          const bytes = exchange(sql, portal, isDescribed);
          feed(whole.session, bytes, []);
          feed(parted.session, bytes, [bytes.length - 1]);
          if (before === null || before[0] === 0x48)
            owed.push(wire.concat(...answer(isDescribed, fails), wire.readyForQuery(status)));
          if (isAnswered && owed.length > 0) {
            const next = owed.shift()!;
            for (const { session } of both) if (session.server !== null) feed(session.server, next, []);
          }
          const seen = both.map(({ session, serverConn, clientConn }) => ({
            server: Buffer.from(serverConn.written).toString('latin1'),
            client: Buffer.from(clientConn.written).toString('latin1'),
            state: session.state,
            queue: session.server === null ? null : stateOf(session.server),
            unnamed: ['sent', 'inGroup', 'open', 'there'].map((what) => (session.statements.unnamed as any)[what]),
          }));
          expect(seen[0]).toEqual(seen[1]);
        }
      }),
      { numRuns: 1_000 },
    );
  });
});

describe('a server that is slow to take what it is sent', () => {
  test('is not waited for by a client whose answer has come: the next one serves it', () => {
    const { session, serverConn, clientConn } = makeSession();
    // As over TLS: the answer can be here before the connection says that everything has left.
    serverConn.queued = 1;
    feed(session, wire.query('select 1'), []);
    expect([session.state, clientConn.paused]).toEqual([SessionState.Linked, true]);
    feed(session.server!, wire.concat(wire.commandComplete('SELECT 1'), wire.readyForQuery(Tx.Idle)), []);
    expect([session.state, clientConn.paused]).toEqual([SessionState.Idle, false]);
  });
});
