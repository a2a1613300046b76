import { isIP } from 'node:net';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  formatAddress,
  hasStrayBits,
  inNetwork,
  maskOfBits,
  type Network,
  parseAddress,
  parseClientAddress,
  withoutStrayBits,
} from './address.ts';

const hex = (bytes: readonly number[] | null) =>
  bytes?.map((byte) => byte.toString(16).padStart(2, '0')).join('') ?? null;
const network = (base: string, bits: number): Network => {
  const bytes = parseAddress(base)!;
  return { base: bytes, mask: maskOfBits(bits, bytes.length)! };
};

describe('an address', () => {
  it.each([
    ['10.0.0.1', '0a000001'],
    ['255.255.255.255', 'ffffffff'],
    ['::', '00000000000000000000000000000000'],
    ['::1', '00000000000000000000000000000001'],
    ['1::', '00010000000000000000000000000000'],
    ['2001:db8::8a2e:370:7334', '20010db80000000000008a2e03707334'],
    ['1:2:3:4:5:6:7:8', '00010002000300040005000600070008'],
    ['::ffff:10.0.0.1', '00000000000000000000ffff0a000001'],
    ['1:2:3:4:5:6:10.0.0.1', '0001000200030004000500060a000001'],
    ['1:2:3::5:6:7:8', '00010002000300000005000600070008'],
    ['ABCD::ef', 'abcd00000000000000000000000000ef'],
  ])('%s is %s', (text, bytes) => {
    expect(hex(parseAddress(text))).toBe(bytes);
  });

  it.each([
    '',
    '10.0.0',
    '10.0.0.0.1',
    '10.0.0.256',
    '10.0.0.01',
    ' 10.0.0.1',
    '0x0a.0.0.1',
    'localhost',
    ':',
    ':::',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    '1:2:3:4::5:6:7:8',
    '1::2::3',
    '12345::',
    'g::',
    '::10.0.0.1:1',
    '10.0.0.1::',
    'fe80::1%eth0',
  ])('%j is none', (text) => {
    expect(parseAddress(text)).toBeNull();
  });

  it('is one exactly when the system says so', () => {
    const text = fc.oneof(fc.ipV4(), fc.ipV4Extended(), fc.ipV6(), fc.stringMatching(/^[0-9a-f:.]{0,20}$/));
    fc.assert(
      fc.property(text, (one) => {
        const size = { 4: 4, 6: 16 }[isIP(one)];
        expect(parseAddress(one)?.length).toBe(size);
      }),
      { numRuns: 500 },
    );
  });

  it('is read back as it was written', () => {
    fc.assert(
      fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), (text) => {
        const bytes = parseAddress(text)!;
        expect(parseAddress(formatAddress(bytes))).toEqual(bytes);
      }),
    );
  });

  it('of a client is IPv4 when it came in as such through an IPv6 socket, and has no zone', () => {
    expect(hex(parseClientAddress('::ffff:10.0.0.1'))).toBe('0a000001');
    expect(hex(parseClientAddress('fe80::1%eth0'))).toBe('fe800000000000000000000000000001');
    expect(hex(parseClientAddress('::fffe:10.0.0.1'))).toBe('00000000000000000000fffe0a000001');
    expect(parseClientAddress('nonsense')).toBeNull();
  });
});

describe('a network', () => {
  it.each([
    ['10.0.0.0', 8, '10.255.1.2', true],
    ['10.0.0.0', 8, '11.0.0.0', false],
    ['10.1.2.3', 32, '10.1.2.3', true],
    ['10.1.2.3', 32, '10.1.2.2', false],
    ['0.0.0.0', 0, '1.2.3.4', true],
    ['128.0.0.0', 1, '254.1.1.1', true],
    ['128.0.0.0', 1, '127.1.1.1', false],
    ['fe80::', 10, 'fe9f::1', true],
    ['fe80::', 10, 'fec0::1', false],
    ['::', 0, '10.0.0.1', false],
    ['0.0.0.0', 0, '::1', false],
    ['10.0.0.1', 8, '10.0.0.1', false],
  ])('%s/%d holds %s: %s', (base, bits, address, held) => {
    expect(inNetwork(network(base, bits), parseAddress(address)!)).toBe(held);
  });

  it('knows bits of its base that the mask hides', () => {
    expect(hasStrayBits(network('10.0.0.1', 8))).toBe(true);
    expect(hasStrayBits(network('10.0.0.0', 8))).toBe(false);
    expect(formatAddress(withoutStrayBits(network('10.1.2.3', 12)).base)).toBe('10.0.0.0');
  });

  it('has no mask of more bits than the family', () => {
    expect(maskOfBits(33, 4)).toBeNull();
    expect(maskOfBits(129, 16)).toBeNull();
    expect(hex(maskOfBits(13, 4))).toBe('fff80000');
  });

  it('without stray bits holds its own base', () => {
    fc.assert(
      fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), fc.nat(32), (text, bits) => {
        const clean = withoutStrayBits(network(text, bits));
        expect(inNetwork(clean, clean.base)).toBe(true);
        expect(inNetwork(clean, parseAddress(text)!)).toBe(true);
      }),
    );
  });
});
