/**
 * The password in clear text (auth_type plain). Compared with whatever kind of secret is known, in a time that tells
 * neither the kind nor whether there is one: where SCRAM secrets are about, each answer takes the hashing that one takes.
 */
import { authenticationCleartextPassword, decodeText, verifyPlainPassword } from '@sluice/wire';
import { type AuthRequest, type AuthResult, failed, receivePassword, sendMessage } from './method.ts';

/** Stands in for the secret of a user that does not exist. */
const NOBODY = { kind: 'plain', password: 'no such user' } as const;
const SALT = new Uint8Array(16);

export async function authenticatePlain(request: AuthRequest): Promise<AuthResult> {
  sendMessage(request.conn, authenticationCleartextPassword());
  const given = await receivePassword(request.reader);
  if ('ok' in given) return given;
  const text = decodeText(given);
  const { crypto, user, secret } = request;
  const usable = secret !== null && !(secret.kind === 'plain' && secret.password === '');
  const [matches] = await Promise.all([
    verifyPlainPassword(crypto, user, usable ? secret : NOBODY, text),
    sameWork(request, given),
  ]);
  return usable && matches ? { ok: true, password: text } : failed('password');
}

async function sameWork({ crypto, secret, usual }: AuthRequest, password: Uint8Array): Promise<void> {
  if (secret?.kind !== 'scram' && usual.iterations > 0) await crypto.pbkdf2Sha256(password, SALT, usual.iterations);
}
