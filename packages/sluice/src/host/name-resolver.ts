/** Who is asked for the addresses of host names: the system, or the DNS servers of the file that `resolv_conf` names. */
import { readFileSync } from 'node:fs';
import type { Config } from '../config/index.ts';
import { parseResolvConf } from '../net/resolv-conf.ts';
import { ConfResolver, type NameResolver, SystemResolver } from '../net/resolver.ts';

const HOSTS_FILE = '/etc/hosts';

/** Throws when the file cannot be read. */
export function nameResolver({ global }: Config): NameResolver {
  const { resolvConf } = global;
  if (resolvConf === '') return new SystemResolver();
  let text: string;
  try {
    text = readFileSync(resolvConf, 'utf8');
  } catch (error) {
    throw new Error(`resolv_conf ${resolvConf} cannot be read: ${(error as Error).message}`);
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
