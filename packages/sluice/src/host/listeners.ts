/** Where the daemon listens, by its configuration and by what a running pooler has handed it (-R). */
import { isIP } from 'node:net';
import { type Config, parseAddress } from '../config/index.ts';
import { closeDescriptor } from '../net/descriptors.ts';
import { unixPath } from '../net/dial.ts';
import type { ListenTarget } from '../net/listen.ts';
import type { ListenerParcel } from '../pooling/parcels.ts';
import { groupId } from './groups.ts';

export interface InheritedListener extends Pick<ListenerParcel, 'host' | 'port' | 'unix'> {
  /** Null: of a Unix socket that is listened on and stays with the other process, for which there is to be a new one. */
  readonly fd: number | null;
}

/** Throws when unix_socket_group names no group and there is a file that should have it. */
export function listenTargets({ global }: Config): ListenTarget[] {
  const { listenAddr, listenPort: port, listenBacklog: backlog, soReuseport: shared } = global;
  const targets: ListenTarget[] = listenAddr.map((host) => ({ host, port, unix: false, backlog, shared }));
  if (global.unixSocketDir !== '' && port > 0)
    targets.push({
      host: unixPath(global.unixSocketDir, port),
      port,
      unix: true,
      backlog,
      mode: global.unixSocketMode,
      ...(global.unixSocketGroup === '' || global.unixSocketDir.startsWith('@')
        ? {}
        : { group: groupId(global.unixSocketGroup) }),
    });
  return targets;
}

/** The sockets that are listened on already take their places; those that the configuration does not want any more are closed. */
export function inheritTargets(
  targets: readonly ListenTarget[],
  inherited: readonly InheritedListener[],
): readonly ListenTarget[] {
  const left = new Set(inherited);
  const found = targets.flatMap((target) => {
    const same = [...left].filter(
      ({ host, port, unix }) => isSame(host, target.host) && port === target.port && unix === target.unix,
    );
    if (same.length === 0) return [target];
    for (const one of same) left.delete(one);
    return same.map(({ host, fd }) =>
      fd === null ? { ...target, replaces: true, inherited: true } : { ...target, host, fd, inherited: true },
    );
  });
  for (const { fd } of left) if (fd !== null) closeDescriptor(fd);
  return found;
}

/** A PgBouncer has two sockets for '*', one for each kind of address. */
function isSame(host: string, wanted: string): boolean {
  if (wanted === '*' && (host === '0.0.0.0' || host === '::')) return true;
  return host === wanted || (isIP(wanted) !== 0 && sameAddress(host, wanted));
}

/** However they are spelled. */
function sameAddress(one: string, other: string): boolean {
  const [a, b] = [one, other].map((address) => parseAddress(address));
  return a != null && b != null && Buffer.compare(Buffer.from(a), Buffer.from(b)) === 0;
}
