// Owns IP addresses as access rules use them: text to bytes, network and mask, whether one holds an address.
// It must not know rules, names of hosts, or sockets.

/** An address: 4 bytes for IPv4, 16 for IPv6. */
export type AddressBytes = readonly number[];

/** The addresses that are equal to `base` where `mask` has ones. Both are as long as the family's addresses. */
export interface Network {
  readonly base: AddressBytes;
  readonly mask: AddressBytes;
}

/** Reads a numeric address as inet_pton(3) does: no zone, no leading zeros in IPv4. @returns null for anything else. */
export function parseAddress(text: string): AddressBytes | null {
  return text.includes(':') ? parseIpv6(text) : parseIpv4(text);
}

function parseIpv4(text: string): AddressBytes | null {
  const match = /^(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2})$/.exec(text);
  const bytes = match?.slice(1).map(Number) ?? [];
  return bytes.length === 4 && bytes.every((byte) => byte <= 255) ? bytes : null;
}

function parseIpv6(text: string): AddressBytes | null {
  const halves = text.split('::');
  if (halves.length > 2) return null;
  const head = groups(halves[0]!, halves.length === 1);
  const tail = halves.length === 2 ? groups(halves[1]!, true) : [];
  if (head === null || tail === null) return null;
  const missing = 16 - head.length - tail.length;
  // "::" stands for one group of zeros at least.
  if (halves.length === 1 ? missing !== 0 : missing < 2) return null;
  return [...head, ...new Array<number>(missing).fill(0), ...tail];
}

/** Bytes of groups between colons; the last may be an IPv4 address when these are the last groups. */
function groups(text: string, last: boolean): number[] | null {
  if (text === '') return [];
  const bytes: number[] = [];
  const parts = text.split(':');
  for (const [index, part] of parts.entries()) {
    if (/^[0-9A-Fa-f]{1,4}$/.test(part)) {
      const group = Number.parseInt(part, 16);
      bytes.push(group >> 8, group & 255);
      continue;
    }
    const ipv4 = last && index === parts.length - 1 ? parseIpv4(part) : null;
    if (ipv4 === null) return null;
    bytes.push(...ipv4);
  }
  return bytes;
}

/**
 * Reads the address of a client as a socket reports it: a zone (`%eth0`) is dropped, and IPv4 that came in through an
 * IPv6 socket (`::ffff:10.0.0.1`) counts as IPv4, so that rules for IPv4 hold on either socket.
 */
export function parseClientAddress(text: string): AddressBytes | null {
  const bytes = parseAddress(text.replace(/%.*$/s, ''));
  if (bytes === null || bytes.length === 4) return bytes;
  const mapped = bytes.slice(0, 10).every((byte) => byte === 0) && bytes[10] === 255 && bytes[11] === 255;
  return mapped ? bytes.slice(12) : bytes;
}

/** A mask of `bits` ones. @returns null when the family's addresses have fewer bits. */
export function maskOfBits(bits: number, length: number): AddressBytes | null {
  if (bits > length * 8) return null;
  return Array.from({ length }, (_, index) => {
    const ones = Math.min(8, Math.max(0, bits - index * 8));
    return (0xff << (8 - ones)) & 0xff;
  });
}

/** Whether the base has bits that the mask hides: then no address is in the network. */
export function hasStrayBits(network: Network): boolean {
  return network.base.some((byte, index) => (byte & ~network.mask[index]!) !== 0);
}

/** The network with the bits that the mask hides set to zero, for advice in messages. */
export function withoutStrayBits(network: Network): Network {
  return { base: network.base.map((byte, index) => byte & network.mask[index]!), mask: network.mask };
}

/** Whether an address is in a network. Families never mix; a base with stray bits holds nothing (as in PgBouncer). */
export function inNetwork(network: Network, address: AddressBytes): boolean {
  if (network.base.length !== address.length) return false;
  return address.every((byte, index) => (byte & network.mask[index]!) === network.base[index]);
}

/** Writes an address in plain notation: dotted for IPv4, eight groups for IPv6. */
export function formatAddress(bytes: AddressBytes): string {
  if (bytes.length === 4) return bytes.join('.');
  const parts: string[] = [];
  for (let index = 0; index < bytes.length; index += 2) {
    parts.push(((bytes[index]! << 8) | bytes[index + 1]!).toString(16));
  }
  return parts.join(':');
}
