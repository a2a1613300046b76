/**
 * The files of Unix sockets that are listened on: where somebody has removed one (a cleaner of /tmp, a PgBouncer at its end whose
 * place was taken), nobody could connect there any more, so it is made again. Owns when that is looked for.
 */
import type { Listener } from '../net/listen.ts';
import type { Log } from '../telemetry/log.ts';

/** A file may be missing for so long. */
const LOOK_EVERY_MS = 2_000;

export class SocketKeeper {
  readonly #listeners: readonly Listener[];
  readonly #listenAgain: (lost: Listener) => Promise<void>;
  readonly #log: Log;
  #timer: NodeJS.Timeout | null = null;
  /** Those that could not be had again, which was said. */
  readonly #told = new WeakSet<Listener>();

  /** `listenAgain`: makes a new one in the place of one whose file is gone. Rejects with the system's error; then it is asked to later. */
  constructor(listeners: readonly Listener[], listenAgain: (lost: Listener) => Promise<void>, log: Log) {
    this.#listeners = listeners;
    this.#listenAgain = listenAgain;
    this.#log = log;
  }

  start(): void {
    this.#timer ??= setTimeout(() => void this.#look(), LOOK_EVERY_MS).unref();
  }

  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  async #look(): Promise<void> {
    const timer = this.#timer;
    for (const listener of this.#listeners.filter(({ isLost }) => isLost)) {
      const path = listener.target.host;
      if (!this.#told.has(listener))
        this.#log.warn(`the file of unix socket ${path} was removed, listening there again`);
      try {
        await this.#listenAgain(listener);
      } catch (error) {
        const { message } = error as Error;
        if (!this.#told.has(listener))
          this.#log.error(
            `cannot listen on unix socket ${path}: ${message}; trying again every ${LOOK_EVERY_MS / 1000} s`,
          );
        this.#told.add(listener);
      }
    }
    // Stopped meanwhile?
    if (this.#timer !== timer || timer === null) return;
    this.#timer = null;
    this.start();
  }
}
