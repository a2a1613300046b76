/** Listeners that a lease's holder has put on its client, or on what is behind it: they go with the lease. */
import type { EventEmitter } from 'node:events';

type Listener = (this: unknown, ...args: unknown[]) => unknown;
export type AddMethod = 'on' | 'addListener' | 'once' | 'prependListener' | 'prependOnceListener';
/** `listener`: as Node marks what stands for another, so that `off` and `listeners` know it by that. */
type Guest = Listener & { listener?: Listener };

interface Stay {
  readonly host: EventEmitter;
  readonly event: string | symbol;
  readonly guest: Guest;
}

/** So many listeners of one lease later it is looked which are there still. */
const MANY = 64;

export class Guests {
  #stays: Stay[] = [];
  #many = MANY;

  /** As one of its own: another's that is the same function is not to be taken for it. */
  add(host: EventEmitter, method: AddMethod, event: string | symbol, listener: Listener): void {
    const isOnce = method === 'once' || method === 'prependOnceListener';
    const guest: Guest = function (this: unknown, ...args) {
      if (isOnce) host.removeListener(event, guest);
      return listener.apply(this, args);
    };
    guest.listener = listener;
    host[method === 'prependListener' || method === 'prependOnceListener' ? 'prependListener' : 'on'](event, guest);
    // Those called once, or taken off, are gone already.
    if (this.#stays.length >= this.#many) {
      this.#stays = this.#stays.filter((each) => each.host.rawListeners(each.event).includes(each.guest));
      this.#many = 2 * Math.max(this.#stays.length, MANY);
    }
    this.#stays.push({ host, event, guest });
  }

  /** Those of this emitter; of one event, or of all. */
  remove(host: EventEmitter, event?: string | symbol): void {
    for (const stay of this.#stays)
      if (stay.host === host && (event === undefined || stay.event === event))
        host.removeListener(stay.event, stay.guest);
  }

  removeAll(): void {
    if (this.#stays.length === 0) return;
    for (const { host, event, guest } of this.#stays) host.removeListener(event, guest);
    this.#stays = [];
    this.#many = MANY;
  }
}
