// Owns the rows about the log, metrics, and the sockets' low-level options.
// It must not know how values are read.

import { SYSLOG_FACILITIES } from './setting-checks.ts';
import type { SettingRow } from './setting-row.ts';

const LOG = { scopes: ['global'], reload: true, group: 'Log and metrics' } as const;
const NETWORK = { scopes: ['global'], reload: true, group: 'Network' } as const;
export const NETWORK_ROWS = {
  logfile: {
    ...LOG,
    kind: 'path',
    default: '',
    doc: 'File the log is written to, besides stderr. RELOAD opens it anew, after a rotation. Empty: none.',
  },
  log_format: {
    ...LOG,
    kind: 'enum',
    values: ['text', 'json'],
    default: 'text',
    own: true,
    doc: 'Form of a log line: `text` as PgBouncer writes it, or `json`, one object a line.',
  },
  log_connections: { ...LOG, kind: 'bool', default: '1', doc: 'Log each login that succeeded.' },
  log_disconnections: { ...LOG, kind: 'bool', default: '1', doc: 'Log each connection that ended, with the reason.' },
  log_pooler_errors: {
    ...LOG,
    kind: 'bool',
    default: '1',
    doc: 'Log the error messages that the pooler itself sends to clients.',
  },
  log_stats: { ...LOG, kind: 'bool', default: '1', doc: 'Log a line of statistics every `stats_period`.' },
  stats_period: {
    ...LOG,
    kind: 'seconds',
    default: '60',
    min: 1,
    doc: 'How often the averages of the SHOW commands are renewed and the line of statistics is logged.',
  },
  verbose: {
    ...LOG,
    kind: 'int',
    default: null,
    doc: 'How much is logged beyond the usual: 0 nothing more, 3 and up everything. As many as `-v` on the command line.',
  },
  syslog: { ...LOG, kind: 'bool', default: '0', doc: 'Write the log to syslog too.' },
  syslog_ident: {
    ...LOG,
    kind: 'string',
    default: 'pgbouncer',
    doc: 'The name under which our lines stand in syslog.',
  },
  syslog_facility: {
    ...LOG,
    kind: 'enum',
    values: SYSLOG_FACILITIES,
    default: 'daemon',
    otherwise: 'daemon',
    doc: 'The syslog facility of our lines.',
  },
  pkt_buf: {
    ...NETWORK,
    kind: 'bytes',
    default: '4096',
    min: 1,
    max: 16_777_216,
    reload: false,
    doc: 'Accepted, as PgBouncer has it: all connections share one read buffer of a fixed size here.',
  },
  max_packet_size: {
    ...NETWORK,
    kind: 'bytes',
    default: '2147483647',
    min: 8,
    doc: 'Largest protocol message let through: one query, or one row of a result.',
  },
  sbuf_loopcnt: {
    ...NETWORK,
    kind: 'int',
    default: '5',
    doc: 'How many reads of one connection are handled in a row before the others get their turn. 0: no limit.',
  },
  tcp_defer_accept: {
    ...NETWORK,
    kind: 'bool',
    default: '1',
    doc: 'Accept a connection only when it has sent something (TCP_DEFER_ACCEPT). On Linux.',
  },
  tcp_socket_buffer: {
    ...NETWORK,
    kind: 'bytes',
    default: '0',
    doc: "Size of the kernel's buffers of a TCP socket. 0: the system's own. On Linux.",
  },
  tcp_keepalive: {
    ...NETWORK,
    kind: 'bool',
    default: '1',
    doc: 'Probe idle TCP connections so that a dead one is noticed.',
  },
  tcp_keepidle: {
    ...NETWORK,
    kind: 'seconds',
    default: '0',
    negative: 'refused',
    max: 32_767,
    doc: "Idle time before the first keepalive probe. 0: the system's own (2 hours on Linux).",
  },
  tcp_keepintvl: {
    ...NETWORK,
    kind: 'seconds',
    default: '0',
    negative: 'refused',
    max: 32_767,
    doc: "Time between two keepalive probes. 0: the system's own.",
  },
  tcp_keepcnt: {
    ...NETWORK,
    kind: 'int',
    default: '0',
    max: 127,
    doc: "Keepalive probes without an answer before a connection counts as dead. 0: the system's own.",
  },
  tcp_user_timeout: {
    ...NETWORK,
    kind: 'millis',
    default: '0',
    negative: 'refused',
    doc: 'How long sent data may stay unacknowledged before the connection is closed (TCP_USER_TIMEOUT). 0: off.',
  },
} as const satisfies Record<string, SettingRow>;
