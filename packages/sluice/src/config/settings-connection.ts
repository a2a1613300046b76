// Owns the rows that stand only in the connection strings of [databases] and [peers].
// It must not know how values are read.

import type { SettingRow } from './setting-row.ts';

const DATABASE = { scopes: ['database'], reload: true, group: 'Connection strings' } as const;
const PEER = { scopes: ['peer'], reload: true, group: 'Connection strings' } as const;

export const CONNECTION_ROWS = {
  dbname: {
    ...DATABASE,
    kind: 'string',
    default: null,
    doc: 'Name of the database on the server. Not set: the name the client asked for.',
  },
  'databases/host': {
    ...DATABASE,
    kind: 'list',
    default: null,
    field: 'hosts',
    doc: 'Host names or addresses, separated by commas; `/dir` or `@name` is a Unix socket. Not set: unix_socket_dir.',
  },
  'databases/port': { ...DATABASE, kind: 'port', default: '5432', min: 1, doc: 'Port of the server, for each host.' },
  'databases/user': {
    ...DATABASE,
    kind: 'string',
    default: null,
    doc: "User for every connection to the server, so one pool for all. Not set: the client's, one pool each.",
  },
  password: {
    ...DATABASE,
    kind: 'string',
    default: null,
    doc: 'Password for `user`. Not set: the one from `auth_file`.',
  },
  load_balance_hosts: {
    ...DATABASE,
    kind: 'enum',
    values: ['disable', 'round-robin'],
    default: 'round-robin',
    doc: 'Which host of a list a new connection takes: the next one, or the same one until it fails (`disable`).',
  },
  sslnegotiation: {
    ...DATABASE,
    kind: 'enum',
    values: ['postgres', 'direct'],
    own: true,
    default: 'postgres',
    doc: 'How TLS to the server begins: after asking for it, or at once (`direct`, PostgreSQL 17 on); `direct` is never plain.',
  },
  connect_query: {
    ...DATABASE,
    kind: 'sql',
    default: null,
    doc: 'Run on each new server before a client gets it. Its errors are logged and otherwise ignored.',
  },
  client_encoding: { ...DATABASE, kind: 'string', default: null, doc: 'client_encoding asked for at login.' },
  datestyle: { ...DATABASE, kind: 'string', default: null, doc: 'DateStyle asked for at login.' },
  timezone: { ...DATABASE, kind: 'string', default: null, doc: 'TimeZone asked for at login.' },
  application_name: { ...DATABASE, kind: 'string', default: null, doc: 'application_name asked for at login.' },
  'peers/host': {
    ...PEER,
    kind: 'string',
    default: null,
    doc: 'Host name or address of the peer, or `/dir` of its Unix socket. Required.',
  },
  'peers/port': { ...PEER, kind: 'port', default: '6432', min: 1, doc: 'Port of the peer.' },
} as const satisfies Record<string, SettingRow>;
