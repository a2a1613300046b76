/** Who is asked for the addresses of host names: the system, or the DNS servers of the file that `resolv_conf` names. */
import { readFileSync } from 'node:fs';
import { type Config, located } from '../config/index.ts';
import { parseResolvConf } from '../net/resolv-conf.ts';
import { ConfResolver, type NameResolver, SystemResolver } from '../net/resolver.ts';

const HOSTS_FILE = '/etc/hosts';

/** Throws when the file cannot be read. */
export function nameResolver(config: Config): NameResolver {
  const { resolvConf } = config.global;
  if (resolvConf === '') return new SystemResolver();
  let text: string;
  try {
    text = readFileSync(resolvConf, 'utf8');
  } catch (error) {
    const message = `resolv_conf ${resolvConf} cannot be read: ${(error as Error).message}`;
    throw new Error(located(config, 'resolv_conf', message));
  }
  return new ConfResolver(parseResolvConf(text), readHosts);
}

function readHosts(): string {
  try {
    return readFileSync(HOSTS_FILE, 'utf8');
  } catch {
    return '';
  }
}
