/** Which of a database's hosts the next connection goes to (load_balance_hosts). */
import type { PoolShape } from './pool-shape.ts';

export class HostTurn {
  #next = 0;
  /** The place in the row of hosts whose dial failed last; -1: none has. */
  #failed = -1;

  /** Without any host, the Unix socket. */
  next({ database, unixSocketDir }: PoolShape): string {
    const { hosts, loadBalanceHosts } = database;
    if (hosts.length === 0) return unixSocketDir;
    if (loadBalanceHosts === 'round-robin') return hosts[this.#next++ % hosts.length]!;
    // Always the same one, until a dial fails.
    if (this.#failed === this.#next) this.#next++;
    return hosts[this.#next % hosts.length]!;
  }

  failed(): void {
    this.#failed = this.#next;
  }
}
