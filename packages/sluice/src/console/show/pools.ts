/** SHOW POOLS, SHOW PEER_POOLS, SHOW PEERS. */
import { columns } from '../table.ts';
import { CONSOLE, type View } from '../view.ts';

export const POOLS: View = {
  columns: columns('ssiiiiiiiiiiiiiss', [
    'database',
    'user',
    'cl_active',
    'cl_waiting',
    'cl_active_cancel_req',
    'cl_waiting_cancel_req',
    'sv_active',
    'sv_active_cancel',
    'sv_being_canceled',
    'sv_idle',
    'sv_used',
    'sv_tested',
    'sv_login',
    'maxwait',
    'maxwait_us',
    'pool_mode',
    'load_balance_hosts',
  ]),
  rows({ snapshot, consoles }) {
    const rows = snapshot.pools().map((row) => {
      const { database, user, clients, servers, cancels, maxWaitMs, mode, loadBalanceHosts } = row;
      const waitMicros = Math.round(maxWaitMs * 1000);
      return [
        ...[database, user, clients.active, clients.waiting, cancels.active, cancels.waiting],
        ...[servers.active, cancels.active, servers.beingCanceled, servers.idle, servers.used, servers.tested],
        servers.login + cancels.opening,
        ...[Math.floor(waitMicros / 1e6), waitMicros % 1e6, mode, loadBalanceHosts],
      ];
    });
    rows.push([CONSOLE.database, CONSOLE.user, consoles.length, ...new Array(12).fill(0), CONSOLE.mode, null]);
    return rows.sort((a, b) => (String(a[0]) < String(b[0]) ? -1 : String(a[0]) > String(b[0]) ? 1 : 0));
  },
};

export const PEERS: View = {
  columns: columns('isii', ['peer_id', 'host', 'port', 'pool_size']),
  rows: ({ config }) =>
    [...config.peers.values()].map((peer) => [
      peer.id,
      peer.host,
      peer.port,
      peer.poolSize ?? config.global.defaultPoolSize,
    ]),
};

export const PEER_POOLS: View = {
  columns: columns('iiiii', [
    'peer_id',
    'cl_active_cancel_req',
    'cl_waiting_cancel_req',
    'sv_active_cancel',
    'sv_login',
  ]),
  rows: ({ snapshot }) =>
    snapshot.peerPools().map(({ peerId, cancels }) => {
      return [peerId, cancels.active, cancels.waiting, cancels.active, cancels.opening];
    }),
};
