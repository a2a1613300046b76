/**
 * resolv.conf (resolv.conf(5)), for the setting of that name: which DNS servers are asked, and for which names. Parses text;
 * opens no files. Beyond the manual page a nameserver may have a port: `127.0.0.1:5353` or `[::1]:5353`.
 */
import { isIP } from 'node:net';

export interface ResolvConf {
  /** Addresses, some with a port, as `dns.Resolver.setServers` takes them. */
  readonly servers: readonly string[];
  /** Domains that are tried after (or, with few dots in the name, before) the name as it stands. */
  readonly search: readonly string[];
  /** A name of at least so many dots is first tried as it stands. */
  readonly ndots: number;
  /** Milliseconds for an answer, and how often it is asked for. */
  readonly timeoutMs: number;
  readonly attempts: number;
}

/** The manual's defaults and bounds. */
const NDOTS = { usual: 1, most: 15 };
const TIMEOUT_S = { usual: 5, most: 30 };
const ATTEMPTS = { usual: 2, most: 5 };

/** Lines that make no sense are left out, as every reader of this file does. */
export function parseResolvConf(text: string): ResolvConf {
  const servers: string[] = [];
  let search: string[] = [];
  const options = new Map<string, number>();
  for (const line of text.split('\n')) {
    const [keyword, ...values] = line
      .replace(/[#;].*$/, '')
      .trim()
      .split(/\s+/);
    if (keyword === 'nameserver' && values[0] !== undefined && isServer(values[0])) servers.push(values[0]);
    else if (keyword === 'search' || keyword === 'domain') search = values;
    else if (keyword === 'options')
      for (const value of values) {
        const [name, number] = value.split(':');
        if (number !== undefined && /^\d+$/.test(number)) options.set(name!, Number(number));
      }
  }
  return {
    servers: servers.length > 0 ? servers : ['127.0.0.1'],
    search: search.map((domain) => domain.replace(/\.$/, '')).filter((domain) => domain !== ''),
    ndots: Math.min(options.get('ndots') ?? NDOTS.usual, NDOTS.most),
    timeoutMs: Math.min(Math.max(options.get('timeout') ?? TIMEOUT_S.usual, 1), TIMEOUT_S.most) * 1000,
    attempts: Math.min(Math.max(options.get('attempts') ?? ATTEMPTS.usual, 1), ATTEMPTS.most),
  };
}

function isServer(text: string): boolean {
  if (isIP(text) !== 0) return true;
  const [, six, four, port] = /^(?:\[(.+)\]|([\d.]+)):(\d{1,5})$/.exec(text) ?? [];
  return isIP(six ?? four ?? '') !== 0 && Number(port) > 0 && Number(port) < 65_536;
}

/** What to ask for, in order. A dot at the end says that the name is whole. */
export function candidates(name: string, { search, ndots }: ResolvConf): readonly string[] {
  if (name.endsWith('.')) return [name.slice(0, -1)];
  const dots = name.split('.').length - 1;
  const searched = search.map((domain) => `${name}.${domain}`);
  return dots >= ndots ? [name, ...searched] : [...searched, name];
}

/** The addresses that a hosts file has for a name (hosts(5)); none: it has no such name. */
export function hostsFileAddresses(text: string, name: string): readonly string[] {
  const wanted = name.toLowerCase();
  const found: string[] = [];
  for (const line of text.split('\n')) {
    const [address, ...names] = line.replace(/#.*$/, '').trim().split(/\s+/);
    if (isIP(address!) !== 0 && names.some((each) => each.toLowerCase() === wanted)) found.push(address!);
  }
  return found;
}
