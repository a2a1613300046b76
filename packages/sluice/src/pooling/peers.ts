/**
 * Cancel requests between the processes of one so_reuseport group ([peers], peer_id). A session's process id says which
 * process it lives in; a request that reaches another one is sent on. The last two bits of the key count down how often, so
 * that wrong settings cannot send one round for ever (as PgBouncer does it).
 */
import { sendCancel } from '../server/cancel.ts';
import type { Pooler } from './pooler.ts';

/** Process ids have 31 bits: 14 say which peer (1 to 16383), 17 which session. */
const SESSION_BITS = 17;
const SESSION_MASK = (1 << SESSION_BITS) - 1;
const TTL_MASK = 0b11;

/** What became of a cancel request that its server, or its process, has. */
export const CANCEL_SENT = 'successfully sent cancel request';

/** Sessions of one process at most, for their numbers to differ. */
export const PEER_SESSIONS = SESSION_MASK;

/** A process that this one takes the place of, and that still serves sessions. */
export interface Predecessor {
  /** Cancels a query of one that is there. */
  cancel(processId: number, key: Uint8Array): void;
  /** Does a command of the console; resolves with what went wrong, or null. Never rejects. */
  carryOut(command: string): Promise<string | null>;
}

/** The process id of session number `count` in this process. */
export function peerProcessId(peerId: number, count: number): number {
  return peerId === 0 ? count & 0x7fff_ffff : (peerId << SESSION_BITS) | (count & SESSION_MASK);
}

/** A fresh key, with all of its sending-on before it. */
export function withFullTtl(key: Uint8Array): Uint8Array {
  key[key.length - 1]! |= TTL_MASK;
  return key;
}

/** The key without its count. */
export function withoutTtl(key: Uint8Array): Uint8Array {
  const plain = Uint8Array.from(key);
  if (plain.length > 0) plain[plain.length - 1]! |= TTL_MASK;
  return plain;
}

/** Sends the request on when it is for a session of another process. False: it is for this one. */
export function forwardCancel(
  pooler: Pooler,
  processId: number,
  key: Uint8Array,
  done: (outcome: string) => void,
): boolean {
  const { global, peers } = pooler.config;
  const owner = processId >>> SESSION_BITS;
  if (global.peerId === 0 || owner === global.peerId) return false;
  const peer = peers.get(owner);
  const ttl = key.length === 0 ? 0 : key[key.length - 1]! & TTL_MASK;
  if (peer === undefined || ttl === 0) {
    done(
      peer === undefined
        ? `failed cancel request: there is no peer ${owner}`
        : 'failed to forward cancel request because its TTL was exhausted',
    );
    return true;
  }
  const onward = Uint8Array.from(key);
  onward[onward.length - 1] = (onward[onward.length - 1]! & ~TTL_MASK) | (ttl - 1);
  const { names } = pooler.context;
  const identity = { processId, cancelKey: onward, host: peer.host, port: peer.port, names, tls: null };
  sendCancel(identity, global.cancelWaitTimeoutMs, (error) => {
    if (error !== null) pooler.log.warn(`cancel request could not be sent on to peer ${owner}: ${error.message}`);
    done(error === null ? CANCEL_SENT : `cancel request failed: ${error.message}`);
  });
  return true;
}
