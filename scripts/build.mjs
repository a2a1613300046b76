// npm run build: compiles all packages (incrementally).
import { build, fail, install, requireNode } from './common.mjs';

requireNode();
install().then(build).catch(fail);
