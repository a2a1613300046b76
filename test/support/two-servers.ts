/** A pooler with session_state = follow and two servers in turn: whatever a transaction leaves behind is missing in the next one. */

import { Clients } from './clients.ts';
import type { Coordinates } from './global-setup.ts';
import { type Sluice, startSluice } from './sluice.ts';

/** Both servers are open before it resolves. Later lines of `settings` win. */
export async function startOnTwo(server: Coordinates, settings = ''): Promise<{ sluice: Sluice; clients: Clients }> {
  const sluice = await startSluice(server, {
    settings: `default_pool_size = 2\nserver_round_robin = 1\nsession_state = follow\nadmin_users = ${server.user}\n${settings}`,
  });
  const clients = new Clients({ ...server, port: sluice.port });
  try {
    const pair = [await clients.pg(), await clients.pg()];
    await Promise.all(pair.map((client) => client.query('select pg_sleep(0.1)')));
  } catch (error) {
    await sluice.stop();
    throw error;
  }
  await clients.end();
  return { sluice, clients };
}
