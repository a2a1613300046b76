/** One PostgreSQL for the whole end-to-end run; its coordinates reach the tests by `inject('postgres')`. */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import { startEmbedded } from '../../packages/sluice/src/embedded/postgres.ts';

export interface Coordinates {
  host: string;
  port: number;
  user: string;
  password: string;
  database: string;
}

declare module 'vitest' {
  export interface ProvidedContext {
    postgres: Coordinates;
    /** Of the PostgreSQL under test: 18. */
    release: number;
  }
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const dir = mkdtempSync(join(tmpdir(), 'sluice-test-'));
  chmodSync(dir, 0o755);
  const server = await startEmbedded({
    dataDir: join(dir, 'pg'),
    throwaway: true,
    settings: { max_connections: 200, max_prepared_transactions: 10, wal_level: 'logical' },
  });
  const { host, port, user, password, database } = server;
  project.provide('postgres', { host, port, user, password, database });
  project.provide('release', Number.parseInt(server.version, 10));
  return async () => {
    await server.stop('immediate');
    rmSync(dir, { recursive: true, force: true });
  };
}
