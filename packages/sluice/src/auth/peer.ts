/** Who is at the other end of a Unix socket, by the kernel's word (method peer): a user of the same name, or by a map. */
import { type IdentMap, matchIdent } from '../config/index.ts';
import { peerUid, userNameOf } from '../net/peer-cred.ts';
import { type AuthRequest, type AuthResult, failed } from './method.ts';

/** `exists`: nobody is let in whom the pooler does not know. */
export function authenticatePeer({ conn, user }: AuthRequest, map: IdentMap | null, exists: boolean): AuthResult {
  if (!conn.remote.unix) return failed('peer', 'peer authentication works on Unix sockets only');
  if (!exists) return failed('peer', `no such user: ${user}`);
  const uid = peerUid(conn);
  if (uid === null) return failed('peer', 'the system does not say who is at the other end of the Unix socket');
  const name = userNameOf(uid);
  if (name === null) return failed('peer', `uid ${uid} has no name in /etc/passwd`);
  if (map !== null)
    return matchIdent(map, user, (one) => one === name)
      ? { ok: true }
      : failed('peer', `ident map ${map.name} cannot be matched`);
  return name === user ? { ok: true } : failed('peer', `system user "${name}" is not "${user}"`);
}
