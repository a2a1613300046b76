/**
 * Being taken over (-R): first the successor gets the listening sockets, which both processes accept from then on; when it asks
 * for more it serves, and this process stops accepting and hands over its connections, step by step.
 */
import { DescriptorSender } from '../net/descriptors.ts';
import type { Listener } from '../net/listen.ts';
import { type HandedOver, HandOver } from '../pooling/hand-over.ts';
import type { Pooler } from '../pooling/pooler.ts';

export class Succession {
  /** The successor accepts connections, and this process does not any more. */
  begun = false;
  /** The successor's. */
  readonly path: string;
  readonly #pooler: Pooler;
  readonly #handOver: HandOver;
  readonly #listeners: readonly Listener[];

  /** Throws when the successor cannot be reached at this path. */
  constructor(pooler: Pooler, path: string, listeners: readonly Listener[]) {
    this.#pooler = pooler;
    this.#handOver = new HandOver(pooler, new DescriptorSender(path));
    this.path = path;
    this.#listeners = listeners;
    for (const listener of listeners) if (!listener.released) this.#handOver.listener(listener);
  }

  /** Throws when the successor is gone. */
  step(): HandedOver {
    if (!this.begun) {
      this.begun = true;
      this.#handOver.begin();
      this.#pooler.strays.keep();
      for (const listener of this.#listeners) if (!listener.released) listener.release();
    }
    return this.#handOver.step();
  }

  close(): void {
    this.#handOver.close();
  }
}
