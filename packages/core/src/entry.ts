/** One connection as the core sees it: a state, its timestamps and a generation. Knows nothing of what it connects. */
import { ListNode } from './list.ts';
import type { Pool } from './pool.ts';
import { type CloseReason, EntryState } from './states.ts';

let ids = 0;

export class Entry<T> extends ListNode {
  readonly pool: Pool<T>;
  /** Unique inside the process, ascending. */
  readonly id: number;
  /** What the port keeps with it; set by the port in `open`. */
  value: T | null = null;
  state: EntryState = EntryState.Opening;
  /** Rises at every hand-out and every release: a handle with an older number is stale. */
  generation = 0;
  /** Environment milliseconds. */
  createdAt: number;
  stateSince: number;
  /** End of life, jitter included; Infinity without a lifetime. */
  expiresAt = Number.POSITIVE_INFINITY;
  /** End of its last use, or when it was opened: what the idle timeout goes by. */
  lastUsedAt: number;
  /** When it was last known to be alive (opened, released, checked): what the check delay goes by. */
  provenAt: number;
  uses = 0;
  /** Set by `retire`: close at the next release. */
  retiring: CloseReason | null = null;
  closeReason: CloseReason | null = null;

  constructor(pool: Pool<T>, now: number) {
    super();
    this.pool = pool;
    this.id = ++ids;
    this.createdAt = now;
    this.stateSince = now;
    this.lastUsedAt = now;
    this.provenAt = now;
  }
}
