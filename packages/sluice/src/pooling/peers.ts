/**
 * Cancel requests between the processes of one so_reuseport group ([peers], peer_id). A session's process id says which
 * process it lives in; a request that reaches another one is sent on. The last two bits of the key count down how often, so
 * that wrong settings cannot send one round for ever. All of it as in PgBouncer, to the bit: a group may have processes of both.
 */
import type { Config } from '../config/index.ts';

/**
 * No process has an id as high as this (PID_MAX_LIMIT of Linux): who gives a session's number to pg_cancel_backend() or
 * pg_terminate_backend(), as some libraries do, must not hit a server process that has it by chance.
 */
const ABOVE_SYSTEM = 1 << 22;
const IDS = 0x8000_0000 - ABOVE_SYSTEM;
/** Of the four bytes of a process id the middle two say which peer, the lower one first; the others which session. The first is not 0: see above. */
const HIGHEST = 0x7f;
const TTL_MASK = 0b11;

/** Sessions of one process at most, for their numbers to differ. */
export const PEER_SESSIONS: number = HIGHEST << 8;
/** Clients of one process at most: a number that is free is found by trying. */
export const PEER_CLIENTS: number = Math.floor(PEER_SESSIONS * 0.9);

/** A process that this one takes the place of, and that still serves sessions. */
export interface Predecessor {
  /** It may not have had the number of its peer in its keys: a request that seems to be a peer's may be its own. */
  readonly isPgBouncer: boolean;
  /** Cancels a query of one that is there. Resolves with false where nobody there has that process id. Never rejects. */
  cancel(processId: number, key: Uint8Array): Promise<boolean>;
  /** Does a command of the console; resolves with what went wrong, or null. Never rejects. */
  carryOut(command: string): Promise<string | null>;
}

/** The process id of session number `count` in this process. */
export function peerProcessId(peerId: number, count: number): number {
  if (peerId === 0) return ABOVE_SYSTEM + (count % IDS);
  const session = count % PEER_SESSIONS;
  const [first, last] = [1 + (session >>> 8), session & 0xff];
  return (first << 24) | ((peerId & 0xff) << 16) | ((peerId >>> 8) << 8) | last;
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

/** The peer that a session of this process id lives in; null: it is this process. */
export function ownerOf({ global }: Config, processId: number): number | null {
  const owner = ((processId >>> 16) & 0xff) | (processId & 0xff00);
  return global.peerId === 0 || owner === global.peerId ? null : owner;
}

/** The key to send on, with one time less before it; null: it was sent on often enough. */
export function onward(key: Uint8Array): Uint8Array | null {
  const ttl = key.length === 0 ? 0 : key[key.length - 1]! & TTL_MASK;
  if (ttl === 0) return null;
  const less = Uint8Array.from(key);
  less[less.length - 1] = (less[less.length - 1]! & ~TTL_MASK) | (ttl - 1);
  return less;
}
