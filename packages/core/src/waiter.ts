/** A queued request. Reusable: an owner keeps one and hands it in again after it has ended. */
import type { Entry } from './entry.ts';
import { ListNode } from './list.ts';
import type { Refusal } from './states.ts';

/** Who asked. Called exactly once for each `acquire` that returned null, outside any transition. */
export interface WaiterOwner<T> {
  served(entry: Entry<T>, waiter: Waiter<T>): void;
  refused(reason: Refusal, waiter: Waiter<T>): void;
}

export class Waiter<T> extends ListNode {
  readonly owner: WaiterOwner<T>;
  /** Environment milliseconds at which it was queued; meaningful while waiting. */
  since = 0;
  /** Environment milliseconds at which it is refused with 'timeout'; Infinity: never. Set before `acquire`. */
  deadline = Number.POSITIVE_INFINITY;
  /** Higher is served first; equal ones in order of arrival. Set before `acquire`. */
  priority = 0;
  /** For weighted fairness between tenants of one pool; '' = no tenant. Set before `acquire`. */
  tenant = '';

  constructor(owner: WaiterOwner<T>) {
    super();
    this.owner = owner;
  }

  get waiting(): boolean {
    return this.list !== null;
  }
}
