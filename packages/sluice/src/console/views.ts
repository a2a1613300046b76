/** Every SHOW view by its name: a file and a row. */
import * as entries from './show/entries.ts';
import { FDS } from './show/fds.ts';
import { PINS } from './show/pins.ts';
import { PEER_POOLS, PEERS, POOLS } from './show/pools.ts';
import { ACTIVE_SOCKETS, CLIENTS, SERVERS, SOCKETS } from './show/sockets.ts';
import { STATS, STATS_AVERAGES, STATS_TOTALS, TOTALS } from './show/stats.ts';
import { columns } from './table.ts';
import type { View } from './view.ts';

export const VIEWS: Readonly<Record<string, View>> = {
  active_sockets: ACTIVE_SOCKETS,
  clients: CLIENTS,
  config: entries.CONFIG,
  databases: entries.DATABASES,
  dns_hosts: entries.DNS_HOSTS,
  dns_zones: entries.DNS_ZONES,
  fds: FDS,
  lists: entries.LISTS,
  mem: entries.MEM,
  peer_pools: PEER_POOLS,
  peers: PEERS,
  pins: PINS,
  pools: POOLS,
  servers: SERVERS,
  sockets: SOCKETS,
  state: entries.STATE,
  stats: STATS,
  stats_averages: STATS_AVERAGES,
  stats_totals: STATS_TOTALS,
  totals: TOTALS,
  users: entries.USERS,
  version: entries.VERSION,
};

/** What drivers ask any server for at the start; answered as PgBouncer answers. */
const FAKE_PARAMETERS: Readonly<Record<string, string>> = {
  client_encoding: 'UTF-8',
  default_transaction_isolation: 'read committed',
  standard_conforming_strings: 'on',
  datestyle: 'ISO',
  timezone: 'GMT',
};

export function isFakeParameter(name: string): boolean {
  return Object.hasOwn(FAKE_PARAMETERS, name.toLowerCase());
}

export function findView(name: string): View | null {
  const key = name.toLowerCase();
  if (isFakeParameter(key)) return { columns: columns('s', [key]), rows: () => [[FAKE_PARAMETERS[key]!]] };
  return Object.hasOwn(VIEWS, key) ? VIEWS[key]! : null;
}

export const HELP = `
	SHOW HELP|CONFIG|DATABASES|POOLS|CLIENTS|SERVERS|USERS|VERSION
	SHOW PEERS|PEER_POOLS
	SHOW PINS
	SHOW FDS|SOCKETS|ACTIVE_SOCKETS|LISTS|MEM|STATE
	SHOW DNS_HOSTS|DNS_ZONES
	SHOW STATS|STATS_TOTALS|STATS_AVERAGES|TOTALS
	SET key = arg
	RELOAD
	PAUSE [<db>]
	RESUME [<db>]
	DISABLE <db>
	ENABLE <db>
	RECONNECT [<db>]
	KILL [<db>]
	KILL_CLIENT <client_id>
	SUSPEND
	SHUTDOWN
	SHUTDOWN WAIT_FOR_SERVERS|WAIT_FOR_CLIENTS|HAND_OVER
	WAIT_CLOSE [<db>]`;
