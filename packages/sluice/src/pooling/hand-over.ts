/**
 * The old process's half of a take-over (-R): passes on its listening sockets, then its connections as they come to rest: a client
 * between two transactions, a server that is idle. Nothing is held up for it, so no query waits and none is lost. What cannot
 * be passed stays here to its end: TLS connections, whose keys are in this process, clients in session mode with their server,
 * pinned and replicating ones.
 */
import { EntryState } from '@sluice/core';
import type { ClientSession } from '../client/session.ts';
import type { Session } from '../client/side.ts';
import type { DescriptorSender } from '../net/descriptors.ts';
import { PARCEL_BYTES } from '../net/descriptors.ts';
import type { Listener } from '../net/listen.ts';
import type { Server } from '../server/server.ts';
import { isAtRest, isSpare, letClientGo, letServerGo } from './at-rest.ts';
import {
  type ClientParcel,
  encodeParcel,
  type ParcelContent,
  type ServerParcel,
  storeCredentials,
  storeParameters,
  storeSettings,
  toBase64,
} from './parcels.ts';
import type { Pooler } from './pooler.ts';
import type { ServerPool } from './server-pool.ts';

/** What one step came to. */
export interface HandedOver {
  /** Connections passed on by it. */
  readonly moved: number;
  /** Clients that are here still. */
  readonly left: number;
  /** The number of the last session: the successor's come after it. */
  readonly processIds: number;
  /** Requests to cancel that found nobody here (strays.ts). */
  readonly strays: readonly string[];
}

/** May it fit into one parcel, by what it has prepared? To pack that in vain, step by step, would hold everybody up. */
function mayFit({ statements }: Session): boolean {
  let bytes = 0;
  for (const [name, { tail }] of statements.entries()) {
    bytes += name.length + tail.length;
    if (bytes > PARCEL_BYTES) return false;
  }
  return true;
}

export class HandOver {
  readonly #pooler: Pooler;
  readonly #sender: DescriptorSender;

  constructor(pooler: Pooler, sender: DescriptorSender) {
    this.#pooler = pooler;
    this.#sender = sender;
  }

  /** From now on nobody opens servers for their own sake. */
  begin(): void {
    for (const pool of this.#pooler.pools.values()) pool.winDown();
  }

  /** Passes a listening socket on. Throws when it cannot be. */
  listener({ target: { host, unix }, port, fd }: Listener): void {
    const content = { kind: 'listener', host, port, unix } as const;
    if (!this.#sender.send({ text: encodeParcel(content), fd })) throw new Error('the successor does not take it');
  }

  /** Passes on what is at rest now, as much of it as the successor takes at once. Throws when the successor is gone. */
  step(): HandedOver {
    const { sessions, pools } = this.#pooler;
    let moved = 0;
    // Servers first: the successor's clients then need no new ones.
    for (const pool of pools.values())
      for (const entry of [...pool.pool.lists[EntryState.Idle]!]) {
        const done = this.#server(pool, entry.value!);
        if (done === null) return this.#stepped(moved);
        if (done) moved++;
      }
    for (const session of [...sessions.values()]) {
      const done = this.#client(session);
      if (done === null) break;
      if (done) moved++;
    }
    return this.#stepped(moved);
  }

  #stepped(moved: number): HandedOver {
    const { sessions, loggingIn, processIds, strays } = this.#pooler;
    return { moved, left: sessions.size + loggingIn, processIds, strays: strays.take() };
  }

  close(): void {
    this.#sender.close();
  }

  /** True: passed on. False: it stays for now. Null: the successor takes no more at the moment. */
  #client(session: Session): boolean | null {
    if (!isAtRest(session) || !mayFit(session)) return false;
    const sent = this.#send(this.#clientParcel(session), session.conn.fd);
    if (sent !== true) return sent;
    letClientGo(session);
    return true;
  }

  #clientParcel(session: ClientSession): ClientParcel {
    const { identity, conn, statements, base, settings } = session;
    const { user: role } = session.home as ServerPool;
    const now = this.#pooler.clock.update();
    return {
      kind: 'client',
      database: identity.database,
      user: identity.user,
      processId: identity.processId,
      cancelKey: toBase64(identity.cancelKey),
      unixPort: conn.remote.unix ? conn.remote.port : -1,
      parameters: storeParameters(session.parameters),
      base: storeSettings(base),
      settings: storeSettings(settings),
      statements: [...statements.entries()].map(([name, { tail }]) => [name, toBase64(tail)]),
      connectedMs: now - session.connectedAt,
      requestedMs: now - session.requestedAt,
      credentials: storeCredentials(role.secret, role.scramKeys),
    };
  }

  #server(pool: ServerPool, server: Server): boolean | null {
    if (!isSpare(pool, server)) return false;
    const sent = this.#send(this.#serverParcel(pool, server), server.conn.fd);
    if (sent !== true) return sent;
    letServerGo(server);
    return true;
  }

  #serverParcel(pool: ServerPool, server: Server): ServerParcel {
    const { identity, conn } = server;
    return {
      kind: 'server',
      database: pool.database,
      role: pool.user.name,
      processId: identity.processId,
      cancelKey: toBase64(identity.cancelKey),
      host: identity.host,
      port: identity.port,
      address: identity.address ?? null,
      unixPort: conn.remote.unix ? conn.remote.port : -1,
      parameters: storeParameters(server.parameters),
      startParameters: storeParameters(pool.welcome!.parameters),
      settings: storeSettings(server.settings),
      reported: [...pool.welcome!.reported],
      connectedMs: this.#pooler.clock.update() - server.connectedAt,
    };
  }

  #send(content: ParcelContent, fd: number): boolean | null {
    const text = encodeParcel(content);
    if (Buffer.byteLength(text) > PARCEL_BYTES) return false;
    return this.#sender.send({ text, fd }) || null;
  }
}
