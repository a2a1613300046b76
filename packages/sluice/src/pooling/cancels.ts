/** A client's cancel request: who it is for, and what becomes of it, in PgBouncer's words. */
import { EntryState } from '@sluice/core';
import { SessionState } from '../client/side.ts';
import { sendCancel } from '../server/cancel.ts';
import { CANCEL_SENT, forwardCancel, withoutTtl } from './peers.ts';
import type { Pooler } from './pooler.ts';

/** Carries the request to the server that runs its client's query; one that runs nothing is let be. `done` gets the outcome. */
export function carryCancel(
  pooler: Pooler,
  processId: number,
  sent: Uint8Array,
  done: (outcome: string) => void,
): void {
  if (forwardCancel(pooler, processId, sent, done)) return;
  const { crypto } = pooler.context;
  const key = withoutTtl(sent);
  const console = pooler.consoles.get(processId);
  if (console !== undefined && crypto.timingSafeEqual(console.cancelKey, key)) {
    console.cancel();
    done('cancel request for console client');
    return;
  }
  const session = pooler.sessions.get(processId);
  if (session === undefined) pooler.predecessor?.cancel(processId, key);
  if (session === undefined || !crypto.timingSafeEqual(session.identity.cancelKey, key)) {
    done(session === undefined && pooler.predecessor !== null ? PASSED_ON : 'failed cancel request');
    return;
  }
  const { server } = session;
  if (server === null || session.state !== SessionState.Linked) {
    const waits = session.state === SessionState.Waiting;
    session.cancelWaiting();
    done(waits ? CANCEL_SENT : 'cancel request for idle client');
    return;
  }
  server.cancels++;
  sendCancel(server.identity, pooler.config.global.cancelWaitTimeoutMs, (error, mayStillLand) => {
    pooler.clock.update();
    server.cancels--;
    const { entry } = server;
    // PostgreSQL may have the request and look at it late: it must find nobody's query but this one's.
    if (mayStillLand) entry.pool.retire(entry, 'cancelled');
    else if (server.cancels === 0 && entry.state === EntryState.CancelWait)
      entry.pool.cancelsLanded(entry, server.resetOwed ? 'reset' : 'clean');
    done(error === null ? CANCEL_SENT : failure(error));
  });
}

const PASSED_ON = 'cancel request passed on to the process before this one';

function failure(error: NodeJS.ErrnoException): string {
  return error.code === 'ETIMEDOUT' ? 'cancel_wait_timeout' : `cancel request failed: ${error.message}`;
}
