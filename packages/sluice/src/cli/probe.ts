/** Before pooling a database given by URL: can it be reached, and does it let this user in? */
import { ParameterNames, Parameters, parseSecret } from '@sluice/wire';
import { nodeCrypto } from '../auth/crypto.ts';
import { dial } from '../net/dial.ts';
import { logIn, ServerRefused } from '../server/login.ts';
import { CliError } from './common.ts';
import type { DatabaseUrl } from './start.ts';

const PROBE_MS = 10_000;

/** Rejects with a CliError that says what to mend. */
export async function probe(url: DatabaseUrl): Promise<void> {
  const where = `${url.host}:${url.port}`;
  let conn: Awaited<ReturnType<typeof dial>['conn']>;
  try {
    conn = await dial({ host: url.host, port: url.port, timeoutMs: PROBE_MS }).conn;
  } catch (error) {
    throw new CliError(
      `cannot reach PostgreSQL at ${where}: ${(error as Error).message}; is it running, and are host and port right?`,
    );
  }
  const timer = setTimeout(() => conn.destroy(new Error(`no answer within ${PROBE_MS / 1000} s`)), PROBE_MS);
  try {
    await logIn(conn, {
      credentials: { user: url.user, secret: url.password === '' ? null : parseSecret(url.password), scramKeys: null },
      database: url.database,
      startup: new Map([['application_name', 'sluice']]),
      parameters: new Parameters(new ParameterNames()),
      crypto: nodeCrypto,
      endPoint: null,
    });
  } catch (error) {
    const said =
      error instanceof ServerRefused ? `PostgreSQL at ${where} refuses` : `login to PostgreSQL at ${where} failed`;
    throw new CliError(`${said}: ${(error as Error).message}; check user, password and database in the URL`);
  } finally {
    clearTimeout(timer);
    conn.end();
  }
}
