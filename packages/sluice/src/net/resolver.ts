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

/** A query that its own time limit did not end: on some runtimes an answer can be lost, and who waits would wait for ever. */
function within<T>(asked: Promise<T>, ms: number, name: string): Promise<T> {
  return new Promise((resolve, reject) => {
    const late = () =>
      reject(Object.assign(new Error(`no answer about ${name} within ${ms} ms`), { code: 'ETIMEOUT' }));
    const timer = setTimeout(late, ms);
    asked.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

/** These say that there is no such name, or none with an address: the next candidate may have one. */
const NONE = new Set(['ENOTFOUND', 'ENODATA']);

export class ConfResolver implements NameResolver {
  readonly #conf: ResolvConf;
  readonly #readHosts: () => string;

  /** `readHosts` gives the text of the hosts file, '' where there is none. */
  constructor(conf: ResolvConf, readHosts: () => string) {
    this.#conf = conf;
    this.#readHosts = readHosts;
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

  async serial(zone: string): Promise<number> {
    return (await within(this.#resolver().resolveSoa(zone), this.#longest, zone)).serial;
  }

  /** Another one for each question: on Bun a resolver answers from a cache of its own. */
  #resolver(): InstanceType<typeof dns.Resolver> {
    const resolver = new dns.Resolver({ timeout: this.#conf.timeoutMs, tries: this.#conf.attempts });
    resolver.setServers(this.#conf.servers);
    return resolver;
  }

  /** Milliseconds: each try waits twice as long as the one before, for each server, and a second more. */
  get #longest(): number {
    const { timeoutMs, attempts, servers } = this.#conf;
    return timeoutMs * servers.length * (2 ** attempts - 1) + 1_000;
  }

  /** Both families at once; what one of them has is enough. */
  async #ask(name: string): Promise<Found | Error> {
    const resolver = this.#resolver();
    const [four, six] = await Promise.allSettled([
      within(resolver.resolve4(name, { ttl: true }), this.#longest, name),
      within(resolver.resolve6(name, { ttl: true }), this.#longest, name),
    ]);
    const records = [four, six].flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []));
    if (records.length === 0) {
      const reasons = [four, six].flatMap((answer) => (answer.status === 'rejected' ? [answer.reason as Error] : []));
      // That nobody answered weighs more than that there is no address of the other family.
      const weighty = reasons.find((each) => !NONE.has((each as NodeJS.ErrnoException).code ?? ''));
      // An answer without any record of the kind (a name that stands for one without addresses) says no more than that.
      return weighty ?? reasons[0] ?? Object.assign(new Error(`${name} has no addresses`), { code: 'ENODATA' });
    }
    // Beyond 256 records of a kind Node does not say how long they last: as long as those of which it does, or not at all.
    const ttls = records.map(({ ttl }) => ttl).filter((ttl) => ttl >= 0);
    return {
      addresses: records.map(({ address }) => address),
      ttlMs: ttls.length === 0 ? 0 : Math.min(...ttls) * 1000,
    };
  }
}
