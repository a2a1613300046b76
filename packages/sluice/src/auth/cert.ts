/** The client's certificate instead of a password (auth_type cert): its common name is the user, or a map lets it be. */
import { type IdentMap, matchIdent } from '../config/index.ts';
import { type AuthRequest, type AuthResult, failed } from './method.ts';

/** `exists`: a certificate lets nobody in whom the pooler does not know. */
export function authenticateCert({ conn, user }: AuthRequest, map: IdentMap | null, exists: boolean): AuthResult {
  if (conn.tls === null) return failed('certificate', 'TLS connection required');
  const { peerName } = conn.tls;
  if (peerName === null) return failed('certificate', 'TLS client certificate required');
  if (!exists) return failed('certificate', `no such user: ${user}`);
  if (map !== null)
    return matchIdent(map, user, (name) => isSame(name, peerName))
      ? { ok: true }
      : failed('certificate', `ident map: ${map.name} does not have a match`);
  return isSame(user, peerName) ? { ok: true } : failed('certificate', 'TLS certificate name mismatch');
}

/** Case counts for nothing, as in PgBouncer; outside of ASCII it does. `name` is '' where a certificate has none to go by. */
function isSame(user: string, name: string): boolean {
  const lower = (text: string) => text.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
  return name !== '' && lower(user) === lower(name);
}
