/** A recorded conversation, cut at every point and with bytes changed: the relay must come to the same end, or refuse. */
import * as wire from '@sluice/wire';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { feed, makeServer, makeSession } from '../../../../test/support/fake-session.ts';
import { Tx } from '../server/holder.ts';
import type { Server } from '../server/server.ts';
import { SessionState } from './side.ts';

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
