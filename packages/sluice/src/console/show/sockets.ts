/** SHOW CLIENTS, SERVERS, SOCKETS and ACTIVE_SOCKETS: a row a connection. */
import type { SocketRow } from '../../pooling/socket-rows.ts';
import { type Cell, columns } from '../table.ts';
import { CONSOLE, type ConsoleRow, type View } from '../view.ts';

const NAMES = [
  'type',
  'user',
  'database',
  'replication',
  'state',
  'addr',
  'port',
  'local_addr',
  'local_port',
  'connect_time',
  'request_time',
  'wait',
  'wait_us',
  'close_needed',
  'ptr',
  'link',
  'remote_pid',
  'tls',
  'application_name',
  'prepared_statements',
  'id',
];
const STANDARD = columns('ssssssisiTTiiississii', NAMES);
/** Where PgBouncer's buffers stand; here only `send_avail`, what waits to be sent, has a meaning. */
const DEBUG = columns('ssssssisiTTiiississiiiiiiiii', [
  ...NAMES,
  'recv_pos',
  'pkt_pos',
  'pkt_remain',
  'send_pos',
  'send_remain',
  'pkt_avail',
  'send_avail',
]);

function socketRow(row: SocketRow, state = row.state): Cell[] {
  const waitMicros = Math.round(row.waitMs * 1000);
  return [
    ...[row.kind === 'server' ? 'S' : 'C', row.user, row.database, row.replication, state],
    ...[row.remote.address, row.remote.port, row.local.address, row.local.port, row.connectedAt, row.requestedAt],
    ...[Math.floor(waitMicros / 1e6), waitMicros % 1e6, row.closeNeeded],
    ...[pointer(row.id), row.link === null ? '' : pointer(row.link), row.remotePid, row.tls, row.applicationName],
    ...[row.preparedStatements, row.id],
  ];
}

/** Here a client between two transactions is active, as in PgBouncer, and a server that is being opened logs in. */
const OTHER_STATES: Readonly<Record<string, string>> = { cl_idle: 'cl_active', sv_new: 'sv_login' };

function debugRow(row: SocketRow): Cell[] {
  const state = `${row.kind === 'server' ? 'sv' : 'cl'}_${row.state}`;
  return [...socketRow(row, OTHER_STATES[state] ?? state), 0, 0, 0, 0, 0, 0, row.queued];
}

/** Cancel requests are in SHOW CLIENTS and SHOW SERVERS only, as in PgBouncer. */
function isNoCancel({ state }: SocketRow): boolean {
  return !state.includes('cancel_req') && state !== 'active_cancel';
}

function consoleRow(row: ConsoleRow, state: string): Cell[] {
  return [
    ...['C', row.user, CONSOLE.database, 'none', state, row.address, row.port, row.localAddress, row.localPort],
    ...[row.connectedAt, row.requestedAt, 0, 0, 0, pointer(row.id), '', 0, row.tls, row.applicationName, 0, row.id],
  ];
}

/** PgBouncer prints an address in its memory; what tools do with it is to match `link` with `ptr`. */
function pointer(id: number): string {
  return `0x${id.toString(16).padStart(12, '0')}`;
}

export const CLIENTS: View = {
  columns: STANDARD,
  rows: ({ snapshot, consoles }) => [
    ...snapshot.clients().map((row) => socketRow(row)),
    ...consoles.map((row) => consoleRow(row, 'idle')),
  ],
};

export const SERVERS: View = {
  columns: STANDARD,
  rows: ({ snapshot }) => snapshot.servers().map((row) => socketRow(row)),
};

export const SOCKETS: View = {
  columns: DEBUG,
  rows: ({ snapshot, consoles }) => [
    ...snapshot.clients().filter(isNoCancel).map(debugRow),
    ...snapshot.servers().filter(isNoCancel).map(debugRow),
    ...snapshot.logins().map(debugRow),
    ...consoles.map((row) => [...consoleRow(row, 'cl_active'), 0, 0, 0, 0, 0, 0, 0]),
  ],
};

export const ACTIVE_SOCKETS: View = {
  columns: DEBUG,
  rows: ({ snapshot }) => [
    ...snapshot
      .clients()
      .filter((row) => row.queued > 0 || row.state === 'waiting')
      .map((row) => debugRow(row)),
    ...snapshot
      .servers()
      .filter((row) => row.queued > 0)
      .map((row) => debugRow(row)),
  ],
};
