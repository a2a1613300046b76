/** Who is asked for the addresses of host names: the system, or the DNS servers of the file that `resolv_conf` names. */
import { readFileSync } from 'node:fs';
import type { Config } from '../config/index.ts';
import { parseResolvConf } from '../net/resolv-conf.ts';
import { ConfResolver, type NameResolver, SystemResolver } from '../net/resolver.ts';

const HOSTS_FILE = '/etc/hosts';

/** A file that cannot be read is as an empty one, as in PgBouncer (c-ares): the server at 127.0.0.1 is asked. `missingHere` tells. */
export function nameResolver(config: Config): NameResolver {
  const { resolvConf } = config.global;
  return resolvConf === ''
    ? new SystemResolver()
    : new ConfResolver(parseResolvConf(readOrNone(resolvConf)), readHosts);
}

function readHosts(): string {
  return readOrNone(HOSTS_FILE);
}

function readOrNone(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
