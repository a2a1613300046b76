/** The password in clear text (auth_type plain). Compared with whatever kind of secret is known. */
import { authenticationCleartextPassword, verifyPlainPassword } from '@sluice/wire';
import { type AuthRequest, type AuthResult, passwordBytes, passwordPacket, sendMessage } from './method.ts';

/** Stands in for the secret of a user that does not exist, so that the comparison takes as long. */
const NOBODY = { kind: 'plain', password: 'no such user' } as const;

export async function authenticatePlain(request: AuthRequest): Promise<AuthResult> {
  sendMessage(request.conn, authenticationCleartextPassword());
  const body = await passwordPacket(request.reader);
  const given = body === null ? null : passwordBytes(body);
  if (given === null) return { ok: false, reason: 'empty password returned by client' };
  const text = new TextDecoder('utf-8').decode(given);
  const { crypto, user, secret } = request;
  const matches = await verifyPlainPassword(crypto, user, secret ?? NOBODY, text);
  if (secret === null || !matches) return { ok: false, reason: 'wrong password' };
  return { ok: true, password: text };
}
