/**
 * Databases that a client wants to itself (session_state = follow or refuse): DROP DATABASE, ALTER DATABASE ... RENAME and CREATE DATABASE ... TEMPLATE
 * are refused while another session is in the database. Who talks to PostgreSQL directly has closed his connections by then; here the servers that
 * served them stay idle. So those of pools without clients are closed, when such a statement is sent and as long as PostgreSQL waits for
 * others to leave. Where there are clients nothing is closed, and PostgreSQL refuses, as it would without a pooler.
 */
import type { Clock } from '../telemetry/clock.ts';
import type { Log } from '../telemetry/log.ts';
import type { ServerPool } from './server-pool.ts';

/** So long PostgreSQL waits for other sessions to leave (CountOtherDBBackends: 50 times 100 ms). */
const PATIENCE_MS = 5_000;

export class Emptying {
  readonly #pools: ReadonlyMap<string, ServerPool>;
  readonly #clock: Clock;
  readonly #log: Log;
  /** Pools of databases that somebody wants to himself, and clock milliseconds until when. */
  readonly #wanted = new Map<ServerPool, number>();

  constructor(pools: ReadonlyMap<string, ServerPool>, clock: Clock, log: Log) {
    this.#pools = pools;
    this.#clock = clock;
    this.#log = log;
  }

  /** A client of this pool is about to send such a statement about databases of these names on its server. */
  begin(of: ServerPool, databases: ReadonlySet<string>): void {
    const until = this.#clock.update() + PATIENCE_MS;
    for (const home of this.#pools.values()) {
      if (!databases.has(databaseOf(home)) || !isSameServer(home, of)) continue;
      this.#wanted.set(home, until);
      this.#empty(home);
    }
  }

  /** For clients that have left meanwhile. */
  tend(): void {
    for (const [home, until] of this.#wanted) {
      if (until <= this.#clock.now) this.#wanted.delete(home);
      else this.#empty(home);
    }
  }

  #empty(home: ServerPool): void {
    if (home.clients > 0 || home.pool.size === 0) return;
    const database = databaseOf(home);
    this.#log.info(
      `closing servers of ${home.name}: no client is there, and one wants database "${database}" to itself`,
    );
    home.pool.retireAll('evicted');
  }
}

function databaseOf({ shape }: ServerPool): string {
  return shape.database.dbname ?? shape.databaseName;
}

function isSameServer(a: ServerPool, b: ServerPool): boolean {
  const [one, other] = [a.shape.database, b.shape.database];
  return one.port === other.port && String(one.hosts) === String(other.hosts);
}
