/** What every authentication method is given and answers. One file a method; which one applies is decided elsewhere. */
import type { CryptoPort, ScramKeys, Secret } from '@sluice/wire';
import type { Conn } from '../net/conn.ts';
import type { PacketReader } from '../net/packet-reader.ts';

export interface AuthRequest {
  readonly conn: Conn;
  readonly reader: PacketReader;
  readonly crypto: CryptoPort;
  readonly user: string;
  /** What is known of the user; null for one that does not exist or has no password: the exchange is the same. */
  readonly secret: Secret | null;
  /** Iterations offered to users with a plain password and to unknown ones (scram_iterations). */
  readonly scramIterations: number;
}

export interface AuthResult {
  ok: boolean;
  /** Why not, for the log only: the client is told no more than that it failed. */
  reason?: string;
  /** What a SCRAM login proved; good for logging in to a server with the same secret. */
  scramKeys?: ScramKeys;
  /** The password, where the client sent it in plain. */
  password?: string;
}

/** Where secrets come from. Implemented by pooling/, which also knows auth_query. */
export interface CredentialSource {
  /** The secret of a user, or null. */
  secretOf(user: string): Promise<Secret | null> | Secret | null;
}

/** Longest password message accepted, in bytes; passwords of 65,534 characters exist in the field. */
export const PASSWORD_BYTES = 65_536 + 16;

const PASSWORD_MESSAGE = 0x70;

/** The body of the next password message, or null when the client sent something else. */
export async function passwordPacket(reader: PacketReader): Promise<Uint8Array | null> {
  const packet = await reader.next();
  return packet.type === PASSWORD_MESSAGE ? packet.body : null;
}

/** A password message's text without its NUL, or null when it is malformed or empty. */
export function passwordBytes(body: Uint8Array): Uint8Array | null {
  const end = body.indexOf(0);
  return end === body.length - 1 && end > 0 ? body.subarray(0, end) : null;
}

export function sendMessage(conn: Conn, message: Uint8Array): void {
  conn.write(message, 0, message.length);
}
