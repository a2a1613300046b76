/** SHOW DATABASES, USERS, CONFIG, LISTS, MEM, STATE, VERSION and the DNS views. */
import { showConfig } from '../../config/index.ts';
import { columns } from '../table.ts';
import { CONSOLE, type View } from '../view.ts';

export const DATABASES: View = {
  columns: columns('ssissiiiissiiiiii', [
    'name',
    'host',
    'port',
    'database',
    'force_user',
    'pool_size',
    'min_pool_size',
    'reserve_pool_size',
    'server_lifetime',
    'pool_mode',
    'load_balance_hosts',
    'max_connections',
    'current_connections',
    'max_client_connections',
    'current_client_connections',
    'paused',
    'disabled',
  ]),
  rows({ snapshot, config, consoles }) {
    const { global } = config;
    const rows = snapshot
      .databases()
      .map((row) => [
        ...[row.name, row.host, row.port, row.dbname, row.user, row.poolSize, row.minPoolSize, row.reservePoolSize],
        ...[row.serverLifetimeMs / 1000, row.poolMode, row.loadBalanceHosts, row.maxConnections, row.connections],
        ...[row.maxClientConnections, row.clients, row.paused, row.disabled],
      ]);
    rows.push([
      ...[CONSOLE.database, null, global.listenPort, CONSOLE.database, CONSOLE.user, CONSOLE.poolSize],
      ...[0, 0, global.serverLifetimeMs / 1000, CONSOLE.mode, null],
      ...[0, 0, global.maxDbClientConnections, consoles.length, 0, 0],
    ]);
    return rows.sort((a, b) => (String(a[0]) < String(b[0]) ? -1 : 1));
  },
};

/** PgBouncer prints the two sizes of a user as text, in a field of nine, empty where the user has none. */
function sizeText(size: number | null): string {
  return size === null ? '' : String(size).padStart(9);
}

export const USERS: View = {
  columns: columns('ssssiiii', [
    'name',
    'pool_size',
    'reserve_pool_size',
    'pool_mode',
    'max_user_connections',
    'current_connections',
    'max_user_client_connections',
    'current_client_connections',
  ]),
  rows: ({ snapshot }) =>
    snapshot
      .users()
      .map((row) => [
        ...[row.name, sizeText(row.poolSize), sizeText(row.reservePoolSize), row.poolMode],
        ...[row.maxConnections, row.connections, row.maxClientConnections, row.clients],
      ]),
};

export const CONFIG: View = {
  columns: columns('ssss', ['key', 'value', 'default', 'changeable']),
  rows: ({ config }) =>
    showConfig(config).map(({ key, value, default: preset, changeable }) => [key, value, preset, changeable]),
};

export const LISTS: View = {
  columns: columns('si', ['list', 'items']),
  rows({ snapshot, consoles }) {
    const lists = snapshot.lists();
    return [
      ['databases', lists.databases + 1],
      ['users', lists.users],
      ['peers', lists.peers],
      ['pools', lists.pools + 1],
      ['peer_pools', lists.peers],
      ['free_clients', 0],
      ['used_clients', lists.clients + consoles.length],
      ['login_clients', lists.logins],
      ['free_servers', 0],
      ['used_servers', lists.servers],
      ['dns_names', snapshot.dnsHosts().length],
      ['dns_zones', snapshot.dnsZones().length],
      ['dns_queries', snapshot.dnsQueries],
      ['dns_pending', 0],
    ];
  },
};

/** The process's memory in bytes, in PgBouncer's columns: `used` and `free` count units of `size`. */
export const MEM: View = {
  columns: columns('siiii', ['name', 'size', 'used', 'free', 'memtotal']),
  rows() {
    const { rss, heapTotal, heapUsed, external, arrayBuffers } = process.memoryUsage();
    const kilobytes = (bytes: number) => Math.ceil(bytes / 1024);
    const row = (name: string, used: number, total: number) => [
      ...[name, 1024, kilobytes(used), kilobytes(total - used)],
      Math.min(total, 2 ** 31 - 1),
    ];
    return [
      row('resident', rss, rss),
      row('heap', heapUsed, heapTotal),
      row('external', external, external),
      row('array_buffers', arrayBuffers, arrayBuffers),
    ];
  },
};

export const STATE: View = {
  columns: columns('ss', ['key', 'value']),
  rows: ({ snapshot: { pauseMode } }) =>
    (['active', 'paused', 'suspended'] as const).map((mode) => [mode, mode === pauseMode ? 'yes' : 'no']),
};

export const VERSION: View = {
  columns: columns('s', ['version']),
  rows: ({ version }) => [[version]],
};

export const DNS_HOSTS: View = {
  columns: columns('sqs', ['hostname', 'ttl', 'addrs']),
  rows: ({ snapshot }) =>
    snapshot
      .dnsHosts()
      .map(({ name, ttlMs, addresses }) => [name, Math.floor(ttlMs / 1000), addresses.map(withPort).join(',')]),
};

export const DNS_ZONES: View = {
  columns: columns('sqi', ['zonename', 'serial', 'count']),
  rows: ({ snapshot }) => snapshot.dnsZones().map(({ name, serial, names }) => [name, serial, names]),
};

/** PgBouncer shows addresses of sockets, whose port is not known yet. */
function withPort(address: string): string {
  return address.includes(':') ? `[${address}]:0` : `${address}:0`;
}
