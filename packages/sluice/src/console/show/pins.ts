/** SHOW PINS: which clients keep a server beyond their transactions (session_state = follow), by what, and for how long. */
import { columns } from '../table.ts';
import type { View } from '../view.ts';

export const PINS: View = {
  columns: columns('sssisisTisii', [
    'user',
    'database',
    'addr',
    'port',
    'application_name',
    'remote_pid',
    'pinned_by',
    'since',
    'age',
    'statement',
    'client_id',
    'server_id',
  ]),
  rows: ({ snapshot }) =>
    snapshot
      .pins()
      .map(({ client, serverId, remotePid, what, statement, since, ageMs }) => [
        ...[client.user, client.database, client.remote.address, client.remote.port, client.applicationName],
        ...[remotePid, what, since, Math.floor(ageMs / 1000), statement, client.id, serverId],
      ]),
};
