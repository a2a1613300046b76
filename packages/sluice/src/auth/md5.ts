/** MD5 challenge and response (auth_type md5), for plain and md5 secrets. */
import { authenticationMd5Password, md5Response, type Secret } from '@sluice/wire';
import { type AuthRequest, type AuthResult, failed, receivePassword, sendMessage } from './method.ts';

const NOBODY: Secret = { kind: 'plain', password: 'no such user' };

export async function authenticateMd5(request: AuthRequest): Promise<AuthResult> {
  const { conn, crypto, user, secret } = request;
  const salt = crypto.randomBytes(4);
  sendMessage(conn, authenticationMd5Password(salt));
  const given = await receivePassword(request.reader);
  if ('ok' in given) return given;
  // An empty password in auth_file lets nobody in, whatever the client's answer.
  const known = secret !== null && secret.kind !== 'scram' && !(secret.kind === 'plain' && secret.password === '');
  const usable = known ? secret : NOBODY;
  const expected = new TextEncoder().encode(md5Response(crypto, user, usable, salt));
  const matches = crypto.timingSafeEqual(given, expected);
  return matches && usable === secret ? { ok: true } : failed('password');
}
