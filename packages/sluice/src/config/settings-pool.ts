// Owns the rows about pools, their limits, and what happens to the state of a session.
// It must not know how values are read.

import type { SettingRow } from './setting-row.ts';

const POOL = { scopes: ['global'], reload: true, group: 'Pools and limits' } as const;
const SESSION = { scopes: ['global'], reload: true, group: 'Sessions and statements' } as const;

export const POOL_ROWS = {
  pool_mode: {
    ...POOL,
    kind: 'enum',
    values: ['session', 'transaction', 'statement'],
    default: 'session',
    scopes: ['global', 'database', 'user'],
    doc: 'When a server goes back to its pool: when the client leaves, after each transaction, or after each statement.',
  },
  max_client_conn: {
    ...POOL,
    kind: 'int',
    default: '100',
    doc: 'Most clients connected at once. Raise the limit of open files along with it.',
  },
  default_pool_size: {
    ...POOL,
    kind: 'int',
    default: '20',
    doc: 'Most servers of a pool (one database and user) where no `pool_size` is given. 0: no limit here.',
  },
  pool_size: {
    ...POOL,
    kind: 'int',
    default: null,
    scopes: ['database', 'user', 'peer'],
    doc: 'Most servers of each pool; for a peer, most cancel requests under way. The user wins over the database.',
  },
  min_pool_size: {
    ...POOL,
    kind: 'int',
    default: '0',
    scopes: ['global', 'database'],
    doc: 'Servers kept open in a pool: from the start where the database has a forced `user`, else while a client is connected (which user it will be nobody knows before). Never more than the pool size. 0: off.',
  },
  reserve_pool_size: {
    ...POOL,
    kind: 'int',
    default: '0',
    scopes: ['global', 'database', 'user'],
    doc: 'Servers a pool may open beyond its size once a client has waited `reserve_pool_timeout`. 0: none.',
  },
  reserve_pool_timeout: {
    ...POOL,
    kind: 'time',
    default: '5',
    doc: 'How long a client waits before the reserve is used. 0: the reserve is never used.',
  },
  max_db_connections: {
    ...POOL,
    kind: 'int',
    default: '0',
    scopes: ['global', 'database'],
    zeroInherits: true,
    doc: 'Most servers of a database, all its users together. 0: no limit.',
  },
  max_db_client_connections: {
    ...POOL,
    kind: 'int',
    default: '0',
    scopes: ['global', 'database'],
    zeroInherits: true,
    doc: 'Most clients of a database, all its users together. 0: no limit.',
  },
  max_user_connections: {
    ...POOL,
    kind: 'int',
    default: '0',
    scopes: ['global', 'user'],
    zeroInherits: true,
    doc: 'Most servers of a user, all databases together. 0: no limit.',
  },
  max_user_client_connections: {
    ...POOL,
    kind: 'int',
    default: '0',
    scopes: ['global', 'user'],
    zeroInherits: true,
    doc: 'Most clients of a user, all databases together. 0: no limit.',
  },
  server_round_robin: {
    ...POOL,
    kind: 'bool',
    default: '0',
    doc: 'Use the servers of a pool in turn, instead of the last one released first.',
  },
  session_state: {
    ...SESSION,
    kind: 'enum',
    values: ['pgbouncer', 'follow', 'refuse'],
    default: 'pgbouncer',
    own: true,
    doc: "What becomes of a client's SET and the like in transaction mode: as in PgBouncer, carried along, or refused.",
  },
  max_prepared_statements: {
    ...SESSION,
    kind: 'int',
    default: '200',
    doc: 'Prepared statements kept on each server for transaction and statement mode. 0: no support for them there.',
  },
  max_prepared_statement_bytes: {
    ...SESSION,
    kind: 'bytes',
    default: '268435456',
    max: Number.MAX_SAFE_INTEGER,
    own: true,
    doc: 'Most memory that prepared statements take: all together, and on each server. A text counts twice, and 600 bytes for the rest. The longest unused go first. 0: no limit.',
  },
  prepare_threshold: {
    ...SESSION,
    kind: 'int',
    default: '0',
    max: 255,
    own: true,
    doc: 'How often an unnamed statement is sent before servers keep it prepared, in transaction and statement mode: PostgreSQL then parses it once a server instead of each time. 0: never.',
  },
  track_extra_parameters: {
    ...SESSION,
    kind: 'list',
    default: 'IntervalStyle',
    reload: false,
    doc: 'Parameters kept for each client, besides the usual five. The server must report them (as it does TimeZone).',
  },
  ignore_startup_parameters: {
    ...SESSION,
    kind: 'words',
    default: '',
    doc: 'Parameters at connection start that are dropped instead of refused, such as `extra_float_digits, options`.',
  },
  disable_pqexec: {
    ...SESSION,
    kind: 'bool',
    default: '0',
    reload: false,
    doc: 'Refuse the simple query protocol, which allows several statements in one text.',
  },
  application_name_add_host: {
    ...SESSION,
    kind: 'bool',
    default: '0',
    doc: "Add the client's address and port to application_name when it connects.",
  },
  server_reset_query: {
    ...SESSION,
    kind: 'sql',
    default: 'DISCARD ALL',
    doc: 'Sent to a server that a session gives back, so that nothing of it is left. Empty: nothing is sent.',
  },
  server_reset_query_always: {
    ...SESSION,
    kind: 'bool',
    default: '0',
    doc: 'Send `server_reset_query` in transaction and statement mode too.',
  },
  login_notify_message: {
    ...SESSION,
    kind: 'string',
    default: '',
    doc: 'Notice sent to each client after its login. Empty: none.',
  },
} as const satisfies Record<string, SettingRow>;
