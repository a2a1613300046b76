import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Config } from '../config/index.ts';
import { ownerOf, PEER_SESSIONS, peerProcessId } from './peers.ts';

const config = (peerId: number) => ({ global: { peerId } }) as Config;
const count = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });

test('no session has the number that a process of the system may have, nor one beyond 31 bits', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 16_383 }), count, (peerId, n) => {
      const id = peerProcessId(peerId, n);
      // PID_MAX_LIMIT of Linux on 64 bits; other systems have less.
      expect(id).toBeGreaterThanOrEqual(4_194_304);
      expect(id).toBeLessThanOrEqual(0x7fff_ffff);
    }),
  );
});

test('the number says which peer the session lives in', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 16_383 }), fc.integer({ min: 1, max: 16_383 }), count, (own, other, n) => {
      expect(ownerOf(config(own), peerProcessId(own, n))).toBeNull();
      if (own !== other) expect(ownerOf(config(own), peerProcessId(other, n))).toBe(other);
      expect(ownerOf(config(0), peerProcessId(other, n))).toBeNull();
    }),
  );
});

test('it stands where PgBouncer has it: in the second byte and the third, the lower one first', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 16_383 }), count, (peerId, n) => {
      const bytes = Buffer.alloc(4);
      bytes.writeInt32BE(peerProcessId(peerId, n));
      expect(bytes[1]! + (bytes[2]! << 8)).toBe(peerId);
    }),
  );
});

test('sessions of one process have different numbers', () => {
  for (const peerId of [0, 1, 16_383]) {
    const seen = new Set(Array.from({ length: PEER_SESSIONS }, (_, n) => peerProcessId(peerId, n)));
    expect(seen.size).toBe(PEER_SESSIONS);
  }
});
