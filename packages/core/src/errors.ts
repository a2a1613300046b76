/** Coded errors of the core. A stale handle is a bug of its holder and must never touch the next holder's connection. */

export class StaleEntryError extends Error {
  readonly code = 'SLUICE_STALE_ENTRY';

  constructor(pool: string, entry: number, given: number, actual: number) {
    super(
      `pool "${pool}": entry ${entry} was released or lost already (handle generation ${given}, now ${actual}); ` +
        'use the handle only between its acquire and its release',
    );
    this.name = 'StaleEntryError';
  }
}

/** An invariant does not hold: a bug in the pool or its port, never a condition of operation. */
export class InvariantError extends Error {
  readonly code = 'SLUICE_INVARIANT';

  constructor(message: string) {
    super(`bug: ${message}`);
    this.name = 'InvariantError';
  }
}
