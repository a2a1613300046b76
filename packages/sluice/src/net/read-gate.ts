/** Whether a socket is read: as its owner last wanted, unless it is held (SUSPEND). */

/** What it opens and shuts. */
export interface Gated {
  setReading(on: boolean): void;
}

export class ReadGate {
  readonly #gated: Gated;
  #wantsPause = false;
  #held = false;

  constructor(gated: Gated) {
    this.#gated = gated;
  }

  get open(): boolean {
    return !this.#wantsPause && !this.#held;
  }

  pause(): void {
    this.#wantsPause = true;
    this.#gated.setReading(false);
  }

  resume(): void {
    this.#wantsPause = false;
    if (!this.#held) this.#gated.setReading(true);
  }

  hold(held: boolean): void {
    this.#held = held;
    if (held) this.#gated.setReading(false);
    else if (!this.#wantsPause) this.#gated.setReading(true);
  }
}
