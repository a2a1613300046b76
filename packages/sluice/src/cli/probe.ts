/** Before pooling a database given by URL: can it be reached, and does it let this user in? */
import { ParameterNames, Parameters, ProtocolError, parseSecret, ScramError } from '@sluice/wire';
import { nodeCrypto } from '../auth/crypto.ts';
import { ConnectionEnded } from '../net/packet-reader.ts';
import { TlsFailed } from '../net/tls-conn.ts';
import { LoginImpossible, ServerRefused } from '../server/login.ts';
import { ServerOpening } from '../server/open.ts';
import { CliError } from './common.ts';
import type { DatabaseUrl } from './start.ts';
import { tlsContext } from './url-tls.ts';

const PROBE_MS = 10_000;
const LOGIN_ERRORS = [LoginImpossible, ScramError];

/** Rejects with a CliError that says what to mend. */
export async function probe(url: DatabaseUrl): Promise<void> {
  const where = `${url.host}:${url.port}`;
  const target = { id: 0, host: url.host, port: url.port, timeoutMs: PROBE_MS, ...tlsContext(url) };
  const opening = new ServerOpening(target, () => ({
    credentials: { user: url.user, secret: url.password === '' ? null : parseSecret(url.password), scramKeys: null },
    database: url.database,
    startup: new Map([['application_name', 'sluice']]),
    parameters: new Parameters(new ParameterNames()),
    crypto: nodeCrypto,
  }));
  try {
    const { conn } = await opening.opened;
    conn.end();
  } catch (error) {
    throw new CliError(explain(where, error as Error, url.password === ''));
  }
}

function explain(where: string, error: Error, hasNoPassword: boolean): string {
  const { message } = error;
  const login = 'check user, password and database in the URL';
  if (error instanceof ServerRefused) return `PostgreSQL at ${where} refuses: ${message}; ${login}`;
  if (error instanceof TlsFailed)
    return `no TLS with PostgreSQL at ${where}: ${message}; check sslmode and sslrootcert in the URL`;
  if (error instanceof LoginImpossible && hasNoPassword)
    return `PostgreSQL at ${where} asks for a password, and the URL has none: write postgres://user:password@host:port/database`;
  if (error instanceof ConnectionEnded || error instanceof ProtocolError)
    return `${where} does not answer as PostgreSQL does (${message}): is it PostgreSQL that listens there?`;
  if (LOGIN_ERRORS.some((kind) => error instanceof kind))
    return `login to PostgreSQL at ${where} failed: ${message}; ${login}`;
  return `cannot reach PostgreSQL at ${where}: ${message}; is it running, and are host and port right?`;
}
