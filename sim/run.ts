/** Runs schedules by seed and says which failed, how to replay them, and which moves no schedule made. */
import { ALLOWED_MOVES, ENTRY_STATE_NAMES, PoolStats } from '@sluice/core';
import { type Moves, World } from './world.ts';

export interface Failure {
  seed: number;
  message: string;
  trace: readonly string[];
}

export interface Report {
  schedules: number;
  failures: Failure[];
  /** Allowed moves that no schedule made, as "idle → linked", and reasons for which nobody was refused and nothing closed. */
  neverMoved: string[];
}

/** Runs seeds from `first` on until `count` are done or `until` says stop. */
export function simulate(first: number, count: number, until: () => boolean = () => false): Report {
  const moves: Moves = new Set();
  const failures: Failure[] = [];
  let schedules = 0;
  for (let seed = first; seed < first + count && !until(); seed++) {
    schedules++;
    const failure = runSeed(seed, moves);
    if (failure !== null) failures.push(failure);
    if (failures.length >= 5) break;
  }
  return { schedules, failures, neverMoved: neverMoved(moves) };
}

export function runSeed(seed: number, moves: Moves): Failure | null {
  const world = new World(seed, moves);
  try {
    world.run();
    return null;
  } catch (error) {
    return {
      seed,
      message: error instanceof Error ? `${error.message}\n${error.stack}` : String(error),
      trace: world.trace,
    };
  }
}

function neverMoved(moves: Moves): string[] {
  const { refused, closed } = new PoolStats();
  const reasons = [...Object.keys(refused), ...Object.keys(closed)].filter((reason) => !moves.has(reason));
  return [...reasons, ...neverMade(moves)];
}

function neverMade(moves: Moves): string[] {
  return ALLOWED_MOVES.flatMap((targets, from) =>
    targets
      .filter((to) => !moves.has(`${from}>${to}`))
      .map((to) => `${ENTRY_STATE_NAMES[from]} → ${ENTRY_STATE_NAMES[to]}`),
  );
}
