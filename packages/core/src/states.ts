/**
 * The life of an entry: its states, the moves allowed between them, and the reasons for which one is closed.
 * Tables only; docs/states.md is generated from them and the simulator reports moves never exercised.
 */

/** States of an entry. Contiguous small integers: they index the pool's lists and the move table. */
export const EntryState = {
  /** The port is dialling; counted against every limit. Leaves by `opened` or `openFailed`. */
  Opening: 0,
  /** Free and clean. Leaves by being linked, checked before use, or closed. */
  Idle: 1,
  /** Held by one holder. Leaves by `release` or `retire`. */
  Linked: 2,
  /** The port proves that it is alive before it is handed out. Leaves by `checked`. */
  Checking: 3,
  /** The port is making it clean. Leaves by `resetDone`. */
  Resetting: 4,
  /** Released, but a cancel request aimed at its last holder's query may still land. Leaves by `cancelsLanded`. */
  CancelWait: 5,
  /** The port was told to close; still counted against limits. Leaves by `closed`. */
  Closing: 6,
  /** Gone. Final. */
  Closed: 7,
} as const;
export type EntryState = (typeof EntryState)[keyof typeof EntryState];

export const ENTRY_STATE_NAMES = [
  'opening',
  'idle',
  'linked',
  'checking',
  'resetting',
  'cancel-wait',
  'closing',
  'closed',
] as const;

/** What each state is for and how an entry leaves it, in one line; for docs/states.md. */
export const ENTRY_STATE_NOTES: readonly string[] = [
  'the port is dialling; leaves by opened or openFailed',
  'free and clean; leaves by being linked, checked before use, or closed',
  'held by one holder; leaves by release or retire',
  'the port proves that it is alive; leaves by checked',
  'the port makes it clean; leaves by resetDone',
  'a cancel request may still land on it; leaves by cancelsLanded',
  'the port was told to close; leaves by closed',
  'gone; final',
];

const { Idle, Linked, Checking, Resetting, CancelWait, Closing, Closed } = EntryState;

/** From each state, the states that may follow. Linked to Linked is the hand-over to the next waiter. */
export const ALLOWED_MOVES: readonly (readonly EntryState[])[] = [
  [Idle, Closing],
  [Linked, Checking, Closing],
  [Linked, Idle, Resetting, CancelWait, Closing],
  [Idle, Closing],
  [Idle, Closing],
  [Idle, Resetting, Closing],
  [Closed],
  [],
];

/** ALLOWED_MOVES as a bit table: `MOVE_BITS[from] & (1 << to)`. */
export const MOVE_BITS: readonly number[] = ALLOWED_MOVES.map((targets) =>
  targets.reduce<number>((bits, to) => bits | (1 << to), 0),
);

/** Why an entry is closed. A closed set, so that it can be counted. */
export const CLOSE_REASONS = [
  'open failed',
  'lifetime over',
  'idle timeout',
  'max uses',
  'evicted',
  'check failed',
  'reset failed',
  'dirty',
  'lost',
  'retired',
  'paused',
  'resized',
  'drained',
  'cancelled',
] as const;
export type CloseReason = (typeof CLOSE_REASONS)[number];

/** Why a waiter ends without an entry. */
export const REFUSALS = ['timeout', 'cancelled', 'queue full', 'pool closed', 'open failed', 'shed'] as const;
export type Refusal = (typeof REFUSALS)[number];

/** What a pool as a whole is doing. */
export const POOL_MODES = ['running', 'paused', 'draining', 'closed'] as const;
export type PoolMode = (typeof POOL_MODES)[number];
