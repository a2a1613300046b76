// When things happen in the outage, in milliseconds, and how long a pool may make a caller wait.
export const TIMES = { everyMs: 2_000, cutMs: 9_000, backMs: 29_000, endMs: 47_000 };
export const TIMEOUT_MS = 5_000;
