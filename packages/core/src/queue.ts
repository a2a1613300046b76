/** The waiters of one pool in the order in which they are served. A port of its own, so that fairness is a policy. */
import { List } from './list.ts';
import type { Waiter } from './waiter.ts';

/** What a pool needs from its queue; all are without side effects but push, remove and served. */
export interface WaitQueue<T> {
  readonly length: number;
  /** Who is served next, or null. */
  readonly head: Waiter<T> | null;
  /** Who has waited longest, or null: the age that the reserve and cross-pool fairness go by. */
  readonly oldest: Waiter<T> | null;
  push(waiter: Waiter<T>): void;
  remove(waiter: Waiter<T>): void;
  /** May a newcomer be served at once while nobody waits? */
  admits(waiter: Waiter<T>): boolean;
  /** How many would be served before a newcomer. */
  ahead(waiter: Waiter<T>): number;
  /** A waiter that was removed has got its entry. */
  served(waiter: Waiter<T>): void;
  [Symbol.iterator](): IterableIterator<Waiter<T>>;
}

/** First in, first out; a higher priority goes before every lower one. */
export class FifoQueue<T> implements WaitQueue<T> {
  readonly #list = new List<Waiter<T>>('waiting');

  get length(): number {
    return this.#list.length;
  }

  get head(): Waiter<T> | null {
    return this.#list.head;
  }

  get oldest(): Waiter<T> | null {
    const head = this.#list.head;
    if (head === null || head.priority === this.#list.tail!.priority) return head;
    let oldest = head;
    for (const waiter of this.#list) if (waiter.since < oldest.since) oldest = waiter;
    return oldest;
  }

  push(waiter: Waiter<T>): void {
    const tail = this.#list.tail;
    if (tail === null || tail.priority >= waiter.priority) {
      this.#list.push(waiter);
      return;
    }
    let before = this.#list.head;
    while (before !== null && before.priority >= waiter.priority) before = this.#list.after(before);
    this.#list.insertBefore(waiter, before);
  }

  remove(waiter: Waiter<T>): void {
    this.#list.remove(waiter);
  }

  admits(): boolean {
    return true;
  }

  ahead(waiter: Waiter<T>): number {
    const tail = this.#list.tail;
    if (tail === null || tail.priority >= waiter.priority) return this.#list.length;
    let count = 0;
    for (const other of this.#list) {
      if (other.priority < waiter.priority) break;
      count++;
    }
    return count;
  }

  served(): void {}

  [Symbol.iterator](): IterableIterator<Waiter<T>> {
    return this.#list[Symbol.iterator]();
  }
}
