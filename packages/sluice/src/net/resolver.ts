/**
 * Asking for the addresses of a name, in two ways. The system's: what getaddrinfo(3) says, with all that it knows (hosts file,
 * search domains, DNS, directory services), but without how long an answer lasts. Our own, by a resolv.conf of the operator's:
 * the hosts file first, then DNS with the lifetimes of its records. Keeps nothing; that is name-cache.ts.
 */
import { promises as dns } from 'node:dns';
import { candidates, hostsFileAddresses, type ResolvConf } from './resolv-conf.ts';

export interface Found {
  readonly addresses: readonly string[];
  /** Milliseconds that the answer lasts, or null: nobody says. */
  readonly ttlMs: number | null;
}

export interface NameResolver {
  /** Rejects with a LookupFailed. */
  addresses(name: string): Promise<Found>;
  /** The serial number of a zone (its SOA record); rejects when it has none, or nobody answers. */
  serial(zone: string): Promise<number>;
}

/** There are no addresses for a name. */
export class LookupFailed extends Error {
  /** As the system says it of a name that does not exist: who retries or reports need not tell the kinds apart. */
  readonly code = 'ENOTFOUND';

  constructor(name: string, cause: unknown) {
    const said = (cause as NodeJS.ErrnoException).code ?? String(cause);
    super(`DNS lookup failed: ${name}: ${said}`, { cause });
    this.name = 'LookupFailed';
  }
}

export class SystemResolver implements NameResolver {
  async addresses(name: string): Promise<Found> {
    try {
      const found = await dns.lookup(name, { all: true });
      return { addresses: found.map(({ address }) => address), ttlMs: null };
    } catch (error) {
      throw new LookupFailed(name, error);
    }
  }

  async serial(zone: string): Promise<number> {
    return (await dns.resolveSoa(zone)).serial;
  }
}

/** These say that there is no such name, or none with an address: the next candidate may have one. */
const NONE = new Set(['ENOTFOUND', 'ENODATA']);

export class ConfResolver implements NameResolver {
  readonly #conf: ResolvConf;
  readonly #resolver: InstanceType<typeof dns.Resolver>;
  readonly #readHosts: () => string;

  /** `readHosts` gives the text of the hosts file, '' where there is none. */
  constructor(conf: ResolvConf, readHosts: () => string) {
    this.#conf = conf;
    this.#readHosts = readHosts;
    this.#resolver = new dns.Resolver({ timeout: conf.timeoutMs, tries: conf.attempts });
    this.#resolver.setServers(conf.servers);
  }

  async addresses(name: string): Promise<Found> {
    const known = hostsFileAddresses(this.#readHosts(), name);
    if (known.length > 0) return { addresses: known, ttlMs: null };
    let last: unknown = null;
    for (const candidate of candidates(name, this.#conf)) {
      const found = await this.#ask(candidate);
      if (!(found instanceof Error)) return found;
      last = found;
      if (!NONE.has((found as NodeJS.ErrnoException).code ?? '')) break;
    }
    throw new LookupFailed(name, last);
  }

  serial(zone: string): Promise<number> {
    return this.#resolver.resolveSoa(zone).then(({ serial }) => serial);
  }

  /** Both families at once; what one of them has is enough. */
  async #ask(name: string): Promise<Found | Error> {
    const [four, six] = await Promise.allSettled([
      this.#resolver.resolve4(name, { ttl: true }),
      this.#resolver.resolve6(name, { ttl: true }),
    ]);
    const records = [four, six].flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []));
    if (records.length === 0) {
      const reasons = [four, six].flatMap((answer) => (answer.status === 'rejected' ? [answer.reason as Error] : []));
      // That nobody answered weighs more than that there is no address of the other family.
      return reasons.find((each) => !NONE.has((each as NodeJS.ErrnoException).code ?? '')) ?? reasons[0]!;
    }
    return {
      addresses: records.map(({ address }) => address),
      ttlMs: Math.min(...records.map(({ ttl }) => ttl)) * 1000,
    };
  }
}
