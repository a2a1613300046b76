/** Where the application called us: a stack without our own frames. Owns the cutting; captures cheaply, formats late. */

const DEPTH = 30;
const SHOWN = 10;

/** The place of this module, as frames show it: the folder of its source file, or the bundle it stands in. */
const OWN = (() => {
  const frame = (new Error().stack ?? '').split('\n')[1] ?? '';
  const path = /\(?((?:file:\/\/)?[^()\s]+):\d+:\d+\)?$/.exec(frame)?.[1] ?? '';
  return path.replace(/trace\.[a-z]+$/, '');
})();

/** Frames are formatted only when somebody reads `stack`. */
export function capture(): Error {
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = DEPTH;
  const error = new Error('trace');
  Error.stackTraceLimit = stackTraceLimit;
  return error;
}

/** The application's frames, a line each; '' without a trace. */
export function framesOf(trace: Error | null): string {
  if (trace?.stack === undefined) return '';
  const frames = trace.stack.split('\n').slice(1);
  const theirs = frames.filter((frame) => !(OWN !== '' && frame.includes(OWN)) && !frame.includes('(node:'));
  return theirs.slice(0, SHOWN).join('\n');
}
