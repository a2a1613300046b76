/** Timers for times that may be for ever. */

/** setTimeout's longest delay: beyond it a timer would fire at once. */
export const LONGEST_MS = 2_147_483_647;

/** As setTimeout; no timer at all for a time that it cannot measure (24 days and more, Infinity). */
export function after(ms: number, callback: () => void): NodeJS.Timeout | undefined {
  return ms > LONGEST_MS ? undefined : setTimeout(callback, ms);
}

/** What the work comes to, or this error when it takes longer. The work itself is not stopped. */
export function within<T>(work: Promise<T>, ms: number, late: () => Error): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = after(ms, () => reject(late()));
    work.finally(() => clearTimeout(timer)).then(resolve, reject);
  });
}
