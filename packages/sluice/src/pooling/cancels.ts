/** A client's cancel request: who it is for, and what becomes of it, in PgBouncer's words. */
import { EntryState } from '@sluice/core';
import { type Session, SessionState } from '../client/side.ts';
import type { Server } from '../server/server.ts';
import type { Caller } from './caller.ts';
import { CANCEL_SENT, type CancelErrand } from './cancel-queue.ts';
import { onward, ownerOf, withoutTtl } from './peers.ts';
import type { Pooler } from './pooler.ts';
import type { ServerPool } from './server-pool.ts';

/**
 * Carries the request to the server that runs its client's query; one that runs nothing is let be. `caller` has brought it, if it
 * came by a connection of its own. `done` gets the outcome.
 */
export function carryCancel(
  pooler: Pooler,
  processId: number,
  sent: Uint8Array,
  caller: Caller | null,
  done: (outcome: string) => void,
): void {
  const { predecessor } = pooler;
  const isHere = pooler.sessions.get(processId) !== undefined || pooler.consoles.has(processId);
  const owner = ownerOf(pooler.config, processId);
  const asked =
    !isHere && (owner === null || predecessor?.isPgBouncer) ? predecessor?.cancel(processId, sent) : undefined;
  if (owner !== null) {
    forward(pooler, owner, processId, sent, caller, done);
    return;
  }
  const { crypto } = pooler.context;
  const key = withoutTtl(sent);
  const console = pooler.consoles.get(processId);
  if (console !== undefined && crypto.timingSafeEqual(console.cancelKey, key)) {
    console.cancel();
    done('cancel request for console client');
    return;
  }
  const session = pooler.sessions.get(processId);
  if (session === undefined) pooler.strays.add(processId, sent);
  if (session === undefined || !crypto.timingSafeEqual(session.identity.cancelKey, key)) {
    if (session !== undefined || asked === undefined) {
      done('failed cancel request');
      return;
    }
    // Whoever sees the connection close takes it that nothing comes of the request any more.
    void asked.then((found) => (found ? undefined : lookFor(pooler, processId, sent))).then(() => done(PASSED_ON));
    return;
  }
  const { server } = session;
  if (server === null || session.state !== SessionState.Linked) {
    const waits = session.state === SessionState.Waiting;
    session.cancelWaiting();
    done(waits ? CANCEL_SENT : 'cancel request for idle client');
    return;
  }
  const home = session.home as ServerPool;
  if (caller !== null) caller.database = home.database;
  home.cancels.add(errand(pooler, session, server, caller, done));
}

const PASSED_ON = 'cancel request passed on to the process before this one';

/**
 * When it is looked for a session that comes from the process before this one: its query may be in the socket yet. After that it is let be,
 * since what it asks by then is something else.
 */
const LOOKS_MS: readonly number[] = [0, 10, 30, 60];

/** Carries a request that found nobody (strays.ts), when its session is here and asks something. Resolves when nothing comes of it any more. */
export async function lookFor(pooler: Pooler, processId: number, sent: Uint8Array): Promise<void> {
  for (const waitMs of LOOKS_MS) {
    await new Promise((resolve) => setTimeout(resolve, waitMs));
    const state = pooler.sessions.get(processId)?.state ?? SessionState.Idle;
    if (state === SessionState.Idle) continue;
    return new Promise((resolve) => carryCancel(pooler, processId, sent, null, () => resolve()));
  }
}

/** It is meant for what the server does for the session now, and for nothing that it does after they have parted. */
function errand(
  pooler: Pooler,
  session: Session,
  server: Server,
  caller: Caller | null,
  done: (outcome: string) => void,
): CancelErrand {
  const { entry } = server;
  const { generation } = entry;
  return {
    to: server.identity,
    timeoutMs: pooler.config.global.cancelWaitTimeoutMs,
    isWanted: () =>
      session.server === server && session.state === SessionState.Linked && entry.generation === generation,
    sending() {
      server.cancels++;
      caller?.becomes('active_cancel_req', pooler.clock.update());
    },
    done(outcome, wasSent, mayStillLand) {
      pooler.clock.update();
      if (wasSent) server.cancels--;
      // PostgreSQL may have the request and look at it late: it must find nobody's query but this one's.
      if (mayStillLand) entry.pool.retire(entry, 'cancelled');
      else if (server.cancels === 0 && entry.state === EntryState.CancelWait)
        entry.pool.cancelsLanded(entry, server.resetOwed ? 'reset' : 'clean');
      done(outcome);
    },
  };
}

/** Sends the request on to the process that its session lives in. */
function forward(
  pooler: Pooler,
  owner: number,
  processId: number,
  key: Uint8Array,
  caller: Caller | null,
  done: (outcome: string) => void,
): void {
  const peer = pooler.config.peers.get(owner);
  const cancelKey = onward(key);
  if (peer === undefined || cancelKey === null) {
    done(
      peer === undefined
        ? `failed cancel request: there is no peer ${owner}`
        : 'failed to forward cancel request because its TTL was exhausted',
    );
    return;
  }
  const { names } = pooler.context;
  pooler.peerCancels(owner).add({
    to: { processId, cancelKey, host: peer.host, port: peer.port, names, tls: null },
    timeoutMs: pooler.config.global.cancelWaitTimeoutMs,
    isWanted: () => true,
    sending() {
      caller?.becomes('active_cancel_req', pooler.clock.update());
    },
    done(outcome) {
      if (outcome !== CANCEL_SENT) pooler.log.warn(`cancel request could not be sent on to peer ${owner}: ${outcome}`);
      done(outcome);
    },
  });
}
