/** One login and one question, whatever comes of it. */
import pg from 'pg';

export interface Outcome {
  /** The first value of the answer, as text; null when there was an error. */
  readonly value: string | null;
  readonly error: pg.DatabaseError | null;
  /** What the client is told: the value, or the error's message. */
  readonly text: string;
}

export async function attempt(config: pg.ClientConfig, sql = 'select current_user'): Promise<Outcome> {
  const client = new pg.Client(config);
  client.on('error', () => {});
  try {
    // A client that could not connect is not ended: over TLS its end() would never resolve.
    await client.connect();
    const { rows } = await client.query(sql).finally(() => void client.end().catch(() => {}));
    const value = String(Object.values(rows[0])[0]);
    return { value, error: null, text: value };
  } catch (thrown) {
    const error = thrown as pg.DatabaseError;
    return { value: null, error, text: error.message };
  }
}
