/**
 * The SCRAM secret to verify a client against. For users with a plain password one is derived once and kept, for
 * unknown users one is made up from a key of the process: the same user always gets the same salt, as PostgreSQL does it
 * (mock authentication), so that nobody learns who exists.
 */
import { type CryptoPort, encodeText, type ScramSecret, scramSecret, toHex } from '@sluice/wire';
import type { AuthRequest } from './method.ts';

const SALT_BYTES = 16;
/** Derived secrets kept, oldest out first. */
const KEPT = 10_000;

let mockKey: Uint8Array | null = null;
const derived = new Map<string, ScramSecret | Promise<ScramSecret>>();

/** `doomed`: there is no such user or no usable secret; the exchange must fail at its end. */
interface ScramSecretFound {
  readonly secret: ScramSecret;
  readonly doomed: boolean;
}

/** A promise where one must be derived first. */
export function scramSecretFor({
  crypto,
  user,
  secret,
  scramIterations,
  usual,
}: AuthRequest): ScramSecretFound | Promise<ScramSecretFound> {
  if (secret?.kind === 'scram') return { secret, doomed: false };
  const known = secret?.kind === 'plain' && secret.password !== '';
  // For nobody the same work is done as for most: either none, or a password that cannot be guessed, derived and kept.
  if (!known && usual.kind === 'scram') return { secret: mockSecret(crypto, user, usual.iterations), doomed: true };
  const password = known ? secret.password : toHex(mockSalt(crypto, `${user}\0password`));
  const made = derive(crypto, user, password, scramIterations);
  const doomed = !known;
  return made instanceof Promise ? made.then((each) => ({ secret: each, doomed })) : { secret: made, doomed };
}

function derive(
  crypto: CryptoPort,
  user: string,
  password: string,
  iterations: number,
): ScramSecret | Promise<ScramSecret> {
  const key = `${iterations}\0${user}\0${password}`;
  const known = derived.get(key);
  if (known !== undefined) return known;
  const made = scramSecret(crypto, password, mockSalt(crypto, user), iterations).then((secret) => {
    if (derived.get(key) === made) derived.set(key, secret);
    return secret;
  });
  if (derived.size >= KEPT) derived.delete(derived.keys().next().value!);
  derived.set(key, made);
  return made;
}

function mockSecret(crypto: CryptoPort, user: string, iterations: number): ScramSecret {
  const salt = mockSalt(crypto, user);
  const key = crypto.hmacSha256(mockKey!, salt);
  return { kind: 'scram', iterations, salt, storedKey: key, serverKey: key };
}

function mockSalt(crypto: CryptoPort, user: string): Uint8Array {
  mockKey ??= crypto.randomBytes(32);
  return crypto.hmacSha256(mockKey, encodeText(user)).subarray(0, SALT_BYTES);
}
