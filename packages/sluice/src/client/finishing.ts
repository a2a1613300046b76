/**
 * What becomes of a server whose client leaves before all was answered. One that has said goodbye leaves it to be finished: what it was asked is
 * answered here, to nobody, as PostgreSQL itself comes to a Terminate when it is done with what came before it. Applications that
 * close their connection on an error do it all the time: the error is there, ReadyForQuery is not yet, and a new server would cost more than the wait.
 */
import type { ServerHolder } from '../server/holder.ts';
import type { Server } from '../server/server.ts';

/** Longer answers are worth no wait: the server is closed. */
const FINISH_MS = 1_000;

export interface Outcome {
  /** It has answered everything. */
  release(): void;
  /** What it does is of use to nobody: PostgreSQL is asked to stop it. */
  stop(reason: string): void;
  /** It is the pool's no more. After `stop`, or when it was closed. */
  discard(): void;
}

/** `saidGoodbye`: by Terminate, while it had the server for itself. Any other client's query is stopped; one that said goodbye is let run to its end. */
export function partWith(server: Server, reason: string, saidGoodbye: boolean, outcome: Outcome): void {
  const unready = / timeout$/.test(reason) ? reason : 'client disconnect while server was not ready';
  const close = () => {
    server.holder = null;
    if (!saidGoodbye && server.queue.length > 0) outcome.stop(unready);
    else server.close(unready);
    outcome.discard();
  };
  if (saidGoodbye && canFinish(server)) finish(server, outcome, close);
  else close();
}

/** Only ReadyForQuery can come last: neither a copy nor a transaction of the extended protocol is left without its end. */
function canFinish({ queue, closedBecause, copyBoth }: Server): boolean {
  if (closedBecause !== null || copyBoth || queue.length === 0) return false;
  return !queue.copyIn && !queue.untrusted && !queue.syncMissing;
}

/** Takes the place of the client that has left. */
function finish(server: Server, outcome: Outcome, close: () => void): void {
  const timer = setTimeout(close, FINISH_MS).unref();
  server.holder = {
    relay() {},
    keepRelayed() {},
    answerDue() {},
    exchangeEnded() {},
    errorRelayed: () => true,
    planRejected: () => false,
    discarded() {},
    parameterChanged() {},
    serverScanned() {
      if (!server.settled || server.closedBecause !== null) return;
      clearTimeout(timer);
      server.changesHands();
      // Nobody has looked at what was left in the session.
      server.discardOwed = true;
      outcome.release();
    },
    serverLost: () => clearTimeout(timer),
    serverDrained() {},
  } satisfies ServerHolder;
  // The client may have read too slowly.
  server.reading.resume();
}
