import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

const source = (name: string) => fileURLToPath(new URL(`packages/${name}/src/index.ts`, import.meta.url));

// Tests run against the TypeScript sources of the packages; end-to-end tests start the built daemon.
export default defineConfig({
  resolve: { alias: { '@sluice/core': source('core'), '@sluice/wire': source('wire') } },
  test: {
    // Most of what end-to-end tests take is waiting; each worker has a PostgreSQL of its own.
    maxWorkers: 2,
    setupFiles: [fileURLToPath(new URL('test/support/strict.ts', import.meta.url))],
    projects: [
      {
        extends: true,
        test: { name: 'unit', include: ['packages/*/src/**/*.test.ts', 'sim/**/*.test.ts', 'scripts/**/*.test.ts'] },
      },
      {
        extends: true,
        test: {
          name: 'e2e',
          include: ['test/**/*.test.ts'],
          globalSetup: ['test/support/global-setup.ts'],
          testTimeout: 40_000,
          hookTimeout: 60_000,
        },
      },
    ],
  },
});
