/** From the core's reason for refusing a request to the error its caller gets. Reads an engine, changes nothing. */
import { EntryState, type Refusal } from '@sluice/core';
import type { Engine } from './engine.ts';
import { ConfigNotMade, messageOf, PoolClosed } from './errors.ts';
import { downOrRefused, exhausted } from './report.ts';
import type { Ticket } from './ticket.ts';

/** An error thrown by a connect hook of the application, in its `cause`: it reaches the caller as it is. */
export class HookError extends Error {
  constructor(cause: unknown) {
    super(messageOf(cause), { cause });
  }
}

export function errorOf(engine: Engine, reason: Refusal, ticket: Ticket): unknown {
  const waitedMs = Math.round(engine.clock.now - ticket.since);
  const failure = engine.core.adder.lastError;
  switch (reason) {
    case 'pool closed':
    case 'cancelled':
      return new PoolClosed(engine.name);
    case 'open failed':
      return dialError(engine, failure, waitedMs);
    case 'timeout':
      // Out of patience while the database was down is not the pool's being too small.
      return failure !== null && !engine.settings.compat && engine.core.count(EntryState.Linked) === 0
        ? dialError(engine, failure, waitedMs)
        : exhausted(engine, 'timeout', ticket.patienceMs, ticket.priority);
    case 'queue full':
    case 'shed':
      return exhausted(engine, reason, ticket.patienceMs, ticket.priority);
  }
}

export function dialError(engine: Engine, cause: unknown, waitedMs: number): unknown {
  if (cause instanceof HookError) return cause.cause;
  if (engine.settings.compat) return cause instanceof ConfigNotMade ? cause.cause : cause;
  return downOrRefused(engine, cause, waitedMs);
}
