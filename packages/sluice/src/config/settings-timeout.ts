// Owns the rows about checks of a connection and about time running out.
// It must not know how values are read, nor who watches the clock.

import type { SettingRow } from './setting-row.ts';

const CHECK = { scopes: ['global'], reload: true, group: 'Connection checks and timeouts' } as const;
const DANGER = { scopes: ['global'], reload: true, group: 'Timeouts that end work' } as const;

export const TIMEOUT_ROWS = {
  server_check_query: {
    ...CHECK,
    kind: 'sql',
    default: '<empty>',
    doc: 'Sent to see whether a server is alive. `<empty>` sends an empty query; empty turns the check off.',
  },
  server_check_delay: {
    ...CHECK,
    kind: 'time',
    default: '30',
    doc: 'How long after its release a server is used again without a check. 0: always check.',
  },
  server_fast_close: {
    ...CHECK,
    kind: 'bool',
    default: '0',
    doc: 'In session mode, close a server that must go after the transaction, and its client, not after the session.',
  },
  server_lifetime: {
    ...CHECK,
    kind: 'time',
    default: '3600',
    scopes: ['global', 'database'],
    zeroInherits: true,
    doc: 'A free server older than this is closed. 0 for all databases: used once, then closed.',
  },
  server_lifetime_jitter: {
    ...CHECK,
    kind: 'percent',
    default: '10',
    max: 90,
    field: 'serverLifetimeJitterPercent',
    own: true,
    doc: 'Part of `server_lifetime` by which each life is shortened at random, so that not all end together.',
  },
  server_idle_timeout: {
    ...CHECK,
    kind: 'time',
    default: '600',
    doc: 'A server that has been idle longer is closed. 0: never.',
  },
  server_connect_timeout: {
    ...CHECK,
    kind: 'time',
    default: '15',
    doc: 'Time for connecting and logging in to a server. 0: no limit.',
  },
  server_answer_timeout: {
    ...CHECK,
    kind: 'time',
    default: '15',
    own: true,
    doc: "Time for a server to answer what the pooler asks of it itself: a check, a reset, a client's settings and what it has left in its session. Then its connection is closed. 0: no limit.",
  },
  server_login_retry: {
    ...CHECK,
    kind: 'time',
    default: '15',
    doc: 'After a failed connect or login, how long new clients get the error at once, without another attempt.',
  },
  client_login_timeout: {
    ...CHECK,
    kind: 'time',
    default: '60',
    doc: 'A client that has not logged in after this time is disconnected. 0: no limit.',
  },
  autodb_idle_timeout: {
    ...CHECK,
    kind: 'time',
    default: '3600',
    doc: 'A database made from the `*` entry is forgotten, statistics included, when unused this long. 0: never.',
  },
  pool_idle_timeout: {
    ...CHECK,
    kind: 'time',
    default: '0',
    doc: 'A pool without clients and servers is forgotten, statistics included, after this time. 0: never.',
  },
  suspend_timeout: {
    ...CHECK,
    kind: 'time',
    default: '10',
    doc: 'How long SUSPEND waits for data under way before it drops the connection.',
  },
  dns_max_ttl: {
    ...CHECK,
    kind: 'time',
    default: '15',
    doc: 'How long the addresses of a host name are kept at most. With `resolv_conf` they go sooner where their record says so.',
  },
  dns_nxdomain_ttl: {
    ...CHECK,
    kind: 'time',
    default: '15',
    doc: 'How long the answer that a host name does not exist, or an error, is kept.',
  },
  dns_zone_check_period: {
    ...CHECK,
    kind: 'time',
    default: '0',
    doc: 'How often the serial of the zones that host names are in (all after the first dot) is looked up. Where one has grown, its names are looked up again. 0: never.',
  },
  resolv_conf: {
    ...CHECK,
    kind: 'path',
    default: '',
    reload: false,
    doc: 'A resolv.conf that names the DNS servers to ask for host names that are not in /etc/hosts. Empty: the system is asked, in its own way.',
  },
  query_wait_notify: {
    ...CHECK,
    kind: 'seconds',
    default: '5',
    doc: 'A client that has waited this long for a server is told so by a notice. 0: no notice.',
  },
  query_timeout: {
    ...DANGER,
    kind: 'time',
    default: '0',
    scopes: ['global', 'user'],
    zeroInherits: true,
    doc: 'A query that runs longer is ended, with its connection. Set statement_timeout on the server below it. 0: off.',
  },
  query_wait_timeout: {
    ...DANGER,
    kind: 'time',
    default: '120',
    scopes: ['global', 'database', 'user'],
    doc: 'A client that gets no server in this time is disconnected. The user wins over the database. 0: wait for ever.',
  },
  cancel_wait_timeout: {
    ...DANGER,
    kind: 'time',
    default: '10',
    doc: 'A cancel request that gets no server in this time is dropped. 0: wait for ever.',
  },
  client_idle_timeout: {
    ...DANGER,
    kind: 'time',
    default: '0',
    scopes: ['global', 'user'],
    zeroInherits: true,
    doc: 'A client that is idle longer is disconnected. 0: never.',
  },
  idle_transaction_timeout: {
    ...DANGER,
    kind: 'time',
    default: '0',
    scopes: ['global', 'user'],
    zeroInherits: true,
    doc: 'A client that is idle inside a transaction longer is disconnected. 0: never.',
  },
  transaction_timeout: {
    ...DANGER,
    kind: 'time',
    default: '0',
    scopes: ['global', 'user'],
    zeroInherits: true,
    doc: 'A client whose transaction lasts longer is disconnected. 0: never.',
  },
} as const satisfies Record<string, SettingRow>;
