/** The version, as commands and the console show it. */
import { readFileSync } from 'node:fs';

export const VERSION: string = (
  JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }
).version;

/** What `--version` and SHOW VERSION say. */
export const VERSION_TEXT = `Sluice ${VERSION}`;
