/**
 * For every test file: a warning of Node's (too many listeners, a timeout that overflows, something deprecated) fails the run,
 * as does a rejection that nobody handles, which vitest sees to itself unless it is told otherwise.
 */

/** Harmless, by name and text. */
const HARMLESS: readonly { name: string; message: RegExp }[] = [
  // Of the tests that set legacy and other choices of Diffie-Hellman parameters on purpose.
  { name: 'SecurityWarning', message: /^DH parameter is less than 2048 bits$/ },
];

const INSTALLED = Symbol.for('sluice.strict');
const host = process as NodeJS.Process & { [INSTALLED]?: boolean };

if (host[INSTALLED] !== true) {
  host[INSTALLED] = true;
  process.on('warning', (warning) => {
    if (!HARMLESS.some(({ name, message }) => warning.name === name && message.test(warning.message))) throw warning;
  });
}
