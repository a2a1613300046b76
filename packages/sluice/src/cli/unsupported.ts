/**
 * What a configuration file asks for and this version does not do yet. Nothing is silently ignored: what would open a door or
 * break a promise stops the start, the rest is a warning by name. This list shrinks as settings come to work.
 */
import type { Config, Given } from '../config/index.ts';

export interface Unsupported {
  severity: 'error' | 'warning';
  place: Given;
  message: string;
}

/** Without these, somebody would be let in, or data sent, otherwise than the file says. */
const STOPPING: Readonly<Record<string, (text: string) => boolean>> = {
  auth_type: (text) => text.toLowerCase() === 'pam',
  max_db_client_connections: (text) => Number(text) > 0,
  max_user_client_connections: (text) => Number(text) > 0,
  disable_pqexec: (text) => text !== '0',
};

const WITHOUT_EFFECT = new Set([
  'admin_users',
  'application_name_add_host',
  'autodb_idle_timeout',
  'dns_max_ttl',
  'dns_nxdomain_ttl',
  'dns_zone_check_period',
  'http_listen',
  'log_stats',
  'logfile',
  'login_notify_message',
  'max_prepared_statement_bytes',
  'peer_id',
  'pidfile',
  'pool_idle_timeout',
  'query_wait_notify',
  'resolv_conf',
  'server_fast_close',
  'session_state',
  'so_reuseport',
  'stats_period',
  'stats_users',
  'suspend_timeout',
  'syslog',
  'syslog_facility',
  'syslog_ident',
  'tcp_defer_accept',
  'tcp_keepalive',
  'tcp_keepcnt',
  'tcp_keepidle',
  'tcp_keepintvl',
  'tcp_socket_buffer',
  'tcp_user_timeout',
  'unix_socket_group',
  'user',
]);

/** Every setting that the file gives and that does not do here what it says. */
export function unsupportedSettings(config: Config): Unsupported[] {
  const found: Unsupported[] = [];
  for (const [name, place] of config.given) {
    const stops = Object.hasOwn(STOPPING, name) && STOPPING[name]!(place.text);
    if (stops)
      found.push({
        severity: 'error',
        place,
        message: `${name} = ${place.text} is not supported by this version; to run without it would not be what the file says. Remove it, or stay with your present pooler for now`,
      });
    else if (WITHOUT_EFFECT.has(name))
      found.push({ severity: 'warning', place, message: `${name} has no effect in this version` });
  }
  for (const database of [...config.databases.values(), ...(config.fallback === undefined ? [] : [config.fallback])])
    found.push(...without(`database ${database.name}`, database, DATABASE_FIELDS));
  for (const user of config.users.values()) found.push(...without(`user ${user.name}`, user, USER_FIELDS));
  for (const peer of config.peers.values())
    found.push({
      severity: 'error',
      place: { ...peer.place, text: '' },
      message: '[peers] is not supported by this version; remove it',
    });
  return found;
}

/** Fields of a database's or user's entry that do nothing here, with the settings that they come from. */
const DATABASE_FIELDS: Readonly<Record<string, string>> = {
  maxDbClientConnections: 'max_db_client_connections',
  queryWaitTimeoutMs: 'query_wait_timeout',
};
const USER_FIELDS: Readonly<Record<string, string>> = {
  maxUserClientConnections: 'max_user_client_connections',
  queryTimeoutMs: 'query_timeout',
  queryWaitTimeoutMs: 'query_wait_timeout',
  idleTransactionTimeoutMs: 'idle_transaction_timeout',
  transactionTimeoutMs: 'transaction_timeout',
  clientIdleTimeoutMs: 'client_idle_timeout',
};

function without(
  what: string,
  entry: { place: Omit<Given, 'text'> },
  fields: Readonly<Record<string, string>>,
): Unsupported[] {
  const values = entry as unknown as Readonly<Record<string, unknown>>;
  return Object.entries(fields)
    .filter(([field]) => values[field] !== undefined && values[field] !== '')
    .map(([, name]) => ({
      severity: 'error',
      place: { ...entry.place, text: '' },
      message: `${name} of ${what} is not supported by this version; remove it, or set it in [pgbouncer] where it works for all`,
    }));
}
