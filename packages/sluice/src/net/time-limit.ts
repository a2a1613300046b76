/** A timer for something that may take so long; 0 milliseconds, as in the settings: for ever. */
export function timeLimit(ms: number, late: () => void): NodeJS.Timeout | undefined {
  return ms > 0 ? setTimeout(late, ms) : undefined;
}
