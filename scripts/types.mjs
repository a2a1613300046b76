// Type checks everything that is TypeScript: the packages by building them, tests and tools without emitting.
import { join } from 'node:path';
import { build, fail, install, ROOT, run } from './common.mjs';

install()
  .then(build)
  .then(() =>
    run(process.execPath, [join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc'), '-p', 'tsconfig.check.json']),
  )
  .catch(fail);
