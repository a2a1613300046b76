/** Virtual time: events in order of their moment, equal ones in order of their making. Nothing here waits. */

interface Event {
  at: number;
  order: number;
  run: () => void;
}

export class VirtualClock {
  now = 0;
  #order = 0;
  /** Binary heap, soonest first. */
  readonly #heap: Event[] = [];

  get pending(): number {
    return this.#heap.length;
  }

  after(delay: number, run: () => void): void {
    this.#heap.push({ at: this.now + delay, order: this.#order++, run });
    let child = this.#heap.length - 1;
    while (child > 0) {
      const parent = (child - 1) >> 1;
      if (sooner(this.#heap[parent]!, this.#heap[child]!)) break;
      this.#swap(parent, child);
      child = parent;
    }
  }

  /** Runs the soonest event. False: there is none. */
  step(): boolean {
    const first = this.#heap[0];
    if (first === undefined) return false;
    const last = this.#heap.pop()!;
    if (this.#heap.length > 0) {
      this.#heap[0] = last;
      this.#sink();
    }
    this.now = first.at;
    first.run();
    return true;
  }

  #sink(): void {
    for (let parent = 0; ; ) {
      let least = parent;
      for (const child of [2 * parent + 1, 2 * parent + 2])
        if (child < this.#heap.length && sooner(this.#heap[child]!, this.#heap[least]!)) least = child;
      if (least === parent) return;
      this.#swap(parent, least);
      parent = least;
    }
  }

  #swap(a: number, b: number): void {
    [this.#heap[a], this.#heap[b]] = [this.#heap[b]!, this.#heap[a]!];
  }
}

function sooner(a: Event, b: Event): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}
