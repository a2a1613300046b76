/**
 * Where auth_query is asked, and as whom: auth_user, auth_dbname and auth_query of the client's database, or the global ones.
 * Logins of one user that come while its question still waits for a server share it. One that has been sent is shared by
 * nobody who came later: an answer from before a password was changed lets nobody in after it.
 */
import type { ClientError } from '../client/home.ts';
import { LoginRefused } from '../client/login.ts';
import { CONSOLE_DATABASE, type DatabaseConfig } from '../config/index.ts';
import { AuthQueryFailed, askForUser, type Found } from './auth-query.ts';
import { describeRefusal } from './exhaustion.ts';
import type { Pooler } from './pooler.ts';
import type { ServerPool } from './server-pool.ts';

const CONFIG_ERROR: ClientError = { message: 'bouncer config error', sqlState: '08P01' };

/** The database that a client asked for: an entry of [databases], or the console, which has none. */
export interface Asked {
  readonly name: string;
  readonly config: DatabaseConfig | null;
}

export class Lookups {
  readonly #pooler: Pooler;
  /** Questions that have not left. */
  readonly #waiting = new Map<string, Promise<Found | null>>();

  constructor(pooler: Pooler) {
    this.#pooler = pooler;
  }

  /** Who asks for users of this database that are not in auth_file; '' when nobody does. */
  authUser({ config }: Asked): string {
    return config?.authUser || this.#pooler.config.global.authUser;
  }

  /**
   * What auth_query says of a user, or null when it finds none. Rejects with a LoginRefused for the client; the log has
   * the reason by then. `about` names the client in it.
   */
  async find(asked: Asked, user: string, about: string): Promise<Found | null> {
    const pool = this.#poolFor(asked, about);
    const sql = asked.config?.authQuery || this.#pooler.config.global.authQuery;
    try {
      return await this.#ask(pool, sql, user);
    } catch (error) {
      if (!(error instanceof AuthQueryFailed)) throw error;
      if (error.refusal !== null)
        throw new LoginRefused(
          describeRefusal(pool, error.refusal, this.#pooler.clock.update(), {
            setting: 'query_wait_timeout',
            ms: pool.shape.queryWaitTimeoutMs,
          }),
        );
      this.#pooler.log.error(`S: ${error.message}`, about);
      throw new LoginRefused(CONFIG_ERROR);
    }
  }

  #ask(pool: ServerPool, sql: string, user: string): Promise<Found | null> {
    const id = `${pool.name}\0${sql}\0${user}`;
    const waiting = this.#waiting.get(id);
    if (waiting !== undefined) return waiting;
    const { clientLoginTimeoutMs, serverAnswerTimeoutMs } = this.#pooler.config.global;
    let hasLeft = false;
    const answer = askForUser(pool, sql, user, clientLoginTimeoutMs || serverAnswerTimeoutMs, () => {
      hasLeft = true;
      this.#waiting.delete(id);
    });
    if (!hasLeft) this.#waiting.set(id, answer);
    return answer;
  }

  #poolFor(asked: Asked, about: string): ServerPool {
    const pooler = this.#pooler;
    const name = asked.config?.authDbname || pooler.config.global.authDbname || asked.name;
    if (name === CONSOLE_DATABASE) {
      pooler.log.error(`cannot use the reserved "${name}" database as an auth_dbname`, about);
      throw new LoginRefused(CONFIG_ERROR);
    }
    const database = pooler.database(name, about);
    if (database === null) {
      pooler.log.error(`authentication database "${name}" is not configured.`, about);
      throw new LoginRefused(CONFIG_ERROR);
    }
    if (database.disabled) {
      const message = `authentication database "${name}" is disabled`;
      throw new LoginRefused({
        message,
        sqlState: '08P01',
        hint: 'An operator disabled it: ENABLE lets logins in again.',
      });
    }
    return pooler.poolOf(database, this.authUser(asked));
  }
}
