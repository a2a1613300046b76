import { describe, expect, test } from 'vitest';
import { NameCache } from './name-cache.ts';
import { type Found, LookupFailed, type NameResolver } from './resolver.ts';

const NAME = 'db.example.test';

/** Answers as the test says, when the test says so. */
class Scripted implements NameResolver {
  asked: string[] = [];
  found: Found | null = { addresses: ['10.0.0.1'], ttlMs: null };
  zoneSerial = 1;
  gate: Promise<void> = Promise.resolve();

  async addresses(name: string): Promise<Found> {
    this.asked.push(name);
    await this.gate;
    if (this.found === null) throw new LookupFailed(name, Object.assign(new Error(), { code: 'ENOTFOUND' }));
    return this.found;
  }

  async serial(zone: string): Promise<number> {
    this.asked.push(`SOA ${zone}`);
    return this.zoneSerial;
  }
}

function begin(settings = {}) {
  const resolver = new Scripted();
  const gone: string[] = [];
  const lines: string[] = [];
  const write = (line: string) => void lines.push(line);
  const clock = { now: 1_000_000 };
  const cache = new NameCache({
    resolver,
    now: () => clock.now,
    settings: { dnsMaxTtlMs: 15_000, dnsNxdomainTtlMs: 5_000, dnsZoneCheckPeriodMs: 0, ...settings },
    gone: (name, address) => gone.push(`${name} ${address}`),
    log: { info: write, warn: write, noise: () => {} },
  });
  return { resolver, gone, lines, clock, cache };
}

/** Everything that is under way has been done. */
const settled = () => new Promise((resolve) => setImmediate(resolve));

describe('how long an answer is kept', () => {
  test.each([
    ['dns_max_ttl, when nobody says how long it lasts', null, 15_000],
    ['as long as its record says', 2_000, 2_000],
    ['dns_max_ttl, when its record says longer', 60_000, 15_000],
  ])('%s', async (_name, ttlMs, keptMs) => {
    const { resolver, clock, cache } = begin();
    resolver.found = { addresses: ['10.0.0.1'], ttlMs };
    await cache.addresses(NAME);
    clock.now += keptMs - 1;
    await cache.addresses(NAME);
    expect(resolver.asked).toEqual([NAME]);
    clock.now += 1;
    await cache.addresses(NAME);
    expect(resolver.asked).toEqual([NAME, NAME]);
  });

  test('a failure is kept for dns_nxdomain_ttl', async () => {
    const { resolver, clock, cache, lines } = begin();
    resolver.found = null;
    await expect(cache.addresses(NAME)).rejects.toThrow(`DNS lookup failed: ${NAME}: ENOTFOUND`);
    resolver.found = { addresses: ['10.0.0.1'], ttlMs: null };
    clock.now += 4_999;
    await expect(cache.addresses(NAME)).rejects.toMatchObject({ code: 'ENOTFOUND' });
    expect(cache.names()).toEqual([{ name: NAME, ttlMs: 1, addresses: [] }]);
    clock.now += 1;
    expect(await cache.addresses(NAME)).toEqual(['10.0.0.1']);
    expect(lines).toEqual([`DNS lookup failed: ${NAME}: ENOTFOUND`]);
  });

  test('0 keeps nothing', async () => {
    const { resolver, cache } = begin({ dnsMaxTtlMs: 0 });
    await cache.addresses(NAME);
    await cache.addresses(NAME);
    expect(resolver.asked).toHaveLength(2);
  });
});

test('a lookup under way is shared, and each gets the addresses in turn', async () => {
  const { resolver, cache } = begin();
  resolver.found = { addresses: ['10.0.0.1', '10.0.0.2', '10.0.0.3'], ttlMs: null };
  const both = Promise.all([cache.addresses(NAME), cache.addresses(NAME)]);
  expect(cache.queries).toBe(1);
  const all = [...(await both), await cache.addresses(NAME), await cache.addresses(NAME)];
  expect(all.map(([first]) => first)).toEqual(['10.0.0.1', '10.0.0.2', '10.0.0.3', '10.0.0.1']);
  expect(all[1]).toEqual(['10.0.0.2', '10.0.0.3', '10.0.0.1']);
  expect(resolver.asked).toHaveLength(1);
  expect(cache.queries).toBe(0);
});

test('an address that is not among the answers any more is told, also when a failure came between', async () => {
  const { resolver, clock, cache, gone } = begin();
  resolver.found = { addresses: ['10.0.0.1', '10.0.0.2'], ttlMs: 1_000 };
  await cache.addresses(NAME);
  resolver.found = null;
  clock.now += 1_000;
  await expect(cache.addresses(NAME)).rejects.toThrow();
  expect(gone).toEqual([]);
  resolver.found = { addresses: ['10.0.0.2', '10.0.0.3'], ttlMs: 1_000 };
  clock.now += 5_000;
  await cache.addresses(NAME);
  expect(gone).toEqual([`${NAME} 10.0.0.1`]);
});

describe('zones', () => {
  test('a serial number that grew has the names of its zone looked up again', async () => {
    const { resolver, clock, cache, gone, lines } = begin({ dnsZoneCheckPeriodMs: 1_000 });
    await cache.addresses(NAME);
    await cache.addresses('short');
    const pass = async (ms: number) => {
      cache.tend();
      clock.now += ms;
      cache.tend();
      await settled();
      return resolver.asked.splice(0);
    };
    resolver.asked.length = 0;
    expect(await pass(999)).toEqual([]);
    expect(await pass(1)).toEqual(['SOA example.test', NAME]);
    expect(await pass(1_000)).toEqual(['SOA example.test']);
    resolver.zoneSerial = 2;
    resolver.found = { addresses: ['10.0.0.9'], ttlMs: null };
    expect(await pass(1_000)).toEqual(['SOA example.test', NAME]);
    expect(gone).toEqual([`${NAME} 10.0.0.1`]);
    expect(lines).toContain("zone 'example.test' serial changed: old=1 new=2");
    expect(cache.zones()).toEqual([{ name: 'example.test', serial: 2, names: 1 }]);
  });

  test('serial numbers go round', async () => {
    const { resolver, clock, cache, lines } = begin({ dnsZoneCheckPeriodMs: 1_000 });
    await cache.addresses(NAME);
    for (const serial of [2 ** 31 - 1, 2 ** 32 - 2, 3, 2]) {
      resolver.zoneSerial = serial;
      cache.tend();
      clock.now += 1_000;
      cache.tend();
      await settled();
    }
    expect(lines.map((line) => line.replace(/^.*changed: /, ''))).toEqual([
      'old=0 new=2147483647',
      'old=2147483647 new=4294967294',
      'old=4294967294 new=3',
    ]);
  });
});
