/** A session and a server without a network: what is written is kept, what arrives is fed in pieces. */
import { type Entry, FifoQueue } from '../../packages/core/src/index.ts';
import { SeenTexts } from '../../packages/sluice/src/client/auto-prepared.ts';
import { type ClientHome, type ClientRegistry, Keeping } from '../../packages/sluice/src/client/home.ts';
import { ClientSession } from '../../packages/sluice/src/client/session.ts';
import type { Conn, ConnHandler } from '../../packages/sluice/src/net/conn.ts';
import type { ServerHolder } from '../../packages/sluice/src/server/holder.ts';
import { Server } from '../../packages/sluice/src/server/server.ts';
import { StatementStore } from '../../packages/sluice/src/server/statements.ts';
import { Classifier } from '../../packages/sluice/src/sql/classifier.ts';
import { Clock } from '../../packages/sluice/src/telemetry/clock.ts';
import { Traffic } from '../../packages/sluice/src/telemetry/traffic.ts';
import * as wire from '../../packages/wire/src/index.ts';

export class FakeConn implements Conn {
  handler: ConnHandler = { onData() {}, onDrain() {}, onClose() {} };
  queued = 0;
  get full(): boolean {
    return this.queued > 0;
  }
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

export const names = new wire.ParameterNames();
const identity = { user: 'alice', id: 1, processId: 1, cancelKey: new Uint8Array(4), host: 'x', port: 1, tls: null };

export class Collector implements ServerHolder {
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

/** A server that is held. */
export function makeServer(): { server: Server; holder: Collector; conn: FakeConn } {
  const conn = new FakeConn();
  const watcher = {
    answerMs: 0,
    maxPacketSize: 2_147_483_647,
    serverClosed() {},
    connectionBroke() {},
    failedItself() {},
    unaskedMessage() {},
  };
  const entry = {} as Entry<Server>;
  const server = new Server(conn, entry, identity, new wire.Parameters(names), watcher, new StatementStore(), 0);
  const holder = new Collector();
  server.holder = holder;
  return { server, holder, conn };
}

/** Hands bytes over in pieces. */
export const feed = (handler: ConnHandler, bytes: Uint8Array, cuts: readonly number[]) => {
  const edges = [0, ...[...cuts].sort((a, b) => a - b), bytes.length];
  for (let i = 1; i < edges.length; i++) {
    const chunk = Buffer.from(bytes.subarray(edges[i - 1], edges[i]));
    if (chunk.length === 0) continue;
    handler.onData(chunk, 0, chunk.length);
    // What was handed over is valid during the call only.
    chunk.fill(0xee);
  }
};

/** A client's session in transaction mode whose pool has one server. */
export function makeSession(keeping: Keeping = Keeping.Follow): {
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
    prepareThreshold: 0,
    keeping,
    resetAlways: false,
    waitDeadline: () => Number.POSITIVE_INFINITY,
  } as unknown as ClientHome;
  const registry = {
    statements: new StatementStore(),
    classifier: new Classifier(),
    seenTexts: new SeenTexts(),
    maxPacketSize: 1 << 20,
    refuseWork: () => null,
    sessionWaits() {},
    warn() {},
    fault() {},
    sessionEnds() {},
    sessionClosed() {},
    serverLostByClient() {},
    wantsAlone() {},
    stopServer: (server: Server, reason: string) => server.close(reason),
    report(error: Error) {
      throw error;
    },
    describeRefusal: () => ({ message: 'x', sqlState: '08P01' }),
  } as unknown as ClientRegistry;
  const clientConn = new FakeConn();
  const who = { id: 1, user: 'u', database: 'd', cancelKey: new Uint8Array(4), processId: 1 };
  const session = new ClientSession(clientConn, who, home, registry, new wire.Parameters(names), new Clock());
  return { session, serverConn, clientConn };
}
