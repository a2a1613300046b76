/**
 * The SCRAM secret to verify a client against. For users with a plain password one is derived once and kept, for
 * unknown users one is made up from a key of the process: the same user always gets the same salt, as PostgreSQL does it
 * (mock authentication), so that nobody learns who exists.
 */
import { type CryptoPort, type ScramSecret, scramSecret } from '@sluice/wire';
import type { AuthRequest } from './method.ts';

const SALT_BYTES = 16;
/** Derived secrets kept, oldest out first. */
const KEPT = 10_000;

let mockKey: Uint8Array | null = null;
const derived = new Map<string, Promise<ScramSecret>>();

/** `doomed`: there is no such user or no usable secret; the exchange must fail at its end. */
export async function scramSecretFor({
  crypto,
  user,
  secret,
  scramIterations,
}: AuthRequest): Promise<{ secret: ScramSecret; doomed: boolean }> {
  if (secret?.kind === 'scram') return { secret, doomed: false };
  const salt = mockSalt(crypto, user);
  if (secret?.kind === 'plain' && secret.password !== '') {
    const key = `${scramIterations}\0${user}\0${secret.password}`;
    let made = derived.get(key);
    if (made === undefined) {
      made = scramSecret(crypto, secret.password, salt, scramIterations);
      if (derived.size >= KEPT) derived.delete(derived.keys().next().value!);
      derived.set(key, made);
    }
    return { secret: await made, doomed: false };
  }
  const nothing = crypto.hmacSha256(mockSalt(crypto, `${user}\0key`), salt);
  return {
    secret: { kind: 'scram', iterations: scramIterations, salt, storedKey: nothing, serverKey: nothing },
    doomed: true,
  };
}

function mockSalt(crypto: CryptoPort, user: string): Uint8Array {
  mockKey ??= crypto.randomBytes(32);
  return crypto.hmacSha256(mockKey, new TextEncoder().encode(user)).subarray(0, SALT_BYTES);
}
