/**
 * Databases that a client wants to itself (session_state = follow or refuse): DROP DATABASE, ALTER DATABASE ... RENAME and CREATE DATABASE ... TEMPLATE
 * are refused while another session is in the database. Who talks to PostgreSQL directly has closed his connections by then; here the servers that
 * served them stay idle. So where PostgreSQL does not answer at once, which is when it waits for others to leave, the idle servers of pools without
 * clients are closed. Where there are clients nothing is closed, and PostgreSQL refuses, as it would without a pooler.
 */
import { EntryState } from '@sluice/core';
import type { Session } from '../client/side.ts';
import type { Clock } from '../telemetry/clock.ts';
import type { Log } from '../telemetry/log.ts';
import type { ServerPool } from './server-pool.ts';

/** So long PostgreSQL waits for other sessions to leave (CountOtherDBBackends: 50 times 100 ms). */
const PATIENCE_MS = 5_000;

interface Wish {
  readonly databases: ReadonlySet<string>;
  readonly since: number;
  /** It was looked at, unanswered. The answer of who may not do it may come in that moment, or be here unread: by the next look it is known. */
  isOld: boolean;
}

export class Emptying {
  readonly #pools: ReadonlyMap<string, ServerPool>;
  readonly #clock: Clock;
  readonly #log: Log;
  /** Whose statement may be waiting. */
  readonly #wishes = new Map<Session, Wish>();

  constructor(pools: ReadonlyMap<string, ServerPool>, clock: Clock, log: Log) {
    this.#pools = pools;
    this.#clock = clock;
    this.#log = log;
  }

  /** A client is about to send such a statement about databases of these names on its server. */
  begin(session: Session, databases: ReadonlySet<string>): void {
    this.#wishes.set(session, { databases, since: this.#clock.update(), isOld: false });
  }

  /** Three times a second: who may not do it, or has no need, has been answered by now, and no server is closed for that. */
  tend(): void {
    for (const [session, wish] of this.#wishes) {
      const { databases, since } = wish;
      const { queryAt, server } = session;
      const isAnswered = queryAt === 0 || queryAt > since || server === null;
      if (isAnswered || this.#clock.now - since > PATIENCE_MS) this.#wishes.delete(session);
      else if (wish.isOld) this.#empty(session.home as ServerPool, databases);
      else wish.isOld = true;
    }
  }

  #empty(of: ServerPool, databases: ReadonlySet<string>): void {
    for (const home of this.#pools.values()) {
      const { pool, clients } = home;
      const database = databaseOf(home);
      // Who logs in, or is asked about, waits in the queue.
      if (clients > 0 || pool.queue.length > 0 || !databases.has(database) || !isSameServer(home, of)) continue;
      const idle = [...pool.lists[EntryState.Idle]!];
      if (idle.length === 0) continue;
      this.#log.info(
        `closing servers of ${home.name}: no client is there, and one waits for database "${database}" to be left`,
      );
      for (const entry of idle) pool.retire(entry, 'evicted');
    }
  }
}

function databaseOf({ shape }: ServerPool): string {
  return shape.database.dbname ?? shape.databaseName;
}

function isSameServer(a: ServerPool, b: ServerPool): boolean {
  const [one, other] = [a.shape.database, b.shape.database];
  return one.port === other.port && String(one.hosts) === String(other.hosts);
}
