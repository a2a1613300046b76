/**
 * The sessions of the process, by the process number that their clients were given. No Map: one whose entries come and go leaves old
 * tables behind, each of which keeps alive what stood in it, and that was half of the cost of a login.
 */
import type { Session } from '../client/side.ts';

const FEWEST = 64;

export class SessionTable {
  #sessions: Session[] = [];
  /** Process numbers, in the order of the sessions; 0 behind them. */
  #numbers = new Int32Array(FEWEST);

  get size(): number {
    return this.#sessions.length;
  }

  get(processId: number): Session | undefined {
    return this.#sessions[this.#numbers.indexOf(processId)];
  }

  has(processId: number): boolean {
    return this.get(processId) !== undefined;
  }

  /** Its number is in use by nobody else, and not 0. */
  add(session: Session): void {
    const { length } = this.#sessions;
    if (length === this.#numbers.length) {
      const more = new Int32Array(length * 2);
      more.set(this.#numbers);
      this.#numbers = more;
    }
    this.#numbers[length] = session.identity.processId;
    this.#sessions.push(session);
  }

  /** The last one takes its place. */
  delete(processId: number): void {
    const index = this.#numbers.indexOf(processId);
    const last = this.#sessions.length - 1;
    if (index < 0 || last < 0) return;
    this.#numbers[index] = this.#numbers[last]!;
    this.#numbers[last] = 0;
    const session = this.#sessions.pop()!;
    if (index < last) this.#sessions[index] = session;
  }

  /** From the last to the first, so that the one that was just visited may leave. Those that come meanwhile are not visited. */
  *values(): IterableIterator<Session> {
    for (let i = this.#sessions.length - 1; i >= 0; i--) {
      const session = this.#sessions[i];
      if (session !== undefined) yield session;
    }
  }
}
