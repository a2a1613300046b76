// Owns the rows about the process, where it listens, and who may use its console.
// It must not know how values are read.

import type { SettingRow } from './setting-row.ts';

const GENERAL = { scopes: ['global'], reload: false, group: 'General and listening' } as const;
const CONSOLE = { scopes: ['global'], reload: true, group: 'Console access' } as const;

export const LISTEN_ROWS = {
  conffile: {
    ...GENERAL,
    kind: 'path',
    default: null,
    reload: true,
    doc: 'The configuration file in use. SET it on the console to make the next RELOAD read another file.',
  },
  pidfile: {
    ...GENERAL,
    kind: 'path',
    default: '',
    doc: 'File that holds the process number while the daemon runs. Empty: none is written.',
  },
  job_name: {
    ...GENERAL,
    kind: 'string',
    default: 'pgbouncer',
    doc: 'Name of the service; only SHOW CONFIG uses it.',
  },
  user: {
    ...GENERAL,
    kind: 'string',
    default: null,
    doc: 'Unix user to become after start. Needs a start as root, or as this user. Not on Windows.',
  },
  listen_addr: {
    ...GENERAL,
    kind: 'list',
    default: '',
    doc: 'Addresses or host names to listen on for TCP, separated by commas; `*` is all. Empty: Unix sockets only.',
  },
  listen_port: {
    ...GENERAL,
    kind: 'port',
    default: '6432',
    min: 0,
    negative: 'refused',
    doc: 'Port for TCP, and the number in the name of the Unix socket. 0 lets the system choose one (for tests).',
  },
  listen_backlog: {
    ...GENERAL,
    kind: 'int',
    default: '128',
    negative: 'most',
    doc: 'How many connections may wait to be accepted before the system turns new ones away (listen(2)).',
  },
  unix_socket_dir: {
    ...GENERAL,
    kind: 'path',
    default: '/tmp',
    doc: 'Directory of our Unix socket and of servers without `host`. `@` first: abstract namespace. Empty: none.',
  },
  unix_socket_mode: {
    ...GENERAL,
    kind: 'mode',
    default: '0777',
    max: 0o7777,
    doc: 'File mode of the Unix socket, in octal. Not for the abstract namespace, not on Windows.',
  },
  unix_socket_group: {
    ...GENERAL,
    kind: 'string',
    default: '',
    doc: 'Group of the Unix socket. Empty: that of the process. Not for the abstract namespace, not on Windows.',
  },
  so_reuseport: {
    ...GENERAL,
    kind: 'bool',
    default: '0',
    doc: 'Let several processes listen on one port, the kernel sharing out the connections. Set up `[peers]` with it.',
  },
  peer_id: {
    ...GENERAL,
    kind: 'int',
    default: '0',
    max: 16383,
    reload: true,
    doc: 'Number of this process among its `[peers]`, so that a cancel request reaches the right one. 0: no peering.',
  },
  admin_users: {
    ...CONSOLE,
    kind: 'words',
    default: '',
    doc: 'Users that may run every command on the console. With auth_type `any` everyone may.',
  },
  stats_users: {
    ...CONSOLE,
    kind: 'words',
    default: '',
    doc: 'Users that may run the read-only commands (SHOW, except SHOW FDS) on the console.',
  },
} as const satisfies Record<string, SettingRow>;
