/**
 * The addresses of host names, kept for a while (dns_max_ttl, dns_nxdomain_ttl), and the zones that the names are in
 * (dns_zone_check_period). A lookup under way is shared by all who want the name; each who asks gets the addresses in turn.
 * Whoever is interested hears when an address is no longer among a name's. Names come from the configuration only, so they
 * are as many as it has. Given its time; asks by a NameResolver.
 */
import { LookupFailed, type NameResolver } from './resolver.ts';

/** The settings that this file gives effect to, in milliseconds. */
export interface NameSettings {
  readonly dnsMaxTtlMs: number;
  readonly dnsNxdomainTtlMs: number;
  /** 0: zones are not looked at. */
  readonly dnsZoneCheckPeriodMs: number;
}

export interface NameCacheOptions {
  readonly resolver: NameResolver;
  readonly now: () => number;
  readonly settings: NameSettings;
  /** An address that a name had is not among its addresses any more. */
  readonly gone: (name: string, address: string) => void;
  readonly log: { info(message: string): void; warn(message: string): void; noise(message: string): void };
}

interface Name {
  readonly name: string;
  readonly zone: Zone | null;
  /** Of the last lookup that found any. */
  addresses: readonly string[];
  failure: Error | null;
  /** When the last answer is over; what is older is asked for again. */
  expiresAt: number;
  pending: Promise<void> | null;
  next: number;
}

interface Zone {
  readonly name: string;
  readonly names: Name[];
  serial: number;
}

/** For SHOW DNS_HOSTS and SHOW DNS_ZONES. */
export interface NameRow {
  readonly name: string;
  readonly ttlMs: number;
  readonly addresses: readonly string[];
}
export interface ZoneRow {
  readonly name: string;
  readonly serial: number;
  readonly names: number;
}

export class NameCache {
  settings: NameSettings;
  readonly #options: NameCacheOptions;
  readonly #names = new Map<string, Name>();
  readonly #zones = new Map<string, Zone>();
  #queries = 0;
  #zonesDueAt = 0;
  #checkingZones = false;

  constructor(options: NameCacheOptions) {
    this.#options = options;
    this.settings = options.settings;
  }

  /** All addresses of a name, beginning with the one whose turn it is. Rejects with a LookupFailed. */
  async addresses(name: string): Promise<readonly string[]> {
    const entry = this.#entry(name);
    if (this.#options.now() >= entry.expiresAt) await this.#lookUp(entry);
    if (entry.failure !== null) throw entry.failure;
    const turn = entry.next++ % entry.addresses.length;
    return [...entry.addresses.slice(turn), ...entry.addresses.slice(0, turn)];
  }

  /** What is due by the clock: called now and then, with the janitor's sweep. */
  tend(): void {
    const now = this.#options.now();
    const { dnsZoneCheckPeriodMs: period } = this.settings;
    if (period === 0 || this.#zones.size === 0) {
      this.#zonesDueAt = 0;
      return;
    }
    if (this.#zonesDueAt === 0) this.#zonesDueAt = now + period;
    if (now < this.#zonesDueAt || this.#checkingZones) return;
    this.#checkingZones = true;
    void this.#checkZones().finally(() => {
      this.#checkingZones = false;
      this.#zonesDueAt = 0;
    });
  }

  names(): NameRow[] {
    const now = this.#options.now();
    return [...this.#names.values()].map(({ name, expiresAt, addresses, failure }) => ({
      name,
      ttlMs: Math.max(0, expiresAt - now),
      addresses: failure === null ? addresses : [],
    }));
  }

  zones(): ZoneRow[] {
    return [...this.#zones.values()].map(({ name, serial, names }) => ({ name, serial, names: names.length }));
  }

  /** Lookups under way. */
  get queries(): number {
    return this.#queries;
  }

  #entry(name: string): Name {
    const known = this.#names.get(name);
    if (known !== undefined) return known;
    const zone = this.#zoneOf(name);
    const fresh: Name = { name, zone, addresses: [], failure: null, expiresAt: 0, pending: null, next: 0 };
    zone?.names.push(fresh);
    this.#names.set(name, fresh);
    return fresh;
  }

  /** Everything after the first dot, as PgBouncer has it. */
  #zoneOf(name: string): Zone | null {
    const dot = name.indexOf('.');
    const zoneName = dot < 0 ? '' : name.slice(dot + 1).toLowerCase();
    if (zoneName === '') return null;
    const zone = this.#zones.get(zoneName) ?? { name: zoneName, names: [], serial: 0 };
    this.#zones.set(zoneName, zone);
    return zone;
  }

  #lookUp(entry: Name): Promise<void> {
    entry.pending ??= this.#ask(entry).finally(() => {
      entry.pending = null;
    });
    return entry.pending;
  }

  /** Never rejects. */
  async #ask(entry: Name): Promise<void> {
    const { resolver, now, log, gone } = this.#options;
    this.#queries++;
    try {
      const { addresses, ttlMs } = await resolver.addresses(entry.name);
      if (addresses.length === 0) throw new LookupFailed(entry.name, 'no addresses');
      const before = entry.addresses;
      entry.addresses = addresses;
      entry.failure = null;
      entry.expiresAt = now() + Math.min(ttlMs ?? Number.POSITIVE_INFINITY, this.settings.dnsMaxTtlMs);
      log.noise(`DNS: ${entry.name} = ${addresses.join(', ')}`);
      for (const address of before) if (!addresses.includes(address)) gone(entry.name, address);
    } catch (error) {
      entry.failure = error as Error;
      entry.expiresAt = now() + this.settings.dnsNxdomainTtlMs;
      log.warn((error as Error).message);
    } finally {
      this.#queries--;
    }
  }

  /** One zone after the other. Where a serial number has grown, the zone's names are looked up again. */
  async #checkZones(): Promise<void> {
    const { resolver, log } = this.#options;
    for (const zone of this.#zones.values()) {
      this.#queries++;
      try {
        const serial = await resolver.serial(zone.name);
        // Serial numbers go round (RFC 1982): the difference tells which one is later.
        if (((serial - zone.serial) | 0) <= 0) continue;
        log.info(`zone '${zone.name}' serial changed: old=${zone.serial} new=${serial}`);
        zone.serial = serial;
        for (const entry of zone.names) void this.#lookUp(entry);
      } catch (error) {
        log.noise(`failure to get zone '${zone.name}' serial: ${(error as Error).message}`);
      } finally {
        this.#queries--;
      }
    }
  }
}
