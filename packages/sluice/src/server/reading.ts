/** Whether a server is read: not while its holder cannot take more, and not while somebody else has to be done first. */
import type { Conn } from '../net/conn.ts';

export class Reading {
  readonly #conn: Conn;
  #paused = false;
  #holds = 0;

  constructor(conn: Conn) {
    this.#conn = conn;
  }

  /** The holder cannot take more for now. */
  pause(): void {
    this.#set(true, this.#holds);
  }

  resume(): void {
    this.#set(false, this.#holds);
  }

  /** Until as many times `release`. */
  hold(): void {
    this.#set(this.#paused, this.#holds + 1);
  }

  release(): void {
    this.#set(this.#paused, this.#holds - 1);
  }

  #set(paused: boolean, holds: number): void {
    const wasOn = !this.#paused && this.#holds === 0;
    this.#paused = paused;
    this.#holds = holds;
    const isOn = !paused && holds === 0;
    if (wasOn && !isOn) this.#conn.pause();
    if (!wasOn && isOn) this.#conn.resume();
  }
}
