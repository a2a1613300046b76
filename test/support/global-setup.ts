/** A PostgreSQL for each worker of the end-to-end run; their coordinates reach the tests by `postgres()`. */
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
    /** One for each worker. */
    postgres: Coordinates[];
    /** Of the PostgreSQL under test: 18. */
    release: number;
  }
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const dir = mkdtempSync(join(tmpdir(), 'sluice-test-'));
  chmodSync(dir, 0o755);
  const started = await Promise.all(
    Array.from({ length: project.vitest.config.maxWorkers }, (_, worker) =>
      startEmbedded({
        dataDir: join(dir, `pg${worker}`),
        throwaway: true,
        settings: { max_connections: 200, max_prepared_transactions: 10, wal_level: 'logical' },
      }),
    ),
  );
  project.provide(
    'postgres',
    started.map(({ host, port, user, password, database }) => ({ host, port, user, password, database })),
  );
  project.provide('release', Number.parseInt(started[0]?.version ?? '', 10));
  return async () => {
    await Promise.all(started.map((server) => server.stop('immediate')));
    rmSync(dir, { recursive: true, force: true });
  };
}
