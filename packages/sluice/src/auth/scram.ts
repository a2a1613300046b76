/** SCRAM-SHA-256 (auth_type scram-sha-256), for plain and SCRAM secrets; unknown users get a mock exchange. */
import {
  authenticationSasl,
  authenticationSaslContinue,
  authenticationSaslFinal,
  parseSaslInitialResponse,
  ScramError,
  ScramServer,
} from '@sluice/wire';
import { type AuthRequest, type AuthResult, failed, passwordOf, sendMessage } from './method.ts';
import { scramSecretFor } from './scram-secrets.ts';

function offer(...mechanisms: string[]) {
  return { mechanisms, message: authenticationSasl(mechanisms) };
}

const PLAIN = offer('SCRAM-SHA-256');
const BINDING = offer('SCRAM-SHA-256-PLUS', 'SCRAM-SHA-256');

/** For the log, in PgBouncer's words. */
function reasonOf(reason: string, { secret }: AuthRequest): string {
  if (reason !== 'wrong password') return reason;
  return secret?.kind === 'md5' ? 'SCRAM authentication failed: user has MD5 secret' : 'password authentication failed';
}

export async function authenticateScram(request: AuthRequest): Promise<AuthResult> {
  const { conn, crypto, reader } = request;
  const endPoint = conn.tls?.endPoint ?? null;
  const { mechanisms, message } = endPoint === null ? PLAIN : BINDING;
  sendMessage(conn, message);
  const first = passwordOf(await reader.next());
  if (first === null) return failed('sasl', 'client broke off SASL');
  const initial = parseSaslInitialResponse(first, 0, first.length);
  if (!mechanisms.includes(initial.mechanism)) return failed('mechanism');
  const found = scramSecretFor(request);
  const { secret, doomed } = found instanceof Promise ? await found : found;
  const server = new ScramServer(crypto, secret, { mechanism: initial.mechanism, endPoint, doomed });
  try {
    sendMessage(conn, authenticationSaslContinue(server.first(initial.data ?? new Uint8Array(0))));
  } catch (error) {
    if (error instanceof ScramError) return failed('sasl', error.message);
    throw error;
  }
  const answer = passwordOf(await reader.next());
  if (answer === null) return failed('sasl', 'client broke off SASL');
  const final = server.final(answer);
  if (!final.ok) return failed('sasl', reasonOf(final.reason, request));
  // Sent with what comes next: the greeting, or why there is none.
  reader.owed = authenticationSaslFinal(final.message);
  return { ok: true, scramKeys: final.keys };
}
