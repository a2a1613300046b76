/** Where the daemon listens, by its configuration and by what a running pooler has handed it (-R). */
import type { Config } from '../config/index.ts';
import { closeDescriptor } from '../net/descriptors.ts';
import { unixPath } from '../net/dial.ts';
import type { ListenTarget } from '../net/listen.ts';
import type { ListenerParcel } from '../pooling/parcels.ts';
import { groupId } from './groups.ts';

export interface InheritedListener extends Pick<ListenerParcel, 'host' | 'port' | 'unix'> {
  readonly fd: number;
}

/** Throws when unix_socket_group names no group. */
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
      ...(global.unixSocketGroup === '' ? {} : { group: groupId(global.unixSocketGroup) }),
    });
  return targets;
}

/** The sockets that are listened on already take their places; those that the configuration does not want any more are closed. */
export function inheritTargets(
  targets: readonly ListenTarget[],
  inherited: readonly InheritedListener[],
): readonly ListenTarget[] {
  const left = new Set(inherited);
  const found = targets.map((target) => {
    const same = [...left].find(
      ({ host, port, unix }) => host === target.host && port === target.port && unix === target.unix,
    );
    if (same === undefined) return target;
    left.delete(same);
    return { ...target, fd: same.fd, inherited: true };
  });
  for (const { fd } of left) closeDescriptor(fd);
  return found;
}
