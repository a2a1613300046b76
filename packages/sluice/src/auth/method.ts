/** What every authentication method is given and answers. One file a method; which one applies is decided elsewhere. */
import type { CryptoPort, ScramKeys, Secret } from '@sluice/wire';
import type { Conn } from '../net/conn.ts';
import type { Packet, PacketReader } from '../net/packet-reader.ts';
import type { Failure } from './failures.ts';

export interface AuthRequest {
  readonly conn: Conn;
  readonly reader: PacketReader;
  readonly crypto: CryptoPort;
  readonly user: string;
  /** What is known of the user; null for one that does not exist or has no password: the exchange is the same. */
  readonly secret: Secret | null;
  /** Iterations offered to users with a plain password (scram_iterations). */
  readonly scramIterations: number;
  /** What most users have: one that does not exist is given the same to do. */
  readonly usual: UsualSecret;
}

export interface UsualSecret {
  readonly kind: Secret['kind'];
  /** Of SCRAM secrets; 0 where there are none. */
  readonly iterations: number;
}

export interface Proven {
  readonly ok: true;
  /** What a SCRAM login proved; good for logging in to a server with the same secret. */
  readonly scramKeys?: ScramKeys;
  /** The password, where the client sent it in plain. */
  readonly password?: string;
}

export interface NotProven {
  readonly ok: false;
  readonly failure: Failure;
  /** More of the reason, for the log only: the client is told no more than the failure's text. */
  readonly reason?: string;
}

export type AuthResult = Proven | NotProven;

export function failed(failure: Failure, reason?: string): NotProven {
  return reason === undefined ? { ok: false, failure } : { ok: false, failure, reason };
}

const PASSWORD_MESSAGE = 0x70;

/** The body of a password message, or null when the client sent something else. */
export function passwordOf({ type, body }: Packet): Uint8Array | null {
  return type === PASSWORD_MESSAGE ? body : null;
}

/** A password message's text without its NUL: may be empty; null when it is malformed. */
export function passwordBytes(body: Uint8Array): Uint8Array | null {
  const end = body.indexOf(0);
  return end === body.length - 1 ? body.subarray(0, end) : null;
}

/** The password that the client sends next, or why it is none. */
export async function receivePassword(reader: PacketReader): Promise<Uint8Array | NotProven> {
  const body = passwordOf(await reader.next());
  const given = body === null ? null : passwordBytes(body);
  if (given === null) return failed('unexpected message');
  return given.length === 0 ? failed('empty password') : given;
}

export function sendMessage(conn: Conn, message: Uint8Array): void {
  conn.write(message, 0, message.length);
}
