/** Whether a socket is read: as its owner last wanted, unless it is held (SUSPEND). */
import type { Socket } from 'node:net';

export class ReadGate {
  readonly #socket: Socket;
  #wantsPause = false;
  #held = false;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  get open(): boolean {
    return !this.#wantsPause && !this.#held;
  }

  pause(): void {
    this.#wantsPause = true;
    this.#socket.pause();
  }

  resume(): void {
    this.#wantsPause = false;
    if (!this.#held) this.#socket.resume();
  }

  hold(held: boolean): void {
    this.#held = held;
    if (held) this.#socket.pause();
    else if (!this.#wantsPause) this.#socket.resume();
  }
}
