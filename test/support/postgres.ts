/** The PostgreSQL of a test file: each worker has one to itself, since tests count its connections, stop it and restart it. */
import { inject } from 'vitest';
import type { Coordinates } from './global-setup.ts';

export function postgres(): Coordinates {
  const servers = inject('postgres');
  const server = servers[Number(process.env.VITEST_POOL_ID) - 1];
  if (server === undefined)
    throw new Error(`worker ${process.env.VITEST_POOL_ID} has no PostgreSQL: ${servers.length} were started`);
  return server;
}
