/** Connections of the drivers under test, made and closed together. */
import pg from 'pg';
import postgres from 'postgres';
import type { Coordinates } from './global-setup.ts';

export class Clients {
  readonly #at: Coordinates;
  readonly #open: { end(): Promise<unknown> | undefined }[] = [];

  constructor(at: Coordinates) {
    this.#at = at;
  }

  async pg(config: pg.ClientConfig = {}): Promise<pg.Client> {
    const client = new pg.Client({ ...this.#at, ...config });
    client.on('error', () => {});
    await client.connect();
    this.#open.push(client);
    return client;
  }

  sql(options: postgres.Options<Record<string, never>> = {}): postgres.Sql {
    const { host, port, user, password, database } = this.#at;
    const sql = postgres({ host, port, user, password, database, onnotice: () => {}, ...options });
    this.#open.push(sql);
    return sql;
  }

  /** Ends them all; those whose connection is gone already are no error. */
  async end(): Promise<void> {
    await Promise.allSettled(this.#open.splice(0).map((client) => client.end()));
  }
}
